"""What a project's infrastructure must be like, as far as its YAML alone can tell; all at once.

Follows seed 000, "Pipeline management". What needs a look at the account is in `checks`.
"""

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from clickstream_dagster.infra import forms
from clickstream_dagster.infra.bounds import BOUNDS
from clickstream_dagster.infra.regions import Service, region_faults
from clickstream_dagster.infra.rules_data import data_faults
from clickstream_dagster.infra.rules_ingestion import ingestion_faults
from clickstream_dagster.infra.settings import Infra, Pipeline

LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653)
"""Days that CloudWatch can keep a log for, up to ten years."""

LONGEST_PROJECT_ID = 40
"""AWS's names that begin with the project's, as that of a stack or an application, end by 64."""

_ZONES = 2
_MOST_ZONES = 3  # The collectors' spool has an address in each


def rule_faults(infra: Infra, pipeline: Pipeline) -> list[str]:
    """Give what is wrong, a sentence each with key, rule and remedy; nothing if all is right."""
    rules: Iterable[Callable[[Infra, Pipeline], Iterator[str]]] = (
        _bound_faults,
        _account_faults,
        _network_faults,
        ingestion_faults,
        data_faults,
    )
    return [fault for rule in rules for fault in rule(infra, pipeline)]


def _bound_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    for key, bound in BOUNDS.items():
        block, _, name = key.partition(".")
        settings = getattr(infra, block)
        value = None if settings is None else attrgetter(name)(settings)
        if value is not None and not bound.holds(value):
            yield f"infra.{key} {value}: write {bound}"
    if infra.log_retention_days not in LOG_DAYS:
        yield (
            f"infra.log_retention_days {infra.log_retention_days}: write one of "
            f"{', '.join(map(str, LOG_DAYS))}"
        )


def _account_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    if len(pipeline.project_id) > LONGEST_PROJECT_ID:
        yield (
            f"project_id {pipeline.project_id!r} has {len(pipeline.project_id)} characters: write "
            f"{LONGEST_PROJECT_ID} at most with infra, since names of AWS begin with it"
        )
    yield from forms.ACCOUNT.faults("infra.account", infra.account)
    boundary = infra.permissions_boundary_arn
    yield from forms.POLICY.faults("infra.permissions_boundary_arn", boundary)
    for name in infra.tags:
        if name.lower().startswith(("aws:", "clickstream:")):
            yield f"infra.tags {name!r}: write a name that does not begin with aws: or clickstream:"
    if pipeline.s3.region is None:
        yield "infra needs s3.region: write the region that everything is made in, as eu-west-1"
        return
    yield from region_faults(
        pipeline.s3.region, _needed_services(infra, pipeline), infra.unlisted_region
    )


def _needed_services(infra: Infra, pipeline: Pipeline) -> dict[Service, str]:
    """Give the services that the settings ask of a region, each with the key that does."""
    needed: dict[Service, str] = {}
    if infra.ingestion is not None and pipeline.sink != "directory":
        needed[pipeline.sink] = "infra.ingestion with collector.sink"
    if infra.kinesis is not None:
        needed["kinesis"] = "infra.kinesis"
    if infra.kafka is not None:
        needed["kafka"] = "infra.kafka"
    if infra.processing is not None and pipeline.engine == "emr_serverless":
        needed["processing"] = "infra.processing with engine emr_serverless"
    if infra.redshift is not None:
        on_cluster = pipeline.redshift is not None and pipeline.redshift.cluster is not None
        needed["redshift_provisioned" if on_cluster else "redshift_serverless"] = "infra.redshift"
    if infra.ingestion is not None and infra.ingestion.global_accelerator:
        needed["global_accelerator"] = "infra.ingestion.global_accelerator"
    return needed


def _network_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    inside = [name for name in ("ingestion", "kafka", "orchestration") if getattr(infra, name)]
    if infra.redshift is not None and not infra.redshift.existing:
        inside.append("redshift")
    if infra.processing is not None and infra.processing.in_vpc:
        inside.append("processing.in_vpc")
    network = infra.network
    if network is None:
        if inside:
            yield (
                f"infra.network: {', '.join(inside)} are in a VPC: write vpc_id, public_subnets "
                "and "
                "private_subnets"
            )
        return
    yield from forms.VPC.faults("infra.network.vpc_id", network.vpc_id)
    for key in ("public_subnets", "private_subnets"):
        subnets = getattr(network, key)
        for subnet in subnets:
            yield from forms.SUBNET.faults(f"infra.network.{key}", subnet)
        if len(set(subnets)) < len(subnets):
            yield f"infra.network.{key} has a subnet twice: write each once"
        public = infra.ingestion is not None and not infra.ingestion.internal
        needed = key == "private_subnets" or public
        if needed and len(set(subnets)) < _ZONES:
            yield (
                f"infra.network.{key}: {len(set(subnets))} of them: write {_ZONES} or more, in "
                f"{_ZONES} availability zones or more"
            )
    if infra.ingestion is not None and len(set(network.private_subnets)) > _MOST_ZONES:
        yield (
            f"infra.network.private_subnets: {len(set(network.private_subnets))} of them: write "
            f"{_ZONES} or {_MOST_ZONES} for ingestion, each in a zone of its own"
        )
    both = sorted(set(network.public_subnets) & set(network.private_subnets))
    if both:
        yield (
            f"infra.network.private_subnets: {', '.join(both)} is in public_subnets, too: write "
            "subnets "
            "without a route to an internet gateway"
        )
