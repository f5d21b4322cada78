"""The templates for data out: made, changed and deleted on an endpoint that speaks as AWS does."""

import json
import uuid
from collections.abc import Callable

import boto3
import pytest

from clickstream_dagster.infra.destroy import destroy
from clickstream_dagster.infra.module import Part
from tests.infra.templates.one import One, allowed, listed, security_group
from tests.infra.templates.written import written

Make = Callable[..., One]

LAKE = {"LakeBucket": "lake", "LakePrefix": "lake/"}
RAW = {"RawBucket": "raw", "RawPrefix": "raw/"}
ARTIFACTS = {"ArtifactsBucket": "lake", "ArtifactsPrefix": "emr/"}
MANIFESTS = {"ManifestsBucket": "lake", "ManifestsPrefix": "redshift/"}
MODELS = {"ModelsBucket": "lake", "ModelsPrefix": "models/", "ResultsBucket": "results"}
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234"
NO_KEY = "arn:aws:kms:us-east-1:123456789012:key/none"


def test_processing_gives_what_the_job_needs_and_no_more(make: Make, vpc: dict[str, str]) -> None:
    one = make("processing", **RAW, **LAKE, **ARTIFACTS, **vpc, KmsKeyArn=KEY)
    assert one.apply() == "created"
    outputs = one.outputs()
    lake = allowed(outputs["LakePolicyArn"])
    assert listed(lake["ReadRaw"]["Resource"]) == ["arn:aws:s3:::raw/raw/*"]
    assert lake["WriteLake"]["Resource"] == [
        f"arn:aws:s3:::lake/lake/{folder}{one.project_id}/*"
        for folder in ("", "_ledger/", "_staging/")
    ]
    assert lake["UseKey"]["Resource"] == KEY
    starts = allowed(outputs["DagsterPolicyArn"])
    assert starts["GiveTheirRole"]["Resource"] == outputs["ExecutionRoleArn"]
    application = f"/applications/{outputs['ApplicationId']}"
    assert starts["StartJobRuns"]["Resource"].endswith(application)
    assert starts["WatchJobRuns"]["Resource"].endswith(f"{application}/jobruns/*")
    group = security_group(one.physical_ids()["WorkersSecurityGroup"])
    assert group["IpPermissions"] == []
    (egress,) = one.resources("AWS::EC2::SecurityGroup")["WorkersSecurityGroup"][
        "SecurityGroupEgress"
    ]
    assert (egress["FromPort"], egress["ToPort"]) == (443, 443)


def test_processing_without_an_application_keeps_the_rights_on_the_lake(make: Make) -> None:
    one = make("processing", **RAW, **LAKE, Application="none")
    assert one.apply() == "created"
    assert one.outputs().keys() == {"LakePolicyArn", "DatabaseName"}
    assert allowed(one.outputs()["LakePolicyArn"])["UseKey"]["Resource"] == NO_KEY


def test_the_application_has_its_limits_and_stops(make: Make) -> None:
    one = make("processing", **RAW, **LAKE, **ARTIFACTS, MaximumCpu="64", IdleTimeoutMinutes="7")
    (application,) = one.resources("AWS::EMRServerless::Application").values()
    limits = {"Cpu": "64 vCPU", "Memory": "400 GB", "Disk": "1000 GB"}
    assert application["MaximumCapacity"] == limits
    assert application["AutoStopConfiguration"] == {"Enabled": True, "IdleTimeoutMinutes": "7"}
    assert "NetworkConfiguration" not in application


def test_a_change_of_processing_keeps_its_role_and_destroy_takes_it(make: Make) -> None:
    one = make("processing", **RAW, **LAKE, **ARTIFACTS)
    one.apply()
    before = one.outputs()
    later = one.changed(MaximumCpu="200", IdleTimeoutMinutes="30")
    assert later.apply() == "updated"
    assert later.outputs() == before
    destroy(later.infrastructure())
    assert not later.is_there()


def test_a_new_warehouse_lets_in_who_has_its_group(make: Make, vpc: dict[str, str]) -> None:
    names = {"WorkgroupName": "shop", "NamespaceName": "shop", "DatabaseName": "shop"}
    one = make("redshift", **LAKE, **MANIFESTS, **vpc, **names, KmsKeyArn=KEY)
    assert one.apply() == "created"
    outputs = one.outputs()
    (rule,) = security_group(one.physical_ids()["WarehouseSecurityGroup"])["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"]) == (5439, 5439)
    clients = [pair["GroupId"] for pair in rule["UserIdGroupPairs"]]
    assert clients == [outputs["ClientSecurityGroupId"]]
    statements = allowed(outputs["DagsterPolicyArn"])
    assert statements["ReadSecret"]["Resource"] == outputs["SecretArn"]
    assert "SignInToWorkgroup" not in statements
    role = boto3.client("iam").get_role(RoleName=outputs["CopyRoleArn"].rpartition("/")[2])["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"] == {
        "StringLike": {"sts:ExternalId": "arn:aws:redshift:us-east-1:123456789012:dbuser:shop/*"}
    }
    (workgroup,) = one.resources("AWS::RedshiftServerless::Workgroup").values()
    assert (workgroup["PubliclyAccessible"], workgroup["EnhancedVpcRouting"]) == (False, True)
    assert len(workgroup["SubnetIds"]) == 3


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
    make: Make, parameters: dict[str, str], sign_in: str
) -> None:
    one = make("redshift", **LAKE, **MANIFESTS, DatabaseName="shop", **parameters)
    assert one.apply() == "created"
    assert one.physical_ids().keys() == {"CopyRole", "DagsterPolicy"}
    ways = {"SignInToWorkgroup", "SignInToClusterAsUser", "SignInToClusterAsRole", "ReadSecret"}
    assert allowed(one.outputs()["DagsterPolicyArn"]).keys() & ways == {sign_in}


def test_athena_lets_analysts_write_results_only(make: Make) -> None:
    one = make("athena", **LAKE, **MODELS, ResultsPrefix="results/", WorkGroupName="shop")
    assert one.apply() == "created"
    (group,) = one.resources("AWS::Athena::WorkGroup").values()
    settings = group["WorkGroupConfiguration"]
    assert settings["EnforceWorkGroupConfiguration"] is True
    assert settings["BytesScannedCutoffPerQuery"] == 100_000_000_000
    assert settings["ResultConfiguration"] == {
        "OutputLocation": "s3://results/results/",
        "EncryptionConfiguration": {"EncryptionOption": "SSE_S3"},
    }
    analysts = allowed(one.outputs()["AnalystPolicyArn"]).values()
    writing = {
        place
        for statement in analysts
        for place in listed(statement["Resource"])
        if {"s3:PutObject", "s3:DeleteObject"} & {*listed(statement["Action"])}
    }
    assert writing == {"arn:aws:s3:::results/results/*"}
    actions = {action for statement in analysts for action in listed(statement["Action"])}
    assert {action for action in actions if action.startswith("glue:")} == {
        "glue:GetDatabase",
        "glue:GetTable",
        "glue:GetPartitions",
    }


def dagster(make: Make, vpc: dict[str, str], *parts: Part, **more: str) -> One:
    """Give Dagster's stack of a project."""
    return make("orchestration", *parts, **vpc, Image="clickstream", LogsBucket="logs", **more)


def test_dagster_is_reached_by_nobody_but_the_bastion(make: Make, vpc: dict[str, str]) -> None:
    one = dagster(make, vpc)
    assert one.apply() == "created"
    ids = one.physical_ids()
    rules = [
        (name, rule)
        for name in ids
        if name.endswith("SecurityGroup")
        for rule in security_group(ids[name])["IpPermissions"]
    ]
    assert {
        (name, rule["FromPort"], pair["GroupId"])
        for name, rule in rules
        for pair in rule["UserIdGroupPairs"]
    } == {
        ("WebserverSecurityGroup", 3000, ids["BastionSecurityGroup"]),
        ("TasksSecurityGroup", 4000, ids["TasksSecurityGroup"]),
        ("DatabaseSecurityGroup", 5432, ids["TasksSecurityGroup"]),
    }
    assert [rule for _, rule in rules if rule["IpRanges"]] == []
    host = f"webserver.{one.project_id}.clickstream.internal"
    assert one.outputs()["UiHost"] == host
    assert f"host={host},portNumber=3000" in one.outputs()["UiTunnel"]


def test_a_group_of_the_team_is_let_in_to_the_ui(make: Make, vpc: dict[str, str]) -> None:
    vpn = boto3.client("ec2").create_security_group(
        GroupName="vpn", Description="vpn", VpcId=vpc["VpcId"]
    )["GroupId"]
    part = Part("webserver_access.yaml", "Vpn", {"security_group": vpn})
    one = dagster(make, vpc, part)
    assert one.apply() == "created"
    group = security_group(one.physical_ids()["WebserverSecurityGroup"])
    pairs = [
        pair["GroupId"] for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]
    ]
    assert vpn in pairs


def test_only_code_and_runs_get_the_rights_on_data(make: Make, vpc: dict[str, str]) -> None:
    iam = boto3.client("iam")
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake/*"}
    lake = iam.create_policy(
        PolicyName=f"lake-{uuid.uuid4().hex}",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )["Policy"]["Arn"]
    one = dagster(make, vpc, LakePolicyArn=lake)
    assert one.apply() == "created"
    roles = one.resources("AWS::IAM::Role")
    having = {
        name: role["ManagedPolicyArns"] for name, role in roles.items() if "Managed" in str(role)
    }
    assert having == {"PipelineRole": [lake]}
    tasks = {
        name: resource["Properties"]["TaskRoleArn"]["Fn::GetAtt"][0]
        for name, resource in written("orchestration.yaml")["Resources"].items()
        if resource["Type"] == "AWS::ECS::TaskDefinition"
    }
    assert tasks == {
        "CodeTask": "PipelineRole",
        "RunTask": "PipelineRole",
        "WebserverTask": "WebserverRole",
        "DaemonTask": "DaemonRole",
        "BastionTask": "BastionRole",
    }
