"""Rules of what takes events in: load balancer and collectors, sinks, CloudFront, arrivals.

Follows seed 000, "Ingestion endpoint" and "Data sink", and seed 002.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Literal

from clickstream_dagster.batches.objects import S3_SCHEME
from clickstream_dagster.infra import forms
from clickstream_dagster.infra.settings import Infra, Ingestion, Kafka, Pipeline

FARGATE_MEMORY = {
    256: range(512, 2_049, 512),
    512: range(1_024, 4_097, 1_024),
    1_024: range(2_048, 8_193, 1_024),
    2_048: range(4_096, 16_385, 1_024),
    4_096: range(8_192, 30_721, 1_024),
    8_192: range(16_384, 61_441, 4_096),
    16_384: range(32_768, 122_881, 8_192),
}
"""Memory in MiB that a task of Fargate may have, by CPU units (1,024 are a virtual CPU)."""

OIDC_KEYS = (
    "issuer",
    "userEndpoint",
    "authorizationEndpoint",
    "tokenEndpoint",
    "appClientId",
    "appClientSecret",
)
"""What the secret of an OIDC client must have (seed 000, "Ingestion endpoint")."""

_GRAVITON = re.compile(r"a1|[a-z]+\d+[a-z]*g[a-z]*")
"""Families of EC2 with processors of arm64: the first one, and those with a g behind the generation
(EC2, "Instance type naming conventions")."""

MOST_SIZE = "256, 512, 1024, 2048, 4096, 8192 or 16384"
_EDGE_REGION = "us-east-1"
_MOST_TOLD = 1_783  # letters of a header that CloudFront adds
_OWN_RULES = 3  # of the listener beside those of the apps: /health, /ping, sign-in


def ingestion_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    """Yield what is wrong with `ingestion`, the sinks, `serverless_ingestion` and `arrivals`."""
    if infra.ingestion is not None:
        yield from _server_faults(infra.ingestion)
        yield from _endpoint_faults(infra.ingestion, pipeline)
        yield from _collector_faults(infra, infra.ingestion, pipeline)
    yield from _sink_faults(infra, pipeline)
    yield from _serverless_faults(infra, pipeline)
    yield from _arrival_faults(infra, pipeline)


def task_faults(block: str, prefix: str, cpu: int, memory_mb: int) -> Iterator[str]:
    """Yield what is wrong with the size of a task of Fargate; keys are `block` and `prefix`."""
    memory = FARGATE_MEMORY.get(cpu)
    if memory is None:
        yield f"{block}.{prefix}cpu {cpu}: write {MOST_SIZE} units, 1024 for a virtual CPU"
    elif memory_mb not in memory:
        yield (
            f"{block}.{prefix}memory_mb {memory_mb}: a task of {cpu} units has {memory[0]:,} to "
            f"{memory[-1]:,} MiB in steps of {memory.step:,}: write one of them"
        )


def same_region(arn: str | None, key: str, pipeline: Pipeline) -> Iterator[str]:
    """Yield what is wrong with an ARN that names another region than the project's."""
    region = pipeline.s3.region
    if arn is None or region is None or arn.count(":") < 5:
        return
    if forms.region_of(arn) != region:
        yield (f"{key} is in {forms.region_of(arn)}: write the ARN of one in s3.region, {region}")


def _server_faults(settings: Ingestion) -> Iterator[str]:
    yield from forms.IMAGE.faults("infra.ingestion.image", settings.image)
    if settings.min_tasks > settings.max_tasks:
        yield (
            f"infra.ingestion.min_tasks {settings.min_tasks} is more than max_tasks "
            f"{settings.max_tasks}: write max_tasks {settings.min_tasks} or more"
        )
    if settings.server == "fargate":
        yield from task_faults("infra.ingestion", "", settings.cpu, settings.memory_mb)
        if settings.warm_pool:
            yield "infra.ingestion.warm_pool is of machines: write server: ec2, or leave it out"
    else:
        yield from _instance_faults(settings)
        if settings.warm_pool > settings.max_tasks:
            yield (
                f"infra.ingestion.warm_pool {settings.warm_pool} is more than max_tasks "
                f"{settings.max_tasks}: write that at most"
            )


def _instance_faults(settings: Ingestion) -> Iterator[str]:
    instance, key = settings.instance_type, "infra.ingestion.instance_type"
    if not forms.INSTANCE.pattern.fullmatch(instance):
        yield from forms.INSTANCE.faults(key, instance)
        return
    has = processors_of(instance)
    if has != settings.architecture:
        other = {"x86_64": "c6i.large", "arm64": "c7g.large"}[settings.architecture]
        yield (
            f"{key} {instance} has processors of {has}, infra.ingestion.architecture is "
            f"{settings.architecture}: write a type with those, as {other}, or architecture: {has} "
            "and an image that is built for it"
        )


def processors_of(instance_type: str) -> Literal["x86_64", "arm64"]:
    """Give what processors a type of EC2 instance has, which its name tells."""
    family = re.split(r"[.-]", instance_type)[0]
    return "arm64" if _GRAVITON.fullmatch(family) else "x86_64"


def _endpoint_faults(settings: Ingestion, pipeline: Pipeline) -> Iterator[str]:
    https = settings.certificate_arn is not None
    yield from forms.DOMAIN.faults("infra.ingestion.domain", settings.domain)
    yield from forms.CERTIFICATE.faults("infra.ingestion.certificate_arn", settings.certificate_arn)
    if https and settings.domain is None:
        yield "infra.ingestion.domain: HTTPS needs the name that the certificate is for: write it"
    if settings.domain is not None and not https:
        yield (
            "infra.ingestion.certificate_arn: a domain needs a certificate of ACM in the same "
            "region: "
            "write its ARN"
        )
    if https and settings.acknowledge_http:
        yield "infra.ingestion.acknowledge_http is for an endpoint without HTTPS: leave it out"
    if not https and settings.domain is None and not settings.acknowledge_http:
        yield (
            "infra.ingestion.certificate_arn: without HTTPS events can be read and changed on "
            "their way: "
            "write domain and certificate_arn, or acknowledge_http: true"
        )
    yield from same_region(settings.certificate_arn, "infra.ingestion.certificate_arn", pipeline)
    yield from forms.SECRET.faults("infra.ingestion.oidc_secret_arn", settings.oidc_secret_arn)
    yield from same_region(settings.oidc_secret_arn, "infra.ingestion.oidc_secret_arn", pipeline)
    if settings.oidc_secret_arn is not None and not https:
        yield (
            "infra.ingestion.oidc_secret_arn: OIDC needs HTTPS: write domain and certificate_arn, "
            "or "
            "leave it out"
        )
    yield from forms.TLS_POLICY.faults("infra.ingestion.tls_policy", settings.tls_policy)
    yield from _cidr_faults("infra.ingestion.ingress_cidr", settings.ingress_cidr)
    yield from forms.PATH.faults("infra.ingestion and collector.path", pipeline.collector.path)
    if settings.internal and settings.global_accelerator:
        yield (
            "infra.ingestion.global_accelerator takes clients of the internet: leave it or "
            "internal "
            "out"
        )
    rules = len(pipeline.app_ids) + _OWN_RULES
    if pipeline.collector.needs_app and rules > settings.listener_rules:
        yield (
            f"infra.ingestion.listener_rules {settings.listener_rules}: {len(pipeline.app_ids)} "
            "apps need "
            f"{rules} rules of the load balancer: have AWS raise the quota and write what it is, "
            "or write collector.any_app: true"
        )


def _cidr_faults(key: str, value: str) -> Iterator[str]:
    if "/" not in value:
        yield f"{key} {value!r}: write a range of addresses, as 203.0.113.0/24 or 203.0.113.7/32"
        return
    try:
        IPv4Network(value)
    except ValueError as error:
        yield f"{key} {value!r}: {error}: write a range of addresses, as 203.0.113.0/24"


def _collector_faults(infra: Infra, settings: Ingestion, pipeline: Pipeline) -> Iterator[str]:
    if pipeline.sink == "directory":
        yield (
            "collector.sink: what a task writes to a directory stays in it: write raw: "
            "s3://bucket/prefix with type s3, kinesis or kafka"
        )
    if pipeline.sink == "kafka" and infra.kafka is None:
        yield (
            "infra.kafka: collectors have to reach the brokers: write security_group, and "
            "cluster_arn for MSK"
        )
    if settings.access_logs and infra.storage is None:
        yield "infra.ingestion.access_logs: the bucket of logs is made by infra.storage: write it"
    if pipeline.write_keys_file and settings.write_keys_secret_arn is None:
        yield (
            "infra.ingestion.write_keys_secret_arn: a task has no file collector.write_keys: write "
            "the "
            "ARN of a secret with the same text"
        )
    secrets = {
        "infra.ingestion.write_keys_secret_arn": settings.write_keys_secret_arn,
        "infra.ingestion.kafka_secret_arn": settings.kafka_secret_arn,
    }
    for key, arn in secrets.items():
        yield from forms.SECRET.faults(key, arn)
        yield from same_region(arn, key, pipeline)
    scram = pipeline.sink == "kafka" and pipeline.collector.sink_settings.kafka.security == "scram"
    if scram and settings.kafka_secret_arn is None:
        yield (
            "infra.ingestion.kafka_secret_arn: security scram signs in: write the ARN of a secret "
            "with "
            "username and password"
        )
    if not scram and settings.kafka_secret_arn is not None:
        yield (
            "infra.ingestion.kafka_secret_arn is for collector.sink.security: scram: leave one "
            "out, or "
            "write the other"
        )
    kafka = pipeline.collector.sink_settings.kafka
    for name in ("ca_file", "properties_file"):
        if pipeline.sink == "kafka" and getattr(kafka, name) is not None:
            yield (
                f"collector.sink.{name}: a task has no such file: put it into an image of your own "
                f"at /etc/clickstream, or leave it out"
            )


def _sink_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    for name in ("kinesis", "kafka"):
        if getattr(infra, name) is None:
            continue
        if pipeline.sink != name:
            yield (
                f"infra.{name}: the collector's sink is {pipeline.sink}: write "
                "collector.sink.type: "
                f"{name}, or leave the block out"
            )
        if not pipeline.raw.startswith(S3_SCHEME):
            yield f"infra.{name} puts raw files on S3: write raw: s3://bucket/prefix"
    if infra.kafka is not None:
        yield from _kafka_faults(infra.kafka, pipeline)


def _kafka_faults(settings: Kafka, pipeline: Pipeline) -> Iterator[str]:
    security = pipeline.collector.sink_settings.kafka.security
    yield from forms.CLUSTER.faults("infra.kafka.cluster_arn", settings.cluster_arn)
    yield from same_region(settings.cluster_arn, "infra.kafka.cluster_arn", pipeline)
    yield from forms.GROUP.faults("infra.kafka.security_group", settings.security_group)
    ports = sorted({broker.rpartition(":")[2] for broker in pipeline.kafka_brokers})
    if len(ports) > 1:
        yield (
            f"infra.kafka and collector.sink.brokers: ports {', '.join(ports)}: write brokers of "
            "one "
            "port, which is opened"
        )
    if security == "iam" and settings.cluster_arn is None:
        yield (
            "infra.kafka.cluster_arn: rights of security iam are on a cluster of MSK: write its ARN"
        )
    if settings.plugin is None:
        return
    yield from forms.OBJECT.faults("infra.kafka.plugin", settings.plugin)
    if settings.min_workers > settings.max_workers:
        yield (
            f"infra.kafka.min_workers {settings.min_workers} is more than max_workers "
            f"{settings.max_workers}: write max_workers {settings.min_workers} or more"
        )
    if security == "scram":
        yield (
            "infra.kafka.plugin: MSK Connect signs in with IAM or not at all: write "
            "collector.sink.security: iam, tls or plaintext, or leave the connector out"
        )
    topic = pipeline.kafka_topic or pipeline.project_id
    if not pipeline.raw.rstrip("/").endswith(f"/{topic}"):
        yield (
            f"infra.kafka.plugin: the connector writes below the topic's name: write raw: "
            f"{pipeline.raw.rstrip('/')}/{topic}, or another collector.sink.topic"
        )


def _serverless_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    settings = infra.serverless_ingestion
    if settings is None:
        return
    region = pipeline.s3.region or ""
    if region.startswith("cn-"):
        yield "infra.serverless_ingestion: CloudFront of China has no edge functions: leave it out"
    elif region and region != _EDGE_REGION:
        yield (
            f"infra.serverless_ingestion: edge functions are made in {_EDGE_REGION} only: write "
            "s3.region: "
            f"{_EDGE_REGION}, or ingestion in its place"
        )
    yield from forms.PLACE.faults("infra.serverless_ingestion.data", settings.data)
    if not pipeline.raw.startswith(S3_SCHEME):
        yield "infra.serverless_ingestion puts raw files on S3: write raw: s3://bucket/prefix"
    yield from forms.DOMAIN.faults("infra.serverless_ingestion.domain", settings.domain)
    arn = settings.certificate_arn
    yield from forms.CERTIFICATE.faults("infra.serverless_ingestion.certificate_arn", arn)
    if (settings.domain is None) != (arn is None):
        yield (
            "infra.serverless_ingestion.domain goes with certificate_arn: write both, or none for "
            "an "
            "address of cloudfront.net"
        )
    if arn and forms.CERTIFICATE.pattern.fullmatch(arn) and forms.region_of(arn) != _EDGE_REGION:
        yield (
            f"infra.serverless_ingestion.certificate_arn is in {forms.region_of(arn)}: CloudFront "
            "takes "
            f"certificates of {_EDGE_REGION}: write the ARN of one there"
        )
    asks = [
        key
        for key, asked in (
            ("collector.oidc", pipeline.collector.oidc is not None),
            ("collector.write_keys", pipeline.write_keys_file),
        )
        if asked
    ]
    if asks and infra.ingestion is None:
        yield (
            f"infra.serverless_ingestion and {', '.join(asks)}: the edge function asks nobody who "
            "he is: leave it out, or write ingestion in its place"
        )
    for key, told in (("app_ids", pipeline.app_ids), ("collector.origins", pipeline.origins)):
        letters = len(",".join(told))
        if letters > _MOST_TOLD:
            yield (
                f"infra.serverless_ingestion and {key}: together they have {letters:,} letters, "
                f"and CloudFront tells a function {_MOST_TOLD:,}: write fewer, or ingestion in its "
                "place"
            )


def _arrival_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    if infra.arrivals is None:
        return
    if not pipeline.queue:
        yield "infra.arrivals makes a queue that nobody reads: write arrivals.mode: sqs"
    if pipeline.queue_url is not None:
        yield (
            "arrivals.queue_url: infra.arrivals makes the queue, and its URL is read from there: "
            "leave one of them out"
        )
    if not pipeline.raw.startswith(S3_SCHEME):
        yield "infra.arrivals is about raw files on S3: write raw: s3://bucket/prefix"
