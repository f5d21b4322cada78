"""What the account must be like: facts of moto over HTTP, and each rule with its key and remedy."""

import json
import uuid
from dataclasses import replace

import boto3
import pytest
from botocore.stub import Stubber

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.errors import InfraError
from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.checks import check_account, covers, fact_faults
from clickstream_dagster.infra.endpoints import ALWAYS, ON_EC2
from clickstream_dagster.infra.facts import (
    Certificate,
    Facts,
    KafkaCluster,
    Subnet,
    announces,
    kafka_cluster,
    read_facts,
)
from clickstream_dagster.infra.plan import make_plan
from clickstream_dagster.infra.rules_ingestion import OIDC_KEYS
from clickstream_dagster.infra.stacks import Stacks
from tests.infra.written import (
    ACCOUNT,
    ATHENA,
    CERTIFICATE,
    CLUSTER,
    EMR,
    EVERYTHING,
    GROUP,
    HTTPS,
    INGESTION,
    NETWORK,
    PRIVATE,
    PUBLIC,
    QUICKSTART,
    REGION,
    REGISTRY,
    SECRET,
    VPC,
    changed,
    component,
    values,
)

ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
GOOD = Facts(
    account=ACCOUNT,
    subnets={
        **{one: Subnet(VPC, zone, "public") for one, zone in zip(PUBLIC, ZONES, strict=True)},
        **{one: Subnet(VPC, zone, "private") for one, zone in zip(PRIVATE, ZONES, strict=True)},
    },
    certificates={CERTIFICATE: Certificate("ISSUED", frozenset({"events.example.com"}))},
    buckets={},
    secrets={SECRET: frozenset(OIDC_KEYS)},
    groups={GROUP: VPC},
    kafka=KafkaCluster(
        vpc_ids=frozenset({VPC}),
        state="ACTIVE",
        brokers=3,
        unauthenticated=True,
        scram=False,
        iam=True,
        plaintext=True,
        tls=True,
        properties={"auto.create.topics.enable": "true", "default.replication.factor": "3"},
    ),
)


def subnets(**ways):
    """Give the good account with subnets otherwise: `a2=Subnet(...)`, None for one that is gone."""
    changes = {f"subnet-000000000000000{name}": way for name, way in ways.items()}
    return replace(GOOD, subnets={**GOOD.subnets, **changes})


def told(attributes, facts):
    return fact_faults(*values(attributes), facts)


@pytest.mark.parametrize("attributes", [QUICKSTART, EVERYTHING])
def test_a_good_account_is_taken(attributes):
    assert told(attributes, GOOD) == []


ISOLATED = {
    name: Subnet(VPC, zone, "isolated")
    for name, zone in zip(("a2", "b2", "c2"), ZONES, strict=True)
}
IN_ONE_ZONE = {name: Subnet(VPC, "us-east-1a", "private") for name in ("a2", "b2", "c2")}
IN_TWO_ZONES = {
    "c2": Subnet(VPC, "us-east-1b", "private"),
    "c1": Subnet(VPC, "us-east-1b", "public"),
}

RULES = [
    (QUICKSTART, replace(GOOD, vpc=False), f"infra.network.vpc_id {VPC} is not in {REGION}"),
    (EVERYTHING, replace(GOOD, account="999999999999"), "the credentials are of 999999999999"),
    (QUICKSTART, subnets(a1=None), "infra.network.public_subnets: subnet-000000000000000a1 is not"),
    (
        QUICKSTART,
        subnets(a2=Subnet("vpc-00000000", "us-east-1a", "private")),
        "infra.network.private_subnets: subnet-000000000000000a2 is in vpc-00000000: write a sub",
    ),
    (
        QUICKSTART,
        subnets(a1=Subnet(VPC, "us-east-1a", "private")),
        "infra.network.public_subnets: subnet-000000000000000a1 has no route to an internet gate",
    ),
    (
        QUICKSTART,
        subnets(a2=Subnet(VPC, "us-east-1a", "public")),
        "infra.network.private_subnets: subnet-000000000000000a2 has a route to an internet gat",
    ),
    (
        QUICKSTART,
        subnets(**IN_ONE_ZONE),
        "infra.network.private_subnets: all are in us-east-1a: write subnets of 2 availability",
    ),
    (
        QUICKSTART,
        subnets(c2=Subnet(VPC, "us-east-1d", "private")),
        "infra.network.public_subnets are in us-east-1a, us-east-1b, us-east-1c, private_subnet",
    ),
    (
        QUICKSTART,
        subnets(**IN_TWO_ZONES),
        "infra.redshift.subnets: they are in us-east-1a, us-east-1b: Redshift Serverless needs 3",
    ),
    (
        QUICKSTART,
        subnets(**IN_TWO_ZONES),
        "infra.network.private_subnets: some share one of us-east-1a, us-east-1b: write one subn",
    ),
    (EVERYTHING, replace(GOOD, groups={}), f"access_security_groups: {GROUP} is not there: write"),
    (
        EVERYTHING,
        replace(GOOD, certificates={CERTIFICATE: None}),
        "infra.ingestion.certificate_arn: the certificate is not there",
    ),
    (
        EVERYTHING,
        replace(
            GOOD,
            certificates={CERTIFICATE: Certificate("PENDING_VALIDATION", frozenset({"a.com"}))},
        ),
        "infra.ingestion.certificate_arn: the certificate is PENDING_VALIDATION: finish its vali",
    ),
    (
        EVERYTHING,
        replace(GOOD, certificates={CERTIFICATE: Certificate("ISSUED", frozenset({"a.com"}))}),
        "the certificate is for a.com, not for events.example.com: write one that is",
    ),
    (
        EVERYTHING,
        replace(GOOD, secrets={SECRET: frozenset(OIDC_KEYS[:5])}),
        "infra.ingestion.oidc_secret_arn: the secret has no appClientSecret: write it as JSON",
    ),
    (
        EVERYTHING,
        replace(GOOD, secrets={SECRET: None}),
        "infra.ingestion.oidc_secret_arn: the secret is not there: make it, or correct its ARN",
    ),
    (
        QUICKSTART,
        replace(GOOD, buckets={"shop-data": "eu-west-1"}),
        f"raw: the bucket shop-data is in eu-west-1: write one in s3.region, {REGION}",
    ),
    (
        {**EMR, "infra": {"processing": {}}},
        GOOD,
        "raw: the bucket shop-data is not there: make it, or have infra.storage do so",
    ),
    (
        {"arrivals": {"mode": "sqs"}, "infra": {"arrivals": {}}},
        replace(GOOD, buckets={"shop-data": REGION}),
        "infra.arrivals: the bucket shop-data sends no events: switch Amazon EventBridge on",
    ),
]


@pytest.mark.parametrize(("attributes", "facts", "message"), RULES)
def test_a_wrong_account_is_told_with_key_and_remedy(attributes, facts, message):
    assert message in "\n".join(told(attributes, facts))


def test_all_that_is_wrong_is_told_at_once():
    facts = replace(subnets(a1=None, **IN_ONE_ZONE), account="999999999999", groups={})
    found = "\n".join(told(EVERYTHING, facts))
    assert found.count("\n") >= 4
    for key in ("infra.account", "public_subnets", "private_subnets", "access_security_groups"):
        assert key in found


def test_isolated_subnets_need_an_endpoint_of_each_service():
    (ingestion, redshift) = told(QUICKSTART, subnets(**ISOLATED))
    assert ingestion.startswith("infra.network.private_subnets: subnet-000000000000000a2")
    for service in (*ALWAYS, "kinesis-streams"):
        assert service in ingestion
    assert "VPC endpoints of logs, s3: make them, write subnets with a NAT gateway" in redshift
    there = replace(subnets(**ISOLATED), endpoints=ALWAYS | {"kinesis-streams"})
    assert told(QUICKSTART, there) == []


def test_dagster_in_isolated_subnets_needs_those_of_what_it_calls():
    known = ALWAYS | ON_EC2 | {"kinesis-streams", "secretsmanager"}
    (missing,) = told(EVERYTHING, replace(subnets(**ISOLATED), endpoints=known))
    wanted = (
        "athena, cloudformation, ec2, emr-serverless, glue, redshift-data, sqs, ssmmessages, sts"
    )
    assert f"lacks VPC endpoints of {wanted}: make them" in missing


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ({}, None),
        ({"infra": {"orchestration": {"bastion": True}}}, "ssmmessages"),
        ({"warehouses": [ATHENA], "infra": {"athena": True}}, "athena, glue"),
    ],
)
def test_dagsters_ui_and_models_on_athena_need_endpoints_of_their_own(attributes, wanted):
    more = attributes.get("infra", {})
    image = {"image": f"{REGISTRY}/clickstream-dagster:1.0", **more.get("orchestration", {})}
    infra = {"network": NETWORK, "storage": {}, **more, "orchestration": image}
    known = ALWAYS | {"cloudformation", "ec2", "ecs", "secretsmanager", "sts"}
    found = told({**attributes, "infra": infra}, replace(subnets(**ISOLATED), endpoints=known))
    assert len(found) == (wanted is not None)
    assert all(f"lacks VPC endpoints of {wanted}: make them" in one for one in found)


def test_machines_of_ecs_need_more_than_fargate():
    known = replace(subnets(**ISOLATED), endpoints=ALWAYS | {"kinesis-streams"})
    (missing,) = told(changed(QUICKSTART, "infra.ingestion.server", "ec2"), known)
    assert "lacks VPC endpoints of ecs, ecs-agent, ecs-telemetry: make them" in missing


def test_routes_are_taken_at_ones_word_and_zones_are_not():
    sworn = changed(QUICKSTART, "infra.network.unchecked_routes", True)
    behind_firewalls = subnets(
        **{f"{zone}1": Subnet(VPC, f"us-east-1{zone}", "private") for zone in "abc"}, **ISOLATED
    )
    assert len(told(QUICKSTART, behind_firewalls)) == 5
    assert told(sworn, behind_firewalls) == []
    (fault, *_) = told(sworn, subnets(**IN_ONE_ZONE))
    assert "all are in us-east-1a" in fault


def test_one_isolated_subnet_is_enough_to_need_them():
    (first, *_) = told(QUICKSTART, subnets(b2=ISOLATED["b2"]))
    assert "subnet-000000000000000b2 is isolated" in first


@pytest.mark.parametrize(
    ("name", "domain", "is_covered"),
    [
        ("events.example.com", "events.example.com", True),
        ("*.example.com", "events.example.com", True),
        ("*.example.com", "a.events.example.com", False),
        ("*.example.com", "example.com", False),
        ("example.com", "events.example.com", False),
    ],
)
def test_a_wildcard_of_a_certificate_stands_for_one_name(name, domain, is_covered):
    assert covers(Certificate("ISSUED", frozenset({name})), domain) is is_covered


ON_MSK = {
    "collector": {"sink": {"type": "kafka", "brokers": ["b-1.internal:9092"]}},
    "infra": {
        "network": NETWORK,
        "storage": {},
        "ingestion": INGESTION,
        "kafka": {"security_group": GROUP, "cluster_arn": CLUSTER},
    },
}


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (
            {"vpc_ids": frozenset({"vpc-1"})},
            "the cluster is in vpc-1: write one in infra.network.v",
        ),
        ({"state": "CREATING"}, "the cluster is CREATING: wait until it is ACTIVE"),
        (
            {"unauthenticated": False},
            "security plaintext: the cluster does not take it: enable una",
        ),
        ({"plaintext": False}, "unauthenticated access and plaintext in its security settings, or"),
        ({"properties": {}}, "the cluster makes no topics: set auto.create.topics.enable=true"),
        (
            {"brokers": 2},
            "default.replication.factor is 3, the cluster has 2 brokers: write 2 or less",
        ),
    ],
)
def test_a_cluster_that_cannot_take_the_topic_is_told(cluster, message):
    assert told(ON_MSK, GOOD) == []
    (fault,) = told(ON_MSK, replace(GOOD, kafka=replace(GOOD.kafka, **cluster)))
    assert message in fault


def test_a_topic_of_ones_own_needs_no_cluster_that_makes_topics():
    named = changed(ON_MSK, "collector.sink.topic", "events")
    assert told(named, replace(GOOD, kafka=replace(GOOD.kafka, properties={}))) == []


def test_a_cluster_that_is_gone_is_told():
    (fault,) = told(ON_MSK, replace(GOOD, kafka=None))
    assert fault.startswith("infra.kafka.cluster_arn: the cluster is not there")


# From here on against moto's account, over HTTP.


class Account:
    """A VPC of moto's with a public, a private and an isolated subnet."""

    def __init__(self) -> None:
        ec2 = self.ec2 = boto3.client("ec2", region_name=REGION)
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        self.subnets = {
            (way, zone): ec2.create_subnet(
                VpcId=self.vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=zone
            )["Subnet"]["SubnetId"]
            for number, (way, zone) in enumerate(
                (way, zone) for way in ("public", "private", "isolated") for zone in ZONES[:2]
            )
        }
        address = ec2.allocate_address(Domain="vpc")["AllocationId"]
        nat = ec2.create_nat_gateway(
            SubnetId=self.subnets["public", ZONES[0]], AllocationId=address
        )["NatGateway"]["NatGatewayId"]
        self._route("public", GatewayId=gateway)
        self._route("private", NatGatewayId=nat)

    def _route(self, way: str, **target: str) -> None:
        table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **target)
        for (of, _), subnet in self.subnets.items():
            if of == way:
                self.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)

    def of(self, way: str) -> list[str]:
        return [subnet for (of, _), subnet in self.subnets.items() if of == way]


@pytest.fixture(scope="module")
def account(aws) -> Account:
    return Account()


def project_in(account, bucket, way="private"):
    return {
        "raw": f"s3://{bucket}/raw",
        "lake": f"s3://{bucket}/lake",
        "infra": {
            "network": {
                "vpc_id": account.vpc,
                "public_subnets": account.of("public"),
                "private_subnets": account.of(way),
            },
            "ingestion": INGESTION,
        },
    }


@pytest.fixture
def bucket(aws):
    name = f"shop-{uuid.uuid4().hex[:12]}"
    boto3.client("s3", region_name=REGION).create_bucket(Bucket=name)
    return name


def facts_of(attributes) -> Facts:
    return read_facts(*values(attributes), S3Access(REGION))


def test_ways_and_zones_of_subnets_are_read(account, bucket):
    for way in ("private", "isolated"):
        found = facts_of(project_in(account, bucket, way))
        assert [found.subnets[one].way for one in account.of("public")] == ["public"] * 2
        assert [found.subnets[one].way for one in account.of(way)] == [way] * 2
        assert {one.zone for one in found.subnets.values()} == set(ZONES[:2])
    assert (found.account, found.vpc) == (ACCOUNT, True)
    assert found.buckets == {bucket: REGION}


def test_a_good_account_of_aws_is_taken(account, bucket):
    check_account(*values(project_in(account, bucket)), S3Access(REGION))


def test_endpoints_make_isolated_subnets_do(account, bucket):
    written = values(project_in(account, bucket, "isolated"))
    with pytest.raises(InfraError, match=r"lacks VPC endpoints of .*ecr\.api"):
        check_account(*written, S3Access(REGION))
    for service in sorted(ALWAYS):
        account.ec2.create_vpc_endpoint(
            VpcId=account.vpc,
            ServiceName=f"com.amazonaws.{REGION}.{service}",
            VpcEndpointType="Gateway" if service == "s3" else "Interface",
        )
    check_account(*written, S3Access(REGION))


def test_what_is_not_there_is_told_and_nothing_is_made(account, aws):
    written = project_in(account, f"shop-{uuid.uuid4().hex[:12]}")
    written["infra"]["network"]["private_subnets"] = PRIVATE
    with pytest.raises(InfraError) as told:
        check_account(*values(written), S3Access(REGION))
    assert f"infra.network.private_subnets: {PRIVATE[0]} is not in {REGION}" in str(told.value)
    assert "is not there: make it, or have infra.storage do so" in str(told.value)


@pytest.mark.parametrize("act", [make_plan, apply])
def test_plan_and_apply_look_before_they_ask_for_a_change(account, bucket, act):
    written = changed(project_in(account, bucket), "infra.network.vpc_id", "vpc-00000000")
    infra = component(written, project_id=f"p{uuid.uuid4().hex[:8]}").infrastructure()
    with pytest.raises(InfraError, match=r"infra\.network\.vpc_id"):
        act(infra)
    assert Stacks(infra.access).of_project(infra.project_id) == {}
    assert boto3.client("s3", region_name=REGION).list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_another_region_than_the_projects_is_refused_before_a_call():
    written = values(changed(QUICKSTART, "s3.region", "us-east-1"))
    with pytest.raises(InfraError, match=r"--region eu-west-1: the project is in s3\.region, us-"):
        check_account(*written, S3Access("eu-west-1"))


def test_a_vpc_that_is_not_there_is_told(account, bucket):
    written = changed(project_in(account, bucket), "infra.network.vpc_id", "vpc-00000000")
    with pytest.raises(InfraError, match=r"infra\.network\.vpc_id vpc-00000000 is not in"):
        check_account(*values(written), S3Access(REGION))


def test_certificate_secret_and_security_group_are_read(account, bucket):
    acm = boto3.client("acm", region_name=REGION)
    arn = acm.request_certificate(
        DomainName="example.com", SubjectAlternativeNames=["*.example.com"]
    )["CertificateArn"]
    secrets = boto3.client("secretsmanager", region_name=REGION)
    secret = secrets.create_secret(
        Name=uuid.uuid4().hex,
        SecretString=json.dumps(dict.fromkeys(OIDC_KEYS[1:], "hidden")),
    )["ARN"]
    written = project_in(account, bucket)
    written["infra"]["ingestion"] = {**HTTPS, "certificate_arn": arn, "oidc_secret_arn": secret}
    found = facts_of(written)
    assert found.certificates[arn].names == {"example.com", "*.example.com"}
    assert found.secrets[secret] == set(OIDC_KEYS[1:])
    assert "hidden" not in repr(found)
    group = account.ec2.create_security_group(
        GroupName=uuid.uuid4().hex, Description="UI", VpcId=account.vpc
    )["GroupId"]
    image = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/clickstream-dagster:1.0"
    written["infra"]["orchestration"] = {"image": image, "access_security_groups": [group]}
    assert facts_of(written).groups == {group: account.vpc}


@pytest.mark.parametrize(
    ("answer", "is_announced"), [({"EventBridgeConfiguration": {}}, True), ({}, False)]
)
def test_a_bucket_tells_whether_it_announces(aws, answer, is_announced):
    # moto does not tell of EventBridge: the answers are those that AWS documents.
    s3 = boto3.client("s3", region_name=REGION)
    with Stubber(s3) as stub:
        stub.add_response("get_bucket_notification_configuration", answer, {"Bucket": "shop"})
        assert announces(s3, "shop") is is_announced


def test_a_cluster_of_msk_is_read(account):
    # moto has no configurations of clusters: the answers are those that AWS documents.
    kafka = boto3.client("kafka", region_name=REGION)
    configuration = f"arn:aws:kafka:{REGION}:{ACCOUNT}:configuration/shop/1a2b"
    cluster = {
        "ClusterArn": CLUSTER,
        "State": "ACTIVE",
        "Provisioned": {
            "BrokerNodeGroupInfo": {
                "InstanceType": "kafka.m5.large",
                "ClientSubnets": account.of("private"),
            },
            "NumberOfBrokerNodes": 2,
            "ClientAuthentication": {
                "Sasl": {"Iam": {"Enabled": True}, "Scram": {"Enabled": False}},
                "Unauthenticated": {"Enabled": False},
            },
            "EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "TLS"}},
            "CurrentBrokerSoftwareInfo": {
                "ConfigurationArn": configuration,
                "ConfigurationRevision": 3,
            },
        },
    }
    properties = b"# ours\nauto.create.topics.enable = true\ndefault.replication.factor=3\n"
    with Stubber(kafka) as stub:
        stub.add_response("describe_cluster_v2", {"ClusterInfo": cluster}, {"ClusterArn": CLUSTER})
        stub.add_response(
            "describe_configuration_revision",
            {"ServerProperties": properties},
            {"Arn": configuration, "Revision": 3},
        )
        found = kafka_cluster(kafka, account.ec2, CLUSTER)
    assert found == KafkaCluster(
        vpc_ids=frozenset({account.vpc}),
        state="ACTIVE",
        brokers=2,
        unauthenticated=False,
        scram=False,
        iam=True,
        plaintext=False,
        tls=True,
        properties={"auto.create.topics.enable": "true", "default.replication.factor": "3"},
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDeniedException", "AWS may not be asked: allow kafka:DescribeClusterV2"),
        ("UnrecognizedClientException", "enable it in the account's settings if it is an opt-in"),
        ("TooManyRequestsException", "AWS refused kafka:DescribeClusterV2"),
    ],
)
def test_what_may_not_be_asked_is_told_with_the_right(aws, code, message):
    kafka = boto3.client("kafka", region_name=REGION)
    with Stubber(kafka) as stub:
        stub.add_client_error("describe_cluster_v2", code)
        with pytest.raises(InfraError, match=message):
            kafka_cluster(kafka, None, CLUSTER)


def test_a_cluster_that_is_not_there_is_none(aws):
    kafka = boto3.client("kafka", region_name=REGION)
    with Stubber(kafka) as stub:
        stub.add_client_error("describe_cluster_v2", "NotFoundException")
        assert kafka_cluster(kafka, None, CLUSTER) is None
