"""The template of the endpoint and its collectors: what each choice makes, and the apps' rules."""

import json
from typing import Any

import boto3
import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from clickstream_dagster.collector.connections import HEAD_SECONDS
from clickstream_dagster.infra.module import Part
from clickstream_dagster.infra.template import Template, write
from tests.infra.templates.deployed import Network, deployed, known_part, made, network, template_of

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0b6fb8a1-6c53-4c5b-9d6c-8d1a4a4c7c55"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:clickstream/oidc-Ab12Cd"
CLUSTER = "arn:aws:kafka:us-east-1:123456789012:cluster/events/7d0f3d39-3"
HTTPS = {"DomainName": "events.example.com", "CertificateArn": CERTIFICATE}
S3 = {"SinkType": "s3", "RawBucket": "shop-raw", "RawPrefix": "clickstream/shop/"}


def rule(app: str, name: str, priority: int) -> Part:
    return Part("listener_rule.yaml", name, {"app_id": app, "priority": priority})


RULES = (rule("shop_web", "A", 1000), rule("shop_ios", "B", 2000))


def parameters_of(there: Network | None = None, **told: str) -> dict[str, str]:
    subnets = there or Network("vpc-1", ("subnet-1", "subnet-2"), ("subnet-3", "subnet-4"))
    return {
        "ProjectId": "shop",
        "VpcId": subnets.vpc,
        "PublicSubnetIds": ",".join(subnets.public),
        "PrivateSubnetIds": ",".join(subnets.private),
        "Image": "registry.example.com/clickstream-collector:1",
        "AcknowledgeHttp": "true",
        "KafkaSecretArn": "",
        # moto takes a default of a list for one text.
        "TrustedProxies": "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16",
        **S3,
        **told,
    }


def chosen(**told: str) -> dict[str, Template]:
    return made(template_of("ingestion", *RULES), parameters_of(**told))


def properties(resources: dict[str, Template], name: str) -> dict[str, Any]:
    return resources[name]["Properties"]


def actions_of(resource: Template) -> list[str]:
    """Give an app's sinks of rights: the actions of all policies of a role."""
    statements = resource["Properties"]["PolicyDocument"]["Statement"]
    return [
        action
        for one in statements
        for action in (one["Action"] if isinstance(one["Action"], list) else [one["Action"]])
    ]


@pytest.fixture(scope="module")
def vpc(aws: str) -> Network:
    return network()


def listener_rules(listener: str) -> dict[str, dict]:
    """Give the rules of a listener by priority: path, appId, and what becomes of a request."""
    found = boto3.client("elbv2").describe_rules(ListenerArn=listener)["Rules"]
    return {
        one["Priority"]: {
            "path": [
                value
                for condition in one["Conditions"]
                if condition["Field"] == "path-pattern"
                for value in condition["PathPatternConfig"]["Values"]
            ],
            "appId": [
                value["Value"]
                for condition in one["Conditions"]
                if condition["Field"] == "query-string"
                for value in condition["QueryStringConfig"]["Values"]
            ],
            "actions": [action["Type"] for action in one["Actions"]],
        }
        for one in found
    }


def test_has_a_rule_for_each_app_and_adding_one_changes_nothing_else(vpc: Network) -> None:
    parameters = parameters_of(vpc)
    two = known_part(template_of("ingestion", *RULES), parameters)
    three = known_part(template_of("ingestion", *RULES, rule("shop_tv", "C", 1500)), parameters)
    with deployed(two, parameters) as stack:
        before = stack.physical()
        assert listener_rules(before["Listener"]) == {
            "1": {"path": ["/health", "/ping"], "appId": [], "actions": ["forward"]},
            "1000": {"path": ["/collect"], "appId": ["shop_web"], "actions": ["forward"]},
            "2000": {"path": ["/collect"], "appId": ["shop_ios"], "actions": ["forward"]},
            "default": {"path": [], "appId": [], "actions": ["fixed-response"]},
        }
        (listener,) = boto3.client("elbv2").describe_listeners(ListenerArns=[before["Listener"]])[
            "Listeners"
        ]
        assert (listener["Port"], listener["Protocol"]) == (80, "HTTP")
        (default,) = listener["DefaultActions"]
        assert default["FixedResponseConfig"]["StatusCode"] == "403"

        stack.update(three, parameters)
        after = stack.physical()
        assert set(after) - set(before) == {"ListenerRuleC"}
        assert {name: after[name] for name in before} == before
        assert listener_rules(after["Listener"])["1500"]["appId"] == ["shop_tv"]

        stack.update(two, parameters)
        assert stack.physical() == before
        assert stack.outputs()["Endpoint"].endswith("/collect")


def test_collectors_and_spool_are_in_each_zone_of_the_private_subnets(vpc: Network) -> None:
    parameters = parameters_of(vpc)
    with deployed(known_part(template_of("ingestion"), parameters), parameters) as stack:
        physical = stack.physical()
        efs, ecs = boto3.client("efs"), boto3.client("ecs")
        targets = efs.describe_mount_targets(FileSystemId=physical["Spool"])["MountTargets"]
        assert {one["SubnetId"] for one in targets} == set(vpc.private)
        (system,) = efs.describe_file_systems(FileSystemId=physical["Spool"])["FileSystems"]
        assert system["Encrypted"]
        (access,) = efs.describe_access_points(FileSystemId=physical["Spool"])["AccessPoints"]
        assert access["RootDirectory"]["CreationInfo"]["Permissions"] == "0700"

        task = ecs.describe_task_definition(taskDefinition=physical["Task"])["taskDefinition"]
        (container,) = task["containerDefinitions"]
        assert container["readonlyRootFilesystem"]
        assert container["user"] == "65532:65532"
        assert container["stopTimeout"] == 120


def test_https_has_the_certificate_and_http_has_to_be_acknowledged() -> None:
    with_certificate, without = chosen(**HTTPS), chosen()
    told = properties(with_certificate, "Listener")
    assert (told["Port"], told["Protocol"]) == (443, "HTTPS")
    assert told["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    assert told["Certificates"] == [{"CertificateArn": CERTIFICATE}]
    assert properties(without, "Listener")["Protocol"] == "HTTP"
    (ingress,) = properties(with_certificate, "LoadBalancerSecurityGroup")["SecurityGroupIngress"]
    assert (ingress["FromPort"], ingress["ToPort"]) == (443, 443)
    rules = template_of("ingestion")["Rules"]
    assert rules["HttpIsAcknowledged"]["Assertions"][0]["Assert"] == {
        "Fn::Equals": [{"Ref": "AcknowledgeHttp"}, "true"]
    }


def test_signs_in_by_oidc_with_a_secret_that_the_template_only_names() -> None:
    resources = chosen(**HTTPS, OidcSecretArn=SECRET)
    authenticate, forward = properties(resources, "ListenerRuleA")["Actions"]
    assert (authenticate["Type"], forward["Type"]) == ("authenticate-oidc", "forward")
    told = template_of("ingestion", *RULES)["Resources"]["ListenerRuleA"]["Properties"]["Actions"]
    config = told["Fn::If"][1][0]["AuthenticateOidcConfig"]
    assert config["OnUnauthenticatedRequest"] == "deny"
    assert config["ClientSecret"] == {
        "Fn::Sub": "{{resolve:secretsmanager:${OidcSecretArn}:SecretString:appClientSecret}}"
    }
    assert properties(resources, "PreflightRule")["Actions"][0]["Type"] == "forward"
    assert "SignInRule" in resources
    assert not {"PreflightRule", "SignInRule", "LoadBalancerToProvider"} & set(chosen())


@pytest.mark.parametrize(
    ("told", "has", "lacks"),
    [
        (
            {"LaunchType": "FARGATE"},
            set(),
            {"Machine", "Machines", "MachineCapacity", "WarmMachines"},
        ),
        ({"LaunchType": "EC2"}, {"Machine", "Machines", "MachineCapacity"}, {"WarmMachines"}),
        ({"LaunchType": "EC2", "WarmPool": "1"}, {"Machines", "WarmMachines"}, set()),
        ({"AnyApp": "true"}, {"AnyAppRule"}, set()),
        ({"AnyApp": "false"}, set(), {"AnyAppRule"}),
    ],
)
def test_makes_only_what_is_asked_for(told: dict[str, str], has: set[str], lacks: set[str]) -> None:
    resources = set(chosen(**told))
    assert has <= resources
    assert not lacks & resources


def test_an_accelerator_is_a_part_since_china_does_not_know_its_types() -> None:
    plain = template_of("ingestion")
    assert "AWS::GlobalAccelerator" not in write(plain)
    with_it = template_of("ingestion", Part("accelerator.yaml", "Global"))
    assert set(with_it["Resources"]) - set(plain["Resources"]) == {
        "AcceleratorGlobal",
        "AcceleratorListenerGlobal",
        "AcceleratorEndpointsGlobal",
    }
    assert with_it["Outputs"]["AcceleratorDnsName"]["Value"] == {
        "Fn::GetAtt": ["AcceleratorGlobal", "DnsName"]
    }
    settings: ManualArgs = {"regions": ["us-east-1"]}
    assert lint(write(with_it), regions=["us-east-1"], config=settings) == []


def test_machines_ask_for_tokens_of_their_metadata_and_wait_in_the_warm_pool() -> None:
    resources = chosen(LaunchType="EC2", WarmPool="2", CpuArchitecture="ARM64")
    machine = properties(resources, "Machine")["LaunchTemplateData"]
    assert machine["MetadataOptions"]["HttpTokens"] == "required"
    assert "/arm64/" in machine["ImageId"]
    assert properties(resources, "WarmMachines")["MinSize"] == "2"
    assert properties(resources, "Task")["RequiresCompatibilities"] == ["EC2"]


@pytest.mark.parametrize(
    ("told", "policy", "actions"),
    [
        (S3, "PutToS3", ["s3:PutObject", "s3:AbortMultipartUpload"]),
        ({"SinkType": "kinesis", "StreamName": "shop"}, "PutToKinesis", ["kinesis:PutRecords"]),
        (
            {"SinkType": "kafka", "KafkaSecurity": "iam", "KafkaClusterArn": CLUSTER},
            "WriteToKafka",
            [
                "kafka-cluster:Connect",
                "kafka-cluster:WriteDataIdempotently",
                "kafka-cluster:DescribeTopic",
                "kafka-cluster:WriteData",
                "kafka-cluster:CreateTopic",
            ],
        ),
        ({"SinkType": "kafka", "KafkaSecurity": "tls"}, None, []),
    ],
)
def test_collectors_may_write_to_their_sink_and_to_no_other(
    told: dict[str, str], policy: str | None, actions: list[str]
) -> None:
    resources = chosen(**told)
    found = {"PutToS3", "PutToKinesis", "WriteToKafka"} & set(resources)
    assert found == ({policy} if policy else set())
    if policy:
        assert actions_of(resources[policy]) == actions


def test_collectors_have_rights_and_ways_until_the_last_of_them_has_stopped() -> None:
    """CloudFormation deletes last what others refer to; the service refers to its task."""
    resources = template_of("ingestion")["Resources"]
    task = json.dumps(resources["Task"])
    needed = {
        name
        for name, one in resources.items()
        if one["Type"] == "AWS::IAM::Policy" or name in ("TaskToBrokers", "BrokersFromTask")
    }
    assert len(needed) == 6
    for name in needed:
        assert json.dumps({"Ref": name}) in task or f"${{{name}}}" in task, name


def test_the_balancer_gives_up_silent_connections_before_the_collector_does() -> None:
    first = properties(chosen(), "LoadBalancer")["LoadBalancerAttributes"][0]
    assert first["Key"] == "idle_timeout.timeout_seconds"
    assert int(first["Value"]) < HEAD_SECONDS


def test_an_internal_endpoint_is_in_the_private_subnets() -> None:
    resources = chosen(LoadBalancerScheme="internal", IngressCidr="10.0.0.0/8", PublicSubnetIds="")
    balancer = properties(resources, "LoadBalancer")
    assert (balancer["Scheme"], balancer["Subnets"]) == ("internal", ["subnet-3", "subnet-4"])
    (ingress,) = properties(resources, "LoadBalancerSecurityGroup")["SecurityGroupIngress"]
    assert ingress["CidrIp"] == "10.0.0.0/8"


def test_nobody_but_the_load_balancer_reaches_collectors_and_nobody_but_they_the_spool() -> None:
    resources = chosen()
    assert {"TaskSecurityGroup", "SpoolSecurityGroup"} <= set(resources)
    written = template_of("ingestion")["Resources"]
    (spool,) = written["SpoolSecurityGroup"]["Properties"]["SecurityGroupIngress"]
    assert "SecurityGroupIngress" not in written["TaskSecurityGroup"]["Properties"]
    for ingress, port, source in (
        (written["TaskFromLoadBalancer"]["Properties"], 8088, "LoadBalancerSecurityGroup"),
        (spool, 2049, "TaskSecurityGroup"),
    ):
        assert (ingress["FromPort"], ingress["ToPort"]) == (port, port)
        assert ingress["SourceSecurityGroupId"] == {"Fn::GetAtt": [source, "GroupId"]}


def test_a_failed_deployment_is_rolled_back_and_the_fleet_follows_the_cpu() -> None:
    resources = chosen(MinTasks="2", MaxTasks="6", CpuPercent="60")
    task = properties(resources, "Task")
    assert (task["Cpu"], task["Memory"], task["NetworkMode"]) == (256, 512, "awsvpc")
    assert task["RequiresCompatibilities"] == ["FARGATE"]
    (volume,) = task["Volumes"]
    assert volume["EFSVolumeConfiguration"]["TransitEncryption"] == "ENABLED"
    assert volume["EFSVolumeConfiguration"]["AuthorizationConfig"]["IAM"] == "ENABLED"
    deployment = properties(resources, "Service")["DeploymentConfiguration"]
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    count = properties(resources, "Count")
    assert (count["MinCapacity"], count["MaxCapacity"]) == ("2", "6")
    tracking = properties(resources, "CountByCpu")["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == "60"
    assert tracking["ScaleInCooldown"] == 2700
