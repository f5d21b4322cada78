"""The modules that take events in: stream or topic, load balancer and collectors, queue."""

import hashlib

from clickstream_dagster.batches.objects import split_object
from clickstream_dagster.infra.module import Module, Part
from clickstream_dagster.infra.settings import Ingestion
from clickstream_dagster.infra.values import Given, Value, flag, listed, part_name, repository_arn

_CPU_UNITS = 1_024
_NO_BROKERS = {
    "KafkaBrokers": "",
    "KafkaTopic": "",
    "KafkaSecurity": "plaintext",
    "KafkaPort": "9092",
    "KafkaSecurityGroupId": "",
    "KafkaClusterArn": "",
}
_FIRST_PRIORITY, _LAST_PRIORITY = 10, 50_000
_CONNECTOR_STAYS = (
    "MSK Connect can't change it, nor make a second connector of the name; one that is made anew "
    "goes on where the old one ended"
)


def sink_kinesis(given: Given) -> Module | None:
    """The stream of `collector.sink`, and the function that makes raw files of it."""
    settings, pipeline = given.infra.kinesis, given.pipeline
    if settings is None:
        return None
    return Module(
        name="sink-kinesis",
        template="sink-kinesis.yaml",
        parameters={
            **given.project,
            "StreamName": pipeline.kinesis_stream or "",
            "Stream": "new" if settings.new_stream else "existing",
            "Shards": str(settings.shards or 0),
            "RetentionHours": str(settings.retention_hours),
            "BatchRecords": str(settings.batch_records),
            "BatchSeconds": str(settings.batch_seconds),
            **given.at("Raw", pipeline.raw),
            "CodeBucket": given.place(given.artifacts)[0],
            **given.key,
            **given.logs,
            **given.boundary,
        },
        code={"FunctionCode": "lambda/kinesis_to_s3"},
        fixed={"StreamName": "collector.sink.stream: records not read yet would be left behind"},
    )


def sink_kafka(given: Given) -> Module | None:
    """The connector that makes raw files of the topic of `collector.sink`."""
    settings, pipeline = given.infra.kafka, given.pipeline
    if settings is None or settings.plugin is None:
        return None
    plugin_bucket, plugin_key = split_object(settings.plugin)
    bucket, prefix = given.place(pipeline.raw)
    topic = pipeline.kafka_topic or pipeline.project_id
    return Module(
        name="sink-kafka",
        template="sink-kafka.yaml",
        parameters={
            **given.project,
            "VpcId": given.network.vpc_id,
            "PrivateSubnetIds": listed(given.network.private_subnets),
            **_brokers(given),
            "PluginBucket": plugin_bucket,
            "PluginKey": plugin_key,
            "MinWorkers": str(settings.min_workers),
            "MaxWorkers": str(settings.max_workers),
            "CapacityUnits": str(settings.capacity_units),
            "Tasks": str(settings.tasks),
            "BatchRecords": str(settings.batch_records),
            "BatchMilliseconds": str(max(1, settings.batch_seconds) * 1_000),
            "RawBucket": bucket,
            "TopicsDir": prefix.rstrip("/").removesuffix(topic).rstrip("/"),
            **given.key,
            **given.logs,
            **given.boundary,
        },
        fixed={
            "VpcId": "infra.network.vpc_id: the connector can't move",
            "PrivateSubnetIds": f"infra.network.private_subnets: {_CONNECTOR_STAYS}",
            "KafkaBrokers": f"collector.sink.brokers: {_CONNECTOR_STAYS}",
            "KafkaSecurity": f"collector.sink.security: {_CONNECTOR_STAYS}",
            "PluginBucket": f"infra.kafka.plugin: {_CONNECTOR_STAYS}",
            "PluginKey": f"infra.kafka.plugin: {_CONNECTOR_STAYS}",
            "KafkaTopic": "collector.sink.topic: messages not read yet would be left behind",
        },
    )


def ingestion(given: Given) -> Module | None:
    """Load balancer and collectors, with all that the block `collector` says."""
    settings = given.infra.ingestion
    if settings is None:
        return None
    network = given.network
    return Module(
        name="ingestion",
        template="ingestion.yaml",
        parameters={
            **given.project,
            "VpcId": network.vpc_id,
            "PublicSubnetIds": listed(() if settings.internal else network.public_subnets),
            "PrivateSubnetIds": listed(network.private_subnets),
            **_endpoint(given, settings),
            **_machines(settings),
            **_collector(given, settings),
            **_sink(given, settings),
            **given.key,
            **given.logs,
            **given.boundary,
        },
        parts=(
            *listener_rules(given.pipeline.app_ids),
            *((Part("accelerator.yaml", "Global"),) if settings.global_accelerator else ()),
        ),
        fixed={
            "VpcId": "infra.network.vpc_id: the load balancer and the spool can't move",
            "LoadBalancerScheme": "infra.ingestion.internal: the endpoint would get another name",
        },
    )


def listener_rules(app_ids: tuple[str, ...]) -> tuple[Part, ...]:
    """Give a rule for each app; its priority comes of its id, so that others keep theirs."""
    taken: set[int] = set()
    parts = []
    for app in app_ids:
        room = _LAST_PRIORITY - _FIRST_PRIORITY + 1
        place = int.from_bytes(hashlib.sha256(app.encode()).digest()[:8]) % room
        while place in taken:
            place = (place + 1) % room
        taken.add(place)
        parts.append(
            Part(
                "listener_rule.yaml",
                part_name(app),
                {"app_id": app, "priority": _FIRST_PRIORITY + place},
            )
        )
    return tuple(parts)


def _endpoint(given: Given, settings: Ingestion) -> dict[str, Value]:
    collector = given.pipeline.collector
    return {
        "LoadBalancerScheme": "internal" if settings.internal else "internet-facing",
        "IngressCidr": settings.ingress_cidr,
        "DomainName": settings.domain or "",
        "CertificateArn": settings.certificate_arn or "",
        "TlsPolicy": settings.tls_policy,
        "AcknowledgeHttp": flag(settings.acknowledge_http),
        "CollectPath": collector.path,
        "AnyApp": flag(not collector.needs_app),
        "OidcSecretArn": settings.oidc_secret_arn or "",
        "AccessLogs": flag(settings.access_logs),
        "LogsBucket": given.output("storage", "LogsBucket", settings.access_logs),
    }


def _machines(settings: Ingestion) -> dict[str, Value]:
    workers = settings.workers or max(1, settings.cpu // _CPU_UNITS)
    return {
        "LaunchType": settings.server.upper(),
        "Image": settings.image,
        "ImageRepositoryArn": repository_arn(settings.image),
        "CpuArchitecture": settings.architecture.upper(),
        "TaskCpu": str(settings.cpu),
        "TaskMemory": str(settings.memory_mb),
        "MinTasks": str(settings.min_tasks),
        "MaxTasks": str(settings.max_tasks),
        "CpuPercent": str(settings.cpu_percent),
        "ScaleInSeconds": str(settings.scale_in_minutes * 60),
        "InstanceType": settings.instance_type,
        "WarmPool": str(settings.warm_pool),
        "MaxInstances": str(2 * settings.max_tasks),
        "SpoolMibps": str(settings.spool_mibps),
        "Workers": str(workers),
        "ReadingMb": str(settings.reading_mb),
    }


def _collector(given: Given, settings: Ingestion) -> dict[str, Value]:
    pipeline, collector = given.pipeline, given.pipeline.collector
    # Rules of the load balancer tell apps apart; with their ids a new app would restart collectors.
    known = pipeline.app_ids if settings.write_keys_secret_arn else ()
    return {
        "AppIds": listed(known),
        "Origins": listed(pipeline.origins),
        "TrustedProxies": listed(collector.trusted_proxies),
        "BodyKb": str(collector.body_bytes >> 10),
        "BodySeconds": f"{collector.body_seconds:g}",
        "Sync": collector.sync.value,
        "Dev": flag(collector.dev),
        "BufferMb": f"{collector.segment_bytes / (1 << 20):g}",
        "BufferSeconds": f"{collector.segment_seconds:g}",
        "OidcIssuer": collector.oidc.issuer if collector.oidc else "",
        "OidcAudience": collector.oidc.audience if collector.oidc else "",
        "WriteKeysSecretArn": settings.write_keys_secret_arn or "",
    }


def _sink(given: Given, settings: Ingestion) -> dict[str, Value]:
    pipeline = given.pipeline
    sinks = pipeline.collector.sink_settings
    on_kafka = pipeline.sink == "kafka"
    return {
        "SinkType": pipeline.sink,
        **given.at("Raw", pipeline.raw if pipeline.sink == "s3" else None),
        "StreamName": _stream(given),
        **(_brokers(given) if on_kafka else _NO_BROKERS),
        "KafkaSecretArn": settings.kafka_secret_arn or "",
        "SinkBatchRecords": str((sinks.kafka if on_kafka else sinks.kinesis).batch_records),
    }


def _brokers(given: Given) -> dict[str, Value]:
    """Give what collectors and connector know of the brokers."""
    pipeline, settings = given.pipeline, given.infra.kafka
    if settings is None:
        raise AssertionError("infra.kafka is missing, which the rules ask for")
    return {
        "KafkaBrokers": listed(pipeline.kafka_brokers),
        "KafkaTopic": pipeline.kafka_topic or pipeline.project_id,
        "KafkaSecurity": pipeline.collector.sink_settings.kafka.security,
        "KafkaPort": pipeline.kafka_brokers[0].rpartition(":")[2],
        "KafkaSecurityGroupId": settings.security_group,
        "KafkaClusterArn": settings.cluster_arn or "",
    }


def _stream(given: Given) -> Value:
    """Give the stream: from its stack, so that it is there before collectors write to it."""
    if given.infra.kinesis is not None:
        return given.output("sink-kinesis", "StreamName", True)
    return given.pipeline.kinesis_stream or ""


def serverless_ingestion(given: Given) -> Module | None:
    """CloudFront with a function at its edge, and Firehose."""
    settings, pipeline = given.infra.serverless_ingestion, given.pipeline
    if settings is None:
        return None
    collector = pipeline.collector
    return Module(
        name="serverless-ingestion",
        template="serverless-ingestion.yaml",
        parameters={
            **given.project,
            "DomainName": settings.domain or "",
            "CertificateArn": settings.certificate_arn or "",
            "CollectPath": collector.path,
            "Apps": listed(pipeline.app_ids) if collector.needs_app else "*",
            "Origins": listed(pipeline.origins) or "none",
            "Dev": flag(collector.dev),
            "CodeBucket": given.place(given.artifacts)[0],
            "BufferMb": str(settings.buffer_mb),
            "BufferSeconds": str(settings.buffer_seconds),
            **given.at("Data", settings.data),
            **given.at("Raw", pipeline.raw),
            "DatabaseName": f"{pipeline.project_id}_requests",
            "AccessLogs": flag(settings.access_logs),
            "LogsBucket": given.output("storage", "LogsBucket", settings.access_logs),
            **given.key,
            **given.logs,
            **given.boundary,
        },
        code={"FunctionCode": "edge_function"},
        fixed={"DatabaseName": "which follows from project_id: its table would be left behind"},
    )


def arrivals(given: Given) -> Module | None:
    """The queue that S3 announces raw files to."""
    settings = given.infra.arrivals
    if settings is None:
        return None
    return Module(
        name="arrivals",
        template="arrivals.yaml",
        parameters={
            **given.project,
            **given.at("Raw", given.pipeline.raw),
            "RetentionSeconds": str(settings.retention_days * 86_400),
            "Attempts": str(settings.attempts),
        },
    )
