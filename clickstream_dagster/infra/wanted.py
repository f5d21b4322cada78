"""What the settings speak of and the account must have already."""

from dataclasses import dataclass

from clickstream_dagster.batches.objects import S3_SCHEME, split_s3
from clickstream_dagster.infra.settings import Infra, Pipeline


@dataclass(frozen=True, slots=True)
class Wanted:
    """Ids, ARNs and names to look up. `groups` are security groups, `kafka` is a cluster's ARN."""

    subnets: frozenset[str]
    groups: frozenset[str]
    certificates: frozenset[str]
    buckets: frozenset[str]
    secrets: frozenset[str]
    kafka: str | None


def wanted(infra: Infra, pipeline: Pipeline) -> Wanted:
    """Give what the settings speak of, each once."""
    network, ingestion, serverless = infra.network, infra.ingestion, infra.serverless_ingestion
    subnets = {*network.public_subnets, *network.private_subnets} if network else set()
    if infra.redshift is not None:
        subnets.update(infra.redshift.subnets)
    return Wanted(
        subnets=frozenset(subnets),
        groups=frozenset(group for _, group in security_groups(infra)),
        certificates=_some(
            ingestion and ingestion.certificate_arn, serverless and serverless.certificate_arn
        ),
        buckets=frozenset(split_s3(place)[0] for _, place in places(infra, pipeline)),
        secrets=_some(ingestion and ingestion.oidc_secret_arn),
        kafka=infra.kafka.cluster_arn if infra.kafka else None,
    )


def security_groups(infra: Infra) -> list[tuple[str, str]]:
    """Give key and id of each security group."""
    found: list[tuple[str, str]] = []
    if infra.kafka is not None:
        found.append(("kafka.security_group", infra.kafka.security_group))
    for name, block in (("redshift", infra.redshift), ("orchestration", infra.orchestration)):
        if block is not None:
            key = f"{name}.access_security_groups"
            found.extend((key, group) for group in block.access_security_groups)
    return found


def places(infra: Infra, pipeline: Pipeline) -> list[tuple[str, str]]:
    """Give key and address of each place on S3 that the YAML names."""
    named = [("raw", pipeline.raw), ("lake", pipeline.lake)]
    if infra.artifacts is not None:
        named.append(("infra.artifacts", infra.artifacts))
    if infra.serverless_ingestion is not None:
        named.append(("infra.serverless_ingestion.data", infra.serverless_ingestion.data))
    if pipeline.emr is not None:
        named.append(("emr_serverless.artifacts", pipeline.emr.artifacts))
    if pipeline.redshift is not None:
        named.append(("redshift.manifests", pipeline.redshift.manifests))
    if pipeline.athena is not None:
        named.append(("athena.data", pipeline.athena.data))
        named.append(("athena.results", pipeline.athena.results))
    return [(key, place) for key, place in named if place.startswith(S3_SCHEME)]


def _some(*values: str | None) -> frozenset[str]:
    return frozenset(value for value in values if value)
