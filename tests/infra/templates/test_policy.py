"""Every template keeps every rule, and every rule finds what it is for."""

from copy import deepcopy
from typing import Any

import pytest

from clickstream_dagster.infra.template import parse
from tests.infra.templates import policy_data, policy_iam, policy_network
from tests.infra.templates.policy import RULES, findings
from tests.infra.templates.written import FOLDER, NAMES, PARTS, written

SERVICE = {"Service": "ecs-tasks.amazonaws.com"}
LIMIT = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def trusting(principal: Any, **more: Any) -> dict[str, Any]:
    """Give a role that trusts somebody."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}
    return resource(
        "AWS::IAM::Role",
        PermissionsBoundary="x",
        AssumeRolePolicyDocument={"Statement": [statement]},
    )


def allowing(**statement: Any) -> dict[str, Any]:
    """Give a policy with one statement."""
    return resource(
        "AWS::IAM::ManagedPolicy",
        PolicyDocument={
            "Statement": [{"Effect": "Allow", "Resource": "arn:a:b:c:d:e", **statement}]
        },
    )


def resource(kind: str, **properties: Any) -> dict[str, Any]:
    """Give a resource."""
    return {"Type": kind, "Properties": properties}


def group(**ingress: Any) -> dict[str, Any]:
    """Give a security group with one rule."""
    return resource(
        "AWS::EC2::SecurityGroup", SecurityGroupEgress=[], SecurityGroupIngress=[ingress]
    )


def container(**settings: Any) -> dict[str, Any]:
    """Give a task with one container."""
    good = {"Name": "it", "ReadonlyRootFilesystem": True, "User": "65532"}
    logs = {"LogConfiguration": {"Options": {"awslogs-group": {"Ref": "Log"}}}}
    return resource("AWS::ECS::TaskDefinition", ContainerDefinitions=[good | logs | settings])


def with_parameter(name: str, **about: Any) -> dict[str, Any]:
    """Give a template with one parameter, which its output uses."""
    return {
        "Parameters": {name: {"Type": "String", "Description": "It is.", **about}},
        "Outputs": {"It": {"Value": {"Ref": name}, "Description": "It."}},
    }


TCP = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
CLOSED_BUCKET = {
    "BucketEncryption": {},
    "VersioningConfiguration": {"Status": "Enabled"},
    "LifecycleConfiguration": {"Rules": [{"AbortIncompleteMultipartUpload": {}}]},
    "PublicAccessBlockConfiguration": dict.fromkeys(policy_data._CLOSED, True),
}

BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("actions_are_named", allowing(Action="*"), "allows *"),
    ("actions_are_named", allowing(Action=["s3:GetObject", "s3:Put*"]), "allows s3:Put*"),
    ("actions_are_named", allowing(Action="s3:GetObjekt"), "IAM knows no action s3:GetObjekt"),
    ("actions_are_named", allowing(), "allows *"),
    (
        "actions_are_named",
        resource(
            "AWS::KMS::Key",
            KeyPolicy={"Statement": [{"Effect": "Allow", "Principal": SERVICE, "Action": "kms:*"}]},
        ),
        "allows kms:*",
    ),
    ("allowances_are_positive", allowing(NotAction="iam:CreateUser", Action="s3:GetObject"), "Not"),
    ("resources_are_named", allowing(Action="s3:GetObject", Resource="*"), "s3:GetObject on *"),
    (
        "resources_are_named",
        allowing(
            Action="s3:GetObject",
            Resource={"Fn::If": ["A", "arn:aws:s3:::bucket/x", {"Fn::Sub": "arn:${P}:s3:::*"}]},
        ),
        "s3:GetObject on arn:${P}:s3:::*",
    ),
    ("resources_are_named", allowing(Action="ecs:RunTask", Resource=["*"]), "ecs:RunTask on *"),
    ("passed_roles_are_named", allowing(Action="iam:PassRole"), "any service"),
    ("passed_roles_are_named", allowing(Action="iam:PassRole", Resource="arn:r/*"), "not name"),
    ("trust_is_limited", trusting(SERVICE), "for anybody"),
    ("trust_is_limited", trusting({"AWS": "*"}, Condition=LIMIT), "name a service"),
    ("trust_is_limited", trusting("*"), "name a service"),
    (
        "callers_are_limited",
        resource(
            "AWS::SNS::TopicPolicy",
            Topics=[],
            PolicyDocument={
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "events.amazonaws.com"},
                        "Action": "sns:Publish",
                    }
                ]
            },
        ),
        "for anybody",
    ),
    (
        "callers_are_limited",
        resource(
            "AWS::S3::BucketPolicy",
            Bucket="b",
            PolicyDocument={
                "Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
            },
        ),
        "everybody",
    ),
    ("callers_are_limited", resource("AWS::Lambda::Permission"), "add SourceArn"),
    (
        "roles_can_be_bounded",
        resource("AWS::IAM::Role", AssumeRolePolicyDocument={"Statement": []}),
        "PermissionsBoundary",
    ),
    *(("data_is_encrypted", resource(kind), "not encrypted") for kind in policy_data.ENCRYPTED_BY),
    ("data_is_encrypted", resource("AWS::SQS::Queue", SqsManagedSseEnabled=False), "not encrypted"),
    (
        "data_is_encrypted",
        resource("AWS::RDS::DBInstance", StorageEncrypted=False),
        "not encrypted",
    ),
    (
        "data_is_encrypted",
        resource(
            "AWS::EC2::LaunchTemplate",
            LaunchTemplateData={
                "MetadataOptions": {"HttpTokens": "required"},
                "BlockDeviceMappings": [{"Ebs": {"VolumeSize": 8}}],
            },
        ),
        "disk",
    ),
    (
        "data_is_encrypted",
        resource("AWS::Athena::WorkGroup", WorkGroupConfiguration={"ResultConfiguration": {}}),
        "results",
    ),
    (
        "data_is_encrypted",
        resource(
            "AWS::ECS::TaskDefinition",
            ContainerDefinitions=[],
            Volumes=[{"EFSVolumeConfiguration": {"FilesystemId": "fs"}}],
        ),
        "without TLS",
    ),
    *(
        (
            "buckets_are_closed",
            resource(
                "AWS::S3::Bucket",
                **CLOSED_BUCKET
                | {
                    "PublicAccessBlockConfiguration": {
                        one: one != setting for one in policy_data._CLOSED
                    }
                },
            ),
            f"set {setting}",
        )
        for setting in policy_data._CLOSED
    ),
    (
        "buckets_are_closed",
        resource("AWS::S3::Bucket", **CLOSED_BUCKET | {"VersioningConfiguration": {}}),
        "versions",
    ),
    (
        "buckets_are_closed",
        resource("AWS::S3::Bucket", **CLOSED_BUCKET | {"LifecycleConfiguration": {"Rules": []}}),
        "broken off",
    ),
    ("only_tls_gets_in", resource("AWS::S3::Bucket"), "without TLS"),
    ("only_tls_gets_in", resource("AWS::SQS::Queue"), "without TLS"),
    ("only_tls_gets_in", resource("AWS::SNS::Topic"), "without TLS"),
    *(
        ("data_outlives_its_stack", resource(kind), "set DeletionPolicy")
        for kind in policy_data.KEPT
    ),
    (
        "data_outlives_its_stack",
        {
            **resource("AWS::S3::Bucket"),
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Delete",
        },
        "set UpdateReplacePolicy",
    ),
    ("logs_end", resource("AWS::Logs::LogGroup"), "for ever"),
    ("logs_end", resource("AWS::Lambda::Function"), "for ever"),
    ("logs_end", container(LogConfiguration={}), "no log group"),
    ("nothing_comes_in", group(**TCP, CidrIp="0.0.0.0/0"), "internet"),
    ("nothing_comes_in", group(**TCP, CidrIpv6="::/0"), "internet"),
    ("nothing_comes_in", group(**TCP, CidrIp={"Ref": "Unknown"}), "internet"),
    (
        "nothing_comes_in",
        group(**TCP, CidrIp={"Fn::If": ["A", "10.0.0.0/8", "0.0.0.0/0"]}),
        "inter",
    ),
    ("nothing_comes_in", group(IpProtocol="-1", CidrIp="10.0.0.0/8"), "every protocol"),
    ("nothing_comes_in", group(**TCP), "nowhere"),
    ("nothing_comes_in", resource("AWS::EC2::SecurityGroup"), "lets everything out"),
    (
        "nothing_comes_in",
        resource("AWS::EC2::SecurityGroupIngress", GroupId="sg", **TCP, CidrIp="0.0.0.0/0"),
        "internet",
    ),
    *(
        ("groups_are_described_in_letters_of_ec2", wrong, "AWS's")
        for wrong in (
            group(**TCP, CidrIp="10.0.0.0/8", Description="AWS's services"),
            resource("AWS::EC2::SecurityGroup", GroupDescription={"Fn::Sub": "AWS's ${It}"}),
            resource("AWS::EC2::SecurityGroupEgress", Description="AWS's services"),
        )
    ),
    ("nothing_is_public", resource("AWS::RDS::DBInstance"), "public address"),
    ("nothing_is_public", resource("AWS::RedshiftServerless::Workgroup"), "public address"),
    (
        "nothing_is_public",
        resource(
            "AWS::ECS::Service",
            NetworkConfiguration={"AwsvpcConfiguration": {"AssignPublicIp": "ENABLED"}},
        ),
        "public addresses",
    ),
    ("containers_have_no_right", container(Privileged=True), "privileged"),
    ("containers_have_no_right", container(User="0:0"), "as root"),
    ("containers_have_no_right", container(ReadonlyRootFilesystem=False), "write to its root"),
    (
        "containers_have_no_right",
        container(Environment=[{"Name": "DB_PASSWORD", "Value": "x"}]),
        "DB_PASSWORD",
    ),
    (
        "machines_ask_for_tokens",
        resource("AWS::EC2::LaunchTemplate", LaunchTemplateData={}),
        "HttpTokens",
    ),
    ("machines_ask_for_tokens", resource("AWS::AutoScaling::LaunchConfiguration"), "old kind"),
    ("no_secret_is_written", with_parameter("DatabasePassword"), "takes a secret"),
    (
        "no_secret_is_written",
        resource("AWS::RDS::DBInstance", MasterUserPassword={"Ref": "It"}),
        "MasterUserPassword",
    ),
    ("parameters_are_described", with_parameter("It", Description=""), "needs a Description"),
    ("parameters_are_described", {"Parameters": {"It": {"Description": "It is."}}}, "not used"),
    ("parameters_are_described", {"Outputs": {"It": {"Value": 1}}}, "needs a Description"),
    ("stacks_stand_alone", {"Transform": "AWS::Serverless-2016-10-31"}, "runs code"),
    ("stacks_stand_alone", resource("AWS::CloudFormation::Stack"), "AWS::CloudFormation::Stack"),
    ("stacks_stand_alone", resource("Custom::Thing"), "code of its own"),
    (
        "stacks_stand_alone",
        {"Outputs": {"It": {"Value": 1, "Description": "It.", "Export": {"Name": "it"}}}},
        "exported",
    ),
    (
        "stacks_stand_alone",
        resource("AWS::SNS::Topic", TopicName={"Fn::ImportValue": "it"}),
        "imports from",
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_template_keeps_every_rule(name: str) -> None:
    assert findings(name, written(name)) == []


@pytest.mark.parametrize(("rule", "wrong", "told"), BROKEN)
def test_a_rule_finds_what_breaks_it(rule: str, wrong: dict[str, Any], told: str) -> None:
    template = wrong if "Type" not in wrong else {"Resources": {"It": wrong}}
    found = [finding.text for finding in RULES[rule]("it.yaml", {"Resources": {}} | template)]
    assert any(told in text for text in found), found


def test_every_rule_has_been_seen_to_find_something() -> None:
    assert {rule for rule, _, _ in BROKEN} == RULES.keys()


def test_every_part_is_in_a_template() -> None:
    placed = {part.file for parts in PARTS.values() for part in parts}
    assert {path.name for path in (FOLDER / "parts").glob("*.yaml")} == placed


def test_actions_on_everything_know_no_resource() -> None:
    for action, reason in policy_iam.WITHOUT_RESOURCES.items():
        assert policy_iam.action_of(action) == {}, action
        assert reason, action


def test_no_exception_is_left_over() -> None:
    """What the tables of the rules allow is there; without the table the rule would find it."""
    actions = {
        action
        for name in NAMES
        for _, statement in policy_iam.identity_statements(written(name))
        for action in statement["Action"]
        if isinstance(statement["Action"], list)
    } | {
        statement["Action"]
        for name in NAMES
        for _, statement in policy_iam.identity_statements(written(name))
        if isinstance(statement["Action"], str)
    }
    assert policy_iam.WITHOUT_RESOURCES.keys() <= actions
    for name, groups in policy_network.OPEN.items():
        assert groups <= written(name)["Resources"].keys()
    for name, key in policy_data.MAY_GO:
        assert written(name)["Resources"][key].get("DeletionPolicy", "Delete") == "Delete"


@pytest.mark.parametrize("name", NAMES)
def test_a_template_reads_the_same_without_what_yaml_has_more(name: str) -> None:
    """CloudFormation takes no anchors and aliases."""
    for file in [FOLDER / name, *(FOLDER / "parts" / part.file for part in PARTS.get(name, ()))]:
        words = file.read_text().split()
        assert not [word for word in words if word.startswith(("&", "<<:"))], file.name
        assert parse(file.read_text(), name)["Resources"]


def test_both_branches_of_a_condition_are_looked_at() -> None:
    template = deepcopy(written("redshift.yaml"))
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = template["Resources"]["DagsterPolicy"]["Properties"]["PolicyDocument"]
    policy["Statement"].append({"Fn::If": ["WithKey", {"Ref": "AWS::NoValue"}, statement]})
    assert "redshift.yaml: DagsterPolicy: allows s3:*" in "\n".join(
        findings("redshift.yaml", template)
    )
