"""The project of the seed's "Getting started", from an empty account to none: its own templates."""

import copy
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import boto3
import pytest

from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.destroy import destroy
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.plan import make_plan
from clickstream_dagster.infra.stacks import Stacks
from tests.infra.cloudformation_edge import CloudFormationEdge
from tests.infra.moto_gaps import without_gaps
from tests.infra.templates.deployed import network
from tests.infra.written import EVERYTHING, QUICKSTART, component

MODULES = [
    *("storage", "sink-kinesis", "ingestion", "processing", "redshift", "athena"),
    "observability",
]


class Quickstart:
    """The project under an id and on buckets and a network of its own."""

    def __init__(self, project: Mapping[str, Any] = QUICKSTART) -> None:
        self.id = f"q{uuid.uuid4().hex[:8]}"
        there = network()
        written = json.dumps(project).replace("s3://shop-", f"s3://{self.id}-")
        self.attributes = copy.deepcopy(json.loads(written))
        self.attributes |= {
            "project_id": self.id,
            "app_ids": ["shop_web", "shop_ios"],
            "raw": f"s3://{self.id}-data/raw/shop",
            "lake": f"s3://{self.id}-data/lake",
        }
        self.attributes["collector"]["sink"]["stream"] = self.id
        self.attributes["infra"]["network"] = {
            "vpc_id": there.vpc,
            "public_subnets": list(there.public),
            "private_subnets": list(there.private),
        }

    def infrastructure(self) -> Infrastructure:
        found = component(self.attributes).infrastructure()
        assert found is not None
        return replace(found, precondition=None)  # what an account is like: test_checks.py

    def stacks(self) -> set[str]:
        return set(Stacks(self.infrastructure().access).of_project(self.id))


@pytest.fixture
def quickstart(cloudformation: CloudFormationEdge) -> Iterator[Quickstart]:
    with without_gaps():
        yield Quickstart()


def acts(quickstart: Quickstart) -> dict[str, list[tuple[str, str]]]:
    return {
        one.module: [(change.act, change.logical_id) for change in one.resources]
        for one in make_plan(quickstart.infrastructure()).modules
        if one.state != "unchanged"
    }


def logical_ids(infra: Infrastructure) -> set[str]:
    found = Stacks(infra.access).resources(infra.stack_name("ingestion"))
    return {one["LogicalResourceId"] for one in found if "LogicalResourceId" in one}


def listener_apps(outputs: dict[str, Any]) -> set[str]:
    client = boto3.client("elbv2", region_name="us-east-1")
    (balancer,) = (
        one
        for one in client.describe_load_balancers()["LoadBalancers"]
        if one["DNSName"] == outputs["LoadBalancerDnsName"]
    )
    (listener,) = client.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])[
        "Listeners"
    ]
    rules = client.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
    return {
        value["Value"]
        for rule in rules
        for condition in rule["Conditions"]
        if condition["Field"] == "query-string"
        for value in condition["QueryStringConfig"]["Values"]
    }


@pytest.mark.heavy
def test_from_nothing_to_a_pipeline_another_app_and_back(
    quickstart: Quickstart, cloudformation: CloudFormationEdge
) -> None:
    infra = quickstart.infrastructure()
    plan = make_plan(infra)
    assert [(one.module, one.state) for one in plan.modules] == [(name, "new") for name in MODULES]
    assert quickstart.stacks() == set()

    applied = {one.module: one for one in apply(infra)}
    assert [one.outcome for one in applied.values()] == ["created"] * len(MODULES)
    assert not make_plan(infra).has_changes
    outputs = dict(applied["ingestion"].stack.outputs)
    assert listener_apps(outputs) == {"shop_web", "shop_ios"}

    # Another app: a rule of the listener, and nothing else in any stack.
    quickstart.attributes["app_ids"].append("shop_android")
    changes = acts(quickstart)
    assert set(changes) == {"ingestion"}
    ((act, rule),) = changes["ingestion"]
    assert (act, rule.startswith("ListenerRule")) == ("add", True)
    cloudformation.executed.clear()
    apply(quickstart.infrastructure())
    assert cloudformation.executed == [(infra.stack_name("ingestion"), [("Add", rule)])]
    assert listener_apps(outputs) == {"shop_web", "shop_ios", "shop_android"}

    quickstart.attributes["app_ids"].remove("shop_web")
    changes = acts(quickstart)
    assert [act for act, _ in changes["ingestion"]] == ["remove"]
    assert set(changes) == {"ingestion"}
    before = logical_ids(infra)
    apply(quickstart.infrastructure())
    # moto leaves the rule of a load balancer when its resource goes: the stack tells.
    assert before - logical_ids(infra) == {changes["ingestion"][0][1]}

    done = destroy(quickstart.infrastructure())
    assert list(done.modules) == list(reversed(MODULES))
    assert quickstart.stacks() == set()
    kept = {one.type for one in done.kept}
    assert {"AWS::S3::Bucket", "AWS::EFS::FileSystem", "AWS::Kinesis::Stream"} <= kept
    boto3.client("s3").head_bucket(Bucket=f"{quickstart.id}-data")


def test_its_data_goes_when_told(quickstart: Quickstart) -> None:
    apply(quickstart.infrastructure(), ["storage", "sink-kinesis"])
    s3 = boto3.client("s3")
    s3.put_object(Bucket=f"{quickstart.id}-data", Key="raw/shop/a", Body=b"1")
    done = destroy(quickstart.infrastructure(), delete_data=True)
    assert done.kept == ()
    names = [one["Name"] for one in s3.list_buckets()["Buckets"]]
    assert not [name for name in names if name.startswith(quickstart.id)]
    streams = boto3.client("kinesis", region_name="us-east-1").list_streams()["StreamNames"]
    assert quickstart.id not in streams


@pytest.mark.heavy
def test_every_module_is_made_settles_and_goes(cloudformation: CloudFormationEdge) -> None:
    with without_gaps():
        everything = Quickstart(EVERYTHING)
        acm = boto3.client("acm", region_name="us-east-1")
        certificate = acm.request_certificate(DomainName="events.example.com")["CertificateArn"]
        blocks = everything.attributes["infra"]
        group = boto3.client("ec2").create_security_group(
            GroupName=everything.id, Description="Team", VpcId=blocks["network"]["vpc_id"]
        )["GroupId"]
        blocks["ingestion"]["certificate_arn"] = certificate
        blocks["redshift"]["access_security_groups"] = [group]
        blocks["orchestration"]["access_security_groups"] = [group]
        infra = everything.infrastructure()
        applied = apply(infra)
        assert [one.module for one in applied] == [
            *("storage", "sink-kinesis", "ingestion", "serverless-ingestion", "arrivals"),
            *("processing", "redshift", "athena", "orchestration", "observability"),
        ]
        assert {one.outcome for one in applied} == {"created"}
        assert [one.outcome for one in apply(infra)] == ["unchanged"] * len(applied)
        blocks["log_retention_days"] = 30
        assert acts(everything)["ingestion"] == [("change", "Log")]
        done = destroy(infra)
        assert {"AWS::KMS::Key", "AWS::RDS::DBInstance"} <= {one.type for one in done.kept}
        assert everything.stacks() == set()
