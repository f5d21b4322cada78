"""What the account must be like for a project's infrastructure, told before anything is changed.

Follows seed 000, "Pipeline management", Prerequisites, and "Data sink - Kafka".
"""

from collections.abc import Callable, Collection, Iterable, Iterator

from clickstream_dagster.batches.objects import split_s3
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.errors import InfraError
from clickstream_dagster.infra.checks_kafka import kafka_faults
from clickstream_dagster.infra.checks_kept import kept_faults
from clickstream_dagster.infra.endpoints import endpoints_needed
from clickstream_dagster.infra.facts import Certificate, Facts, Subnet, read_facts
from clickstream_dagster.infra.rules_ingestion import OIDC_KEYS
from clickstream_dagster.infra.settings import Infra, Pipeline
from clickstream_dagster.infra.wanted import places, security_groups

_ZONES, _REDSHIFT_ZONES = 2, 3
_UNCHECKED = "unchecked_routes: true"


def check_account(infra: Infra, pipeline: Pipeline, access: S3Access) -> None:
    """Raise InfraError, with all that is wrong, unless the account is as the settings need it.

    Reads from AWS and changes nothing.
    """
    if access.region != pipeline.s3.region:
        raise InfraError(
            f"--region {access.region}: the project is in s3.region, {pipeline.s3.region}, where "
            "Dagster looks for its stacks: leave the option out, or write another s3.region"
        )
    faults = fact_faults(infra, pipeline, read_facts(infra, pipeline, access))
    if faults:
        raise InfraError("\n".join(faults))


def fact_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> list[str]:
    """Give what is wrong, a sentence each with key, rule and remedy; nothing if all is right."""
    rules: Iterable[Callable[[Infra, Pipeline, Facts], Iterator[str]]] = (
        _account_faults,
        _subnet_faults,
        _zone_faults,
        _redshift_faults,
        _endpoint_faults,
        _group_faults,
        _certificate_faults,
        _secret_faults,
        _bucket_faults,
        kafka_faults,
        kept_faults,
    )
    return [fault for rule in rules for fault in rule(infra, pipeline, facts)]


def _account_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    if infra.account is not None and facts.account != infra.account:
        yield (
            f"infra.account {infra.account}: the credentials are of {facts.account}: sign in "
            "there, "
            "write s3.profile, or correct it"
        )


def _named_subnets(infra: Infra) -> Iterator[tuple[str, str]]:
    """Yield key and id of each subnet that the YAML names."""
    if infra.network is not None:
        for key in ("public_subnets", "private_subnets"):
            yield from ((f"infra.network.{key}", one) for one in getattr(infra.network, key))
    if infra.redshift is not None:
        yield from (("infra.redshift.subnets", one) for one in infra.redshift.subnets)


def _subnet_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    if infra.network is None:
        return
    vpc = infra.network.vpc_id
    if not facts.vpc:
        yield (
            f"infra.network.vpc_id {vpc} is not in {pipeline.s3.region}: write a VPC of that "
            "region "
            "and account"
        )
    for key, one in _named_subnets(infra):
        subnet = facts.subnets.get(one)
        if subnet is None:
            yield f"{key}: {one} is not in {pipeline.s3.region}: write a subnet of {vpc}"
        elif subnet.vpc_id != vpc:
            yield f"{key}: {one} is in {subnet.vpc_id}: write a subnet of {vpc}"
        elif not infra.network.unchecked_routes:
            yield from _way_faults(key, one, subnet)


def _way_faults(key: str, one: str, subnet: Subnet) -> Iterator[str]:
    public = key.endswith("public_subnets")
    word = f"or infra.network.{_UNCHECKED} where a firewall is between"
    if public and subnet.way != "public":
        yield (
            f"{key}: {one} has no route to an internet gateway: write a public subnet, put it into "
            f"private_subnets, {word}"
        )
    elif not public and subnet.way == "public":
        yield (
            f"{key}: {one} has a route to an internet gateway: write a private subnet (its way "
            f"out is a NAT gateway) or an isolated one, {word}"
        )


def _zones(subnets: Iterable[str], facts: Facts) -> set[str]:
    found = (facts.subnets.get(one) for one in subnets)
    return {subnet.zone for subnet in found if subnet is not None}


def _zone_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    network = infra.network
    if network is None:
        return
    public = _zones(network.public_subnets, facts)
    private = _zones(network.private_subnets, facts)
    for key, zones in (("public_subnets", public), ("private_subnets", private)):
        if zones and len(zones) < _ZONES:
            yield (
                f"infra.network.{key}: all are in {_listed(zones)}: write subnets of {_ZONES} "
                "availability zones or more"
            )
    if infra.ingestion is not None and 1 < len(private) < len(network.private_subnets):
        yield (
            f"infra.network.private_subnets: some share one of {_listed(private)}: write one "
            "subnet in each zone, since the collectors' spool has one address there"
        )
    if infra.ingestion is None or infra.ingestion.internal or not public or not private:
        return
    if public != private:
        yield (
            f"infra.network.public_subnets are in {_listed(public)}, private_subnets in "
            f"{_listed(private)}: write subnets of the same availability zones"
        )


def _redshift_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    if infra.redshift is None or infra.redshift.existing or infra.network is None:
        return
    zones = _zones(infra.redshift.subnets or infra.network.private_subnets, facts)
    if zones and len(zones) < _REDSHIFT_ZONES:
        yield (
            f"infra.redshift.subnets: they are in {_listed(zones)}: Redshift Serverless needs "
            f"{_REDSHIFT_ZONES} availability zones: write subnets of as many"
        )


def _endpoint_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    network = infra.network
    if network is None or network.unchecked_routes:
        return
    for key, subnets, needed in endpoints_needed(infra, pipeline):
        isolated = [one for one in subnets if _is_isolated(facts.subnets.get(one))]
        missing = needed - facts.endpoints
        if isolated and missing:
            yield (
                f"{key}: {_listed(isolated)} is isolated, and {network.vpc_id} lacks VPC endpoints "
                f"of {_listed(missing)}: make them, write subnets with a NAT gateway, or "
                f"infra.network.{_UNCHECKED}"
            )


def _is_isolated(subnet: Subnet | None) -> bool:
    return subnet is not None and subnet.way == "isolated"


def _group_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    if infra.network is None:
        return
    for key, group in security_groups(infra):
        vpc = facts.groups.get(group)
        if vpc != infra.network.vpc_id:
            place = f"is in {vpc}" if vpc else "is not there"
            yield (
                f"infra.{key}: {group} {place}: write a security group of {infra.network.vpc_id}"
            )


def _certificate_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    for key, block in (
        ("ingestion", infra.ingestion),
        ("serverless_ingestion", infra.serverless_ingestion),
    ):
        if block is None or block.certificate_arn is None or block.domain is None:
            continue
        key = f"infra.{key}.certificate_arn"
        certificate = facts.certificates.get(block.certificate_arn)
        if certificate is None:
            yield f"{key}: the certificate is not there: write the ARN of one of this account"
            continue
        if certificate.status != "ISSUED":
            yield (
                f"{key}: the certificate is {certificate.status}: finish its validation, or write "
                "one that is ISSUED"
            )
        if not covers(certificate, block.domain):
            yield (
                f"{key}: the certificate is for {_listed(certificate.names)}, not for "
                f"{block.domain}: write one that is, or another domain"
            )


def covers(certificate: Certificate, domain: str) -> bool:
    """Whether a certificate is for a domain: `*.` stands for one name (RFC 6125)."""
    _, _, parent = domain.partition(".")
    return domain in certificate.names or f"*.{parent}" in certificate.names


def _secret_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    if infra.ingestion is None or infra.ingestion.oidc_secret_arn is None:
        return
    key = "infra.ingestion.oidc_secret_arn"
    found = facts.secrets.get(infra.ingestion.oidc_secret_arn)
    if found is None:
        yield f"{key}: the secret is not there: make it, or correct its ARN"
    elif missing := [name for name in OIDC_KEYS if name not in found]:
        yield f"{key}: the secret has no {', '.join(missing)}: write it as JSON with them"


def _bucket_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    """Yield what is wrong with buckets that must be there, or must not be in another region."""
    makes = infra.storage is not None and not infra.storage.existing
    for key, place in places(infra, pipeline):
        bucket = split_s3(place)[0]
        region = facts.buckets.get(bucket)
        if region is None:
            if not makes:
                yield (
                    f"{key}: the bucket {bucket} is not there: make it, or have infra.storage do so"
                )
        elif region != pipeline.s3.region:
            yield (
                f"{key}: the bucket {bucket} is in {region}: write one in s3.region, "
                f"{pipeline.s3.region}"
            )
    if infra.arrivals is not None and not makes:
        bucket = split_s3(pipeline.raw)[0]
        if facts.buckets.get(bucket) and bucket not in facts.announcing:
            yield (
                f"infra.arrivals: the bucket {bucket} sends no events: switch Amazon EventBridge "
                "on "
                "in its properties, below event notifications"
            )


def _listed(values: Collection[str]) -> str:
    return ", ".join(sorted(values))
