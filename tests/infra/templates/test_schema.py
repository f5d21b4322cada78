"""The templates for data out, made and changed and deleted on an endpoint that speaks as AWS does."""

import itertools
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.destroy import destroy
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.intrinsics import Values
from clickstream_dagster.infra.module import Module, Part
from clickstream_dagster.infra.outputs import outputs_of
from clickstream_dagster.infra.stacks import Stacks
from tests.infra.templates.written import written


@dataclass(frozen=True)
class One:
    """A project of one module on the endpoint."""

    module: Module
    project_id: str

    def infrastructure(self) -> Infrastructure:
        return Infrastructure(self.project_id, (self.module,), S3Access())

    def apply(self) -> str:
        (done,) = apply(self.infrastructure())
        return done.outcome

    def changed(self, **parameters: str) -> "One":
        """Give it with other parameters."""
        known = {**self.module.parameters, **parameters}
        return replace(self, module=replace(self.module, parameters=known))

    def outputs(self) -> dict[str, str]:
        return dict(outputs_of(self.project_id, self.module.name, S3Access()))

    def physical_ids(self) -> dict[str, str]:
        """Give the names that resources have, by their names in the template."""
        stack = self.infrastructure().stack_name(self.module.name)
        found = Stacks(S3Access()).resources(stack)
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}

    def properties(self, name: str) -> dict[str, Any]:
        """Give a resource's properties with all that the parameters tell."""
        values = Values(written(self.module.template), self.module.parameters)
        return values.resolve(values.resources()[name]["Properties"])


@pytest.fixture
def network(aws: str) -> dict[str, str]:
    """A VPC with three private subnets."""
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"us-east-1{zone}"
        )["Subnet"]["SubnetId"]
        for number, zone in enumerate("abc")
    ]
    return {"VpcId": vpc, "PrivateSubnetIds": ",".join(subnets)}


@pytest.fixture
def make(cloudformation: Any) -> Callable[..., One]:
    """Give a project of one module, which is not there yet."""

    def one(name: str, *parts: Part, **parameters: str) -> One:
        project = f"p{uuid.uuid4().hex[:8]}"
        known = {"ProjectId": project, **parameters}
        return One(Module(name, f"{name}.yaml", known, parts), project)

    return one


LAKE = {"LakeBucket": "lake", "LakePrefix": "lake/"}
RAW = {"RawBucket": "raw", "RawPrefix": "raw/"}
ARTIFACTS = {"ArtifactsBucket": "lake", "ArtifactsPrefix": "emr/"}
MODELS = {"ModelsBucket": "lake", "ModelsPrefix": "models/", "ResultsBucket": "results"}
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234"


def allowed(policy_arn: str) -> dict[str, Any]:
    """Give the statements of a policy by their Sid."""
    iam = boto3.client("iam")
    version = iam.get_policy(PolicyArn=policy_arn)["Policy"]["DefaultVersionId"]
    found = iam.get_policy_version(PolicyArn=policy_arn, VersionId=version)["PolicyVersion"]
    return {one["Sid"]: one for one in found["Document"]["Statement"] if "Sid" in one}


def places(statement: dict[str, Any]) -> list[str]:
    found = statement["Resource"]
    return found if isinstance(found, list) else [found]


def test_processing_gives_dagster_what_the_job_needs_and_no_more(
    make: Callable[..., One], network: dict[str, str]
) -> None:
    one = make("processing", **RAW, **LAKE, **ARTIFACTS, **network, KmsKeyArn=KEY)
    assert one.apply() == "created"
    outputs = one.outputs()
    role = outputs["ExecutionRoleArn"].rpartition("/")[2]
    iam = boto3.client("iam")
    attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in attached] == [outputs["LakePolicyArn"]]
    lake = allowed(outputs["LakePolicyArn"])
    assert places(lake["ReadRaw"]) == ["arn:aws:s3:::raw/raw/*"]
    assert places(lake["WriteLake"]) == [
        f"arn:aws:s3:::lake/lake/{folder}/*"
        for folder in (
            one.project_id, f"_ledger/{one.project_id}", f"_staging/{one.project_id}"
        )
    ]  # fmt: skip
    assert lake["UseKey"]["Resource"] == KEY
    starts = allowed(outputs["DagsterPolicyArn"])
    assert places(starts["GiveTheirRole"]) == [outputs["ExecutionRoleArn"]]
    group = boto3.client("ec2").describe_security_groups(
        GroupIds=[one.physical_ids()["WorkersSecurityGroup"]]
    )["SecurityGroups"][0]
    assert group["IpPermissions"] == []
    assert {rule["FromPort"] for rule in group["IpPermissionsEgress"]} == {443}


def test_processing_without_an_application_keeps_the_lakes_rights(make: Callable[..., One]) -> None:
    one = make("processing", **RAW, **LAKE, Application="none")
    assert one.apply() == "created"
    assert one.outputs().keys() == {"LakePolicyArn", "DatabaseName"}
    assert "UseKey" not in allowed(one.outputs()["LakePolicyArn"])


def test_a_change_of_processing_keeps_its_role(make: Callable[..., One]) -> None:
    one = make("processing", **RAW, **LAKE, **ARTIFACTS)
    one.apply()
    before = one.outputs()
    later = one.changed(MaximumCpu="200", RawPrefix="other/")
    assert later.apply() == "updated"
    assert later.outputs()["ExecutionRoleArn"] == before["ExecutionRoleArn"]
    assert places(allowed(later.outputs()["LakePolicyArn"])["ReadRaw"]) == ["arn:aws:s3:::raw/other/*"]
    destroy(later.infrastructure(), delete_data=False)
    assert Stacks(S3Access()).find(later.infrastructure().stack_name("processing")) is None


def test_the_application_has_its_limits_and_stops(make: Callable[..., One]) -> None:
    one = make("processing", **RAW, **LAKE, **ARTIFACTS, MaximumCpu="64", IdleTimeoutMinutes="7")
    application = one.properties("SparkApplication")
    assert application["MaximumCapacity"] == {"Cpu": "64 vCPU", "Memory": "400 GB", "Disk": "1000 GB"}
    assert application["AutoStopConfiguration"] == {"Enabled": True, "IdleTimeoutMinutes": "7"}
    assert "NetworkConfiguration" not in application


def redshift(make: Callable[..., One], **parameters: str) -> One:
    manifests = {"ManifestsBucket": "lake", "ManifestsPrefix": "redshift/"}
    return make("redshift", **LAKE, **manifests, DatabaseName="shop", **parameters)


def test_a_new_warehouse_lets_in_who_has_its_group(
    make: Callable[..., One], network: dict[str, str]
) -> None:
    one = redshift(make, **network, WorkgroupName="shop", NamespaceName="shop", KmsKeyArn=KEY)
    assert one.apply() == "created"
    outputs = one.outputs()
    ids = one.physical_ids()
    ec2 = boto3.client("ec2")
    (warehouse,) = ec2.describe_security_groups(GroupIds=[ids["WarehouseSecurityGroup"]])[
        "SecurityGroups"
    ]
    (rule,) = warehouse["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"]) == (5439, 5439)
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [outputs["ClientSecurityGroupId"]]
    assert allowed(outputs["DagsterPolicyArn"]).keys() == {
        "RunStatements", "WatchOwnStatements", "ReadSecret", "WriteManifests", "UseKey"
    }  # fmt: skip
    role = boto3.client("iam").get_role(RoleName=outputs["CopyRoleArn"].rpartition("/")[2])["Role"]
    condition = role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]
    assert condition == {
        "StringLike": {"sts:ExternalId": "arn:aws:redshift:us-east-1:123456789012:dbuser:shop/*"}
    }


@pytest.mark.parametrize(
    ("parameters", "sign_in"),
    [
        (
            {
                "Warehouse": "existing-workgroup",
                "WorkgroupName": "team",
                "ExistingWorkgroupArn": "arn:aws:redshift-serverless:us-east-1:1:workgroup/x",
            },
            "SignInToWorkgroup",
        ),
        (
            {"Warehouse": "existing-cluster", "ClusterIdentifier": "team", "DatabaseUser": "etl"},
            "SignInToClusterAsUser",
        ),
        ({"Warehouse": "existing-cluster", "ClusterIdentifier": "team"}, "SignInToClusterAsRole"),
        (
            {
                "Warehouse": "existing-cluster",
                "ClusterIdentifier": "team",
                "SecretArn": "arn:aws:secretsmanager:us-east-1:1:secret:etl",
            },
            "ReadSecret",
        ),
    ],
)
def test_a_warehouse_that_is_there_gets_rights_only(
    make: Callable[..., One], parameters: dict[str, str], sign_in: str
) -> None:
    one = redshift(make, **parameters)
    assert one.apply() == "created"
    assert one.physical_ids().keys() == {"CopyRole", "DagsterPolicy"}
    ways = {"SignInToWorkgroup", "SignInToClusterAsUser", "SignInToClusterAsRole", "ReadSecret"}
    assert allowed(one.outputs()["DagsterPolicyArn"]).keys() & ways == {sign_in}


def test_athena_lets_analysts_write_results_only(make: Callable[..., One]) -> None:
    one = make("athena", **LAKE, **MODELS, ResultsPrefix="results/", WorkGroupName="shop")
    assert one.apply() == "created"
    group = one.properties("WorkGroup")["WorkGroupConfiguration"]
    assert group["EnforceWorkGroupConfiguration"] is True
    assert group["ResultConfiguration"]["OutputLocation"] == "s3://results/results/"
    analysts = allowed(one.outputs()["AnalystPolicyArn"])
    writing = [
        (sid, place)
        for sid, one in analysts.items()
        for place in places(one)
        if {"s3:PutObject", "s3:DeleteObject"} & set(listed(one["Action"]))
    ]
    assert writing == [("WriteResults", "arn:aws:s3:::results/results/*")]
    assert not any("glue:Create" in action for one in analysts.values() for action in one["Action"])


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def orchestration(make: Callable[..., One], network: dict[str, str], *parts: Part, **more: str) -> One:
    return make("orchestration", *parts, **network, Image="clickstream", LogsBucket="logs", **more)


def test_dagster_is_reached_by_nobody_but_the_bastion(
    make: Callable[..., One], network: dict[str, str]
) -> None:
    one = orchestration(make, network)
    assert one.apply() == "created"
    ids = one.physical_ids()
    groups = {
        name: boto3.client("ec2").describe_security_groups(GroupIds=[ids[name]])["SecurityGroups"][0]
        for name in ids
        if name.endswith("SecurityGroup")
    }
    let_in = {
        (name, rule["FromPort"], pair["GroupId"])
        for name, group in groups.items()
        for rule in group["IpPermissions"]
        for pair in rule["UserIdGroupPairs"]
    }
    assert let_in == {
        ("WebserverSecurityGroup", 3000, ids["BastionSecurityGroup"]),
        ("TasksSecurityGroup", 4000, ids["TasksSecurityGroup"]),
        ("DatabaseSecurityGroup", 5432, ids["TasksSecurityGroup"]),
    }
    assert not any(rule["IpRanges"] for group in groups.values() for rule in group["IpPermissions"])
    assert one.outputs()["UiHost"] == f"webserver.{one.project_id}.clickstream.internal"
    assert "portNumber=3000" in one.outputs()["UiTunnel"]


def test_a_group_of_the_team_is_let_in_to_the_ui(
    make: Callable[..., One], network: dict[str, str]
) -> None:
    ec2 = boto3.client("ec2")
    vpn = ec2.create_security_group(GroupName="vpn", Description="vpn", VpcId=network["VpcId"])
    part = Part("webserver_access.yaml", "Vpn", {"security_group": vpn["GroupId"]})
    one = orchestration(make, network, part)
    assert one.apply() == "created"
    (group,) = ec2.describe_security_groups(GroupIds=[one.physical_ids()["WebserverSecurityGroup"]])[
        "SecurityGroups"
    ]
    pairs = {pair["GroupId"] for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]}
    assert vpn["GroupId"] in pairs


def test_only_code_and_runs_get_the_rights_on_data(
    make: Callable[..., One], network: dict[str, str]
) -> None:
    iam = boto3.client("iam")
    document = {"Version": "2012-10-17", "Statement": []}
    lake = iam.create_policy(
        PolicyName=f"lake-{uuid.uuid4().hex}", PolicyDocument=json.dumps(document)
    )["Policy"]["Arn"]
    one = orchestration(make, network, LakePolicyArn=lake)
    one.apply()
    ids = one.physical_ids()
    having = {
        name
        for name in ids
        if name.endswith("Role")
        and iam.list_attached_role_policies(RoleName=ids[name])["AttachedPolicies"]
    }
    assert having == {"PipelineRole"}
    ecs = boto3.client("ecs")
    tasks = {
        name: ecs.describe_task_definition(taskDefinition=ids[name])["taskDefinition"]
        for name in ids
        if name.endswith("Task")
    }
    roles = {name: task["taskRoleArn"].rpartition("/")[2] for name, task in tasks.items()}
    assert {name for name, role in roles.items() if role == ids["PipelineRole"]} == {
        "CodeTask", "RunTask"
    }  # fmt: skip


def observability(make: Callable[..., One], *parts: Part, **parameters: str) -> One:
    return make("observability", *parts, **parameters)


EVERYTHING = {
    "LoadBalancerFullName": "app/shop/1",
    "TargetGroupFullName": "targetgroup/shop/1",
    "CollectorClusterName": "shop",
    "CollectorServiceName": "collector",
    "CollectorMetricNamespace": "Clickstream/shop",
    "StreamName": "shop",
    "SinkFunctionName": "shop-sink",
    "DeliveryStreamName": "shop",
    "DistributionId": "E123",
    "QueueName": "arrivals",
    "FailedQueueName": "failed",
    "ApplicationId": "00f1",
    "ApplicationName": "clickstream-shop",
    "WorkgroupName": "shop",
    "AthenaWorkGroupName": "shop",
    "DagsterClusterName": "dagster",
    "DagsterDaemonName": "daemon",
    "DagsterMetricNamespace": "Clickstream/shop",
    "DatabaseIdentifier": "dagster",
    "WarehouseDailySeconds": "360000",
}
SECTIONS = {
    "LoadBalancerFullName": "Collectors",
    "StreamName": "Kinesis",
    "DeliveryStreamName": "Serverless ingestion",
    "QueueName": "Arrivals",
    "ApplicationId": "Processing",
    "DagsterClusterName": "Dagster",
    "WorkgroupName": "Redshift",
    "AthenaWorkGroupName": "Athena",
}


def headings(body: str) -> list[str]:
    """Give the headings of a dashboard, but for its own."""
    texts = [one["properties"].get("markdown", "") for one in json.loads(body)["widgets"]]
    return [text.removeprefix("## ") for text in texts if text.startswith("## ")]


def test_the_dashboard_is_json_whatever_modules_are_there(make: Callable[..., One]) -> None:
    for count in range(len(SECTIONS) + 1):
        for chosen in itertools.combinations(SECTIONS, count):
            left_out = {name: "" for name in SECTIONS if name not in chosen}
            one = observability(make, **EVERYTHING | left_out)
            body = one.properties("Dashboard")["DashboardBody"]
            assert headings(body) == [SECTIONS[name] for name in SECTIONS if name in chosen]
            for widget in json.loads(body)["widgets"]:
                assert "${" not in json.dumps(widget)


def test_alarms_tell_the_topic_and_the_topic_tells_people(make: Callable[..., One]) -> None:
    people = Part("subscription.yaml", "Ops", {"email": "ops@example.com"})
    one = observability(make, people, **EVERYTHING)
    assert one.apply() == "created"
    topic = one.outputs()["AlarmTopicArn"]
    board = boto3.client("cloudwatch").get_dashboard(DashboardName=one.outputs()["DashboardName"])
    assert headings(board["DashboardBody"]) == list(SECTIONS.values())
    rule = boto3.client("events").describe_rule(Name=one.physical_ids()["FailedJobRun"].split("|")[-1])
    pattern = json.loads(rule["EventPattern"])
    assert pattern["detail"] == {"applicationId": ["00f1"], "state": ["FAILED"]}
    alarms = resolved_alarms(one)
    assert all(alarm["AlarmActions"] == alarm["OKActions"] for alarm in alarms.values())
    assert topic


def resolved_alarms(one: One) -> dict[str, dict[str, Any]]:
    """Give the alarms that are made with some parameters."""
    values = Values(written("observability.yaml"), one.module.parameters)
    return {
        name: values.resolve(resource["Properties"])
        for name, resource in values.resources().items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def test_one_failed_job_run_alarms_and_so_does_silence(make: Callable[..., One]) -> None:
    one = observability(make, ApplicationId="00f1", ApplicationName="it", SilenceHours="6")
    alarms = resolved_alarms(one)
    assert alarms.keys() == {"JobRunsFailed", "NothingProcessed"}
    failed, silent = alarms["JobRunsFailed"], alarms["NothingProcessed"]
    assert (failed["ComparisonOperator"], failed["Threshold"], failed["EvaluationPeriods"]) == (
        "GreaterThanOrEqualToThreshold", 1, 1
    )  # fmt: skip
    assert silent["TreatMissingData"] == "breaching"
    assert (silent["Period"], silent["EvaluationPeriods"]) == (3600, "6")


def test_batches_of_dagsters_own_tasks_are_watched_where_there_is_no_emr(
    make: Callable[..., One],
) -> None:
    dagster = {name: value for name, value in EVERYTHING.items() if name.startswith("Dagster")}
    assert "NothingProcessedInDagster" in resolved_alarms(observability(make, **dagster))
    both = dagster | {"ApplicationId": "00f1", "ApplicationName": "it"}
    assert "NothingProcessedInDagster" not in resolved_alarms(observability(make, **both))


def test_each_alarm_stays_within_cloudwatchs_bounds(make: Callable[..., One]) -> None:
    """A day of periods below an hour, a week of those from an hour on."""
    parameters = written("observability.yaml")["Parameters"]
    most = {name: str(about["MaxValue"]) for name, about in parameters.items() if "MaxValue" in about}
    for alarm in resolved_alarms(observability(make, **EVERYTHING | most)).values():
        period = int(alarm.get("Period", 300))
        span = period * int(alarm["EvaluationPeriods"])
        assert span <= (604_800 if period >= 3_600 else 86_400), alarm["AlarmName"]
        assert alarm["TreatMissingData"] in ("breaching", "notBreaching")


def test_without_modules_there_is_a_topic_and_no_alarm(make: Callable[..., One]) -> None:
    one = observability(make)
    assert resolved_alarms(one) == {}
    assert one.apply() == "created"
    assert destroy(one.infrastructure(), delete_data=False) is not None
