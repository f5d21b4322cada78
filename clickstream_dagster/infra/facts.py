"""What the account has already: read from AWS before any change, and never changed here."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from clickstream_dagster.batches.objects import split_s3
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.infra.ask import ask
from clickstream_dagster.infra.kept import Name, names_made, names_there, own_names
from clickstream_dagster.infra.settings import Infra, Pipeline
from clickstream_dagster.infra.wanted import Wanted, wanted

Way = Literal["public", "private", "isolated"]
"""How a subnet reaches the internet: an internet gateway, a NAT or the like, or not at all."""

_EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet: its VPC, its availability zone (`eu-west-1a`), and its way out."""

    vpc_id: str
    zone: str
    way: Way


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of ACM: its status, and the names that it is for."""

    status: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """An MSK cluster: where it is, who may come in, and what it makes topics like."""

    vpc_ids: frozenset[str]
    state: str
    brokers: int
    unauthenticated: bool
    scram: bool
    iam: bool
    plaintext: bool
    tls: bool
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found. None stands for what is not there.

    `buckets` have their region; `announcing` are those that send events to EventBridge.
    `endpoints` are short names of the services that the VPC has an endpoint of (`ecr.api`),
    `secrets` the names of the keys of each secret; their values are not kept. `there` is what
    has a name that a module would make, `own` all that the project's stacks have.
    """

    account: str
    vpc: bool = True
    subnets: Mapping[str, Subnet | None] = field(default_factory=dict)
    endpoints: frozenset[str] = frozenset()
    certificates: Mapping[str, Certificate | None] = field(default_factory=dict)
    buckets: Mapping[str, str | None] = field(default_factory=dict)
    announcing: frozenset[str] = frozenset()
    secrets: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    groups: Mapping[str, str | None] = field(default_factory=dict)
    kafka: KafkaCluster | None = None
    there: frozenset[Name] = frozenset()
    own: frozenset[Name] = frozenset()


def read_facts(infra: Infra, pipeline: Pipeline, access: S3Access) -> Facts:
    """Read what the settings speak of.

    Asks EC2 for VPC, subnets, routes, endpoints and security groups, ACM for certificates, S3 for
    buckets, Secrets Manager for names of keys, MSK for the cluster, CloudFormation for the stacks
    of the project, and Kinesis, Glue, Redshift and CloudWatch Logs for what is not to be made
    again. Raises InfraError where it may not look, or where the region is not enabled.
    """
    asked = wanted(infra, pipeline)

    def client(service: str, region: str | None = access.region) -> Any:
        return access.client_of(service, region, access.endpoint_url)

    identity = ask(lambda: client("sts").get_caller_identity(), "sts:GetCallerIdentity", {})
    found: dict[str, Any] = {"account": identity["Account"]}
    if infra.network is not None:
        ec2 = client("ec2")
        vpc = infra.network.vpc_id
        found["vpc"] = _vpc(ec2, vpc)
        found["subnets"] = _subnets(ec2, asked.subnets)
        found["endpoints"] = _endpoints(ec2, vpc)
        found["groups"] = {group: _group(ec2, group) for group in asked.groups}
    found["certificates"] = {
        arn: _certificate(client("acm", arn.split(":")[3] or access.region), arn)
        for arn in asked.certificates
    }
    found["buckets"] = _buckets(access, asked)
    raw = split_s3(pipeline.raw)[0]
    if infra.arrivals is not None and found["buckets"].get(raw) is not None:
        found["announcing"] = frozenset({raw} if announces(access.client(), raw) else ())
    found["secrets"] = {arn: _keys(client("secretsmanager"), arn) for arn in asked.secrets}
    if asked.kafka is not None:
        found["kafka"] = kafka_cluster(client("kafka"), client("ec2"), asked.kafka)
    found["there"] = names_there(names_made(infra, pipeline), client)
    found["own"] = own_names(pipeline.project_id, access)
    return Facts(**found)


def _pages(client: Any, operation: str, key: str, right: str, **arguments: Any) -> list[Any]:
    pages = client.get_paginator(operation).paginate(**arguments)
    return ask(lambda: [one for page in pages for one in page[key]], right, {})


def _vpc(ec2: Any, vpc_id: str) -> bool:
    absent = {"InvalidVpcID.NotFound": {"Vpcs": []}, "InvalidVpcID.Malformed": {"Vpcs": []}}
    answer = ask(lambda: ec2.describe_vpcs(VpcIds=[vpc_id]), "ec2:DescribeVpcs", absent)
    return bool(answer["Vpcs"])


def _subnets(ec2: Any, ids: Iterable[str]) -> dict[str, Subnet | None]:
    named = sorted(ids)
    if not named:
        return {}
    # A filter, unlike a list of ids, says nothing about those that are not there.
    rows = _pages(
        ec2,
        "describe_subnets",
        "Subnets",
        "ec2:DescribeSubnets",
        Filters=[{"Name": "subnet-id", "Values": named}],
    )
    vpcs = sorted({row["VpcId"] for row in rows})
    tables = (
        _pages(
            ec2,
            "describe_route_tables",
            "RouteTables",
            "ec2:DescribeRouteTables",
            Filters=[{"Name": "vpc-id", "Values": vpcs}],
        )
        if vpcs
        else []
    )
    found = {
        row["SubnetId"]: Subnet(row["VpcId"], row["AvailabilityZone"], _way(tables, row))
        for row in rows
    }
    return {one: found.get(one) for one in named}


def _way(tables: Iterable[Mapping[str, Any]], subnet: Mapping[str, Any]) -> Way:
    """Tell how a subnet reaches the internet: by its own table of routes, else the VPC's main."""
    own = main = None
    for table in tables:
        for link in table["Associations"]:
            if link.get("SubnetId") == subnet["SubnetId"]:
                own = table
            elif link.get("Main") and table["VpcId"] == subnet["VpcId"]:
                main = table
    way: Way = "isolated"
    for route in (own or main or {"Routes": []})["Routes"]:
        if route.get("DestinationCidrBlock") != _EVERYWHERE or route.get("State") == "blackhole":
            continue
        if (route.get("GatewayId") or "").startswith("igw-"):
            return "public"
        ways = ("NatGatewayId", "InstanceId", "NetworkInterfaceId", "TransitGatewayId")
        if any(route.get(name) for name in ways) or (route.get("GatewayId") or "").startswith(
            ("vgw-", "vpce-")
        ):
            way = "private"
    return way


def _endpoints(ec2: Any, vpc_id: str) -> frozenset[str]:
    rows = _pages(
        ec2,
        "describe_vpc_endpoints",
        "VpcEndpoints",
        "ec2:DescribeVpcEndpoints",
        Filters=[{"Name": "vpc-id", "Values": [vpc_id]}],
    )
    # com.amazonaws.eu-west-1.ecr.api and, in China, cn.com.amazonaws.cn-north-1.ecr.api
    names = [row["ServiceName"] for row in rows if row["State"].lower() == "available"]
    return frozenset(name.partition("amazonaws.")[2].partition(".")[2] for name in names)


def _group(ec2: Any, group: str) -> str | None:
    """Give the VPC of a security group."""
    rows = _pages(
        ec2,
        "describe_security_groups",
        "SecurityGroups",
        "ec2:DescribeSecurityGroups",
        Filters=[{"Name": "group-id", "Values": [group]}],
    )
    return rows[0]["VpcId"] if rows else None


def _certificate(acm: Any, arn: str) -> Certificate | None:
    answer = ask(
        lambda: acm.describe_certificate(CertificateArn=arn),
        "acm:DescribeCertificate",
        {"ResourceNotFoundException": None, "ValidationException": None},
    )
    if answer is None:
        return None
    told = answer["Certificate"]
    names = {told["DomainName"], *told.get("SubjectAlternativeNames", [])}
    return Certificate(told["Status"], frozenset(name.lower() for name in names))


def _buckets(access: S3Access, asked: Wanted) -> dict[str, str | None]:
    return {name: _region_of(access.client(), name) for name in sorted(asked.buckets)}


def _region_of(s3: Any, bucket: str) -> str | None:
    answer = ask(
        lambda: s3.get_bucket_location(Bucket=bucket),
        f"s3:GetBucketLocation on {bucket}",
        {"NoSuchBucket": None},
    )
    # S3 has kept the first names of its two oldest regions.
    named = {"": "us-east-1", "EU": "eu-west-1"}
    place = None if answer is None else answer.get("LocationConstraint") or ""
    return None if place is None else named.get(place, place)


def announces(s3: Any, bucket: str) -> bool:
    """Whether a bucket sends its events to EventBridge."""
    answer = ask(
        lambda: s3.get_bucket_notification_configuration(Bucket=bucket),
        f"s3:GetBucketNotification on {bucket}",
        {},
    )
    return "EventBridgeConfiguration" in answer


def _keys(secrets: Any, arn: str) -> frozenset[str] | None:
    answer = ask(
        lambda: secrets.get_secret_value(SecretId=arn),
        f"secretsmanager:GetSecretValue on {arn}",
        {"ResourceNotFoundException": None},
    )
    if answer is None:
        return None
    try:
        told = json.loads(answer.get("SecretString") or "")
    except ValueError:
        return frozenset()
    return frozenset(told) if isinstance(told, dict) else frozenset()


def kafka_cluster(kafka: Any, ec2: Any, arn: str) -> KafkaCluster | None:
    """Give what an MSK cluster is like, None for one that is not there."""
    answer = ask(
        lambda: kafka.describe_cluster_v2(ClusterArn=arn),
        "kafka:DescribeClusterV2",
        {"NotFoundException": None, "BadRequestException": None},
    )
    told = (answer or {}).get("ClusterInfo")
    if told is None:
        return None
    cluster = told.get("Provisioned") or {}
    nodes = cluster.get("BrokerNodeGroupInfo", {})
    entrance = cluster.get("ClientAuthentication", {})
    sasl = entrance.get("Sasl", {})
    transit = cluster.get("EncryptionInfo", {}).get("EncryptionInTransit", {})
    client_broker = transit.get("ClientBroker", "TLS")
    subnets = _subnets(ec2, nodes.get("ClientSubnets", []))
    return KafkaCluster(
        vpc_ids=frozenset(one.vpc_id for one in subnets.values() if one is not None),
        state=told.get("State", ""),
        brokers=cluster.get("NumberOfBrokerNodes", 0),
        unauthenticated=entrance.get("Unauthenticated", {}).get("Enabled", not sasl),
        scram=sasl.get("Scram", {}).get("Enabled", False),
        iam=sasl.get("Iam", {}).get("Enabled", False),
        plaintext=client_broker in ("PLAINTEXT", "TLS_PLAINTEXT"),
        tls=client_broker in ("TLS", "TLS_PLAINTEXT"),
        properties=_properties(kafka, cluster.get("CurrentBrokerSoftwareInfo", {})),
    )


def _properties(kafka: Any, software: Mapping[str, Any]) -> dict[str, str]:
    """Give the cluster's properties as its configuration writes them; none without one."""
    if not software.get("ConfigurationArn"):
        return {}
    answer = ask(
        lambda: kafka.describe_configuration_revision(
            Arn=software["ConfigurationArn"], Revision=software["ConfigurationRevision"]
        ),
        "kafka:DescribeConfigurationRevision",
        {"NotFoundException": {"ServerProperties": b""}},
    )
    lines = answer["ServerProperties"].decode().splitlines()
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}
