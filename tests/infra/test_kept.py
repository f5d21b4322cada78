"""What destroy keeps is not made again: told before any change, and taken up with what is told."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from clickstream_dagster.errors import InfraError
from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.checks import fact_faults
from clickstream_dagster.infra.destroy import destroy
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.kept import (
    BUCKET,
    DATABASE,
    LOG_GROUP,
    NAMESPACE,
    STREAM,
    names_made,
    names_of,
    names_there,
)
from clickstream_dagster.infra.plan import make_plan
from clickstream_dagster.infra.stacks import StackError, Stacks
from tests.infra.cloudformation_edge import CloudFormationEdge
from tests.infra.moto_gaps import without_gaps
from tests.infra.test_checks import GOOD
from tests.infra.written import EVERYTHING, KAFKA_SINK, QUICKSTART, REGION, changed, values
from tests.infra.written import component as component_of

LOGS = "/aws/redshift/clickstream-quickstart"


class Project:
    """A project with a bucket, a stream and a Glue database of its own."""

    def __init__(self) -> None:
        self.id = f"k{uuid.uuid4().hex[:8]}"
        self.attributes: dict[str, Any] = {
            "project_id": self.id,
            "raw": f"s3://{self.id}-data/raw/shop",
            "lake": f"s3://{self.id}-data/lake",
            "collector": {"sink": {"type": "kinesis", "stream": self.id}},
            "infra": {"storage": {}, "kinesis": {}, "processing": {}},
        }

    def infrastructure(self) -> Infrastructure:
        found = component_of(self.attributes).infrastructure()
        assert found is not None
        return found

    def outcomes(self) -> dict[str, str]:
        with without_gaps():
            return {one.module: one.outcome for one in apply(self.infrastructure())}

    def stacks(self) -> set[str]:
        return set(Stacks(self.infrastructure().access).of_project(self.id))


@pytest.fixture
def project(cloudformation: CloudFormationEdge) -> Project:
    return Project()


def test_after_destroy_apply_says_what_to_write_and_goes_on_with_it(project: Project) -> None:
    made = {"storage": "created", "sink-kinesis": "created", "processing": "created"}
    assert project.outcomes() == made
    assert project.outcomes() == dict.fromkeys(made, "unchanged")
    destroy(project.infrastructure())

    for act in (make_plan, apply):
        with pytest.raises(InfraError) as refusal:
            act(project.infrastructure())
        assert str(refusal.value).splitlines() == [
            f"raw, lake: the bucket {project.id}-data is there already, and infra.storage would "
            "make it: write infra.storage.existing: true to use it, or another bucket",
            f"infra.kinesis.new_stream: the stream {project.id} is there already: write false to "
            "use it, or another collector.sink.stream",
            f"infra.processing.new_database: the Glue database {project.id} is there already: "
            "write false to use it",
        ]
    assert project.stacks() == set()

    project.attributes["infra"] = {
        "storage": {"existing": True},
        "kinesis": {"new_stream": False},
        "processing": {"new_database": False},
    }
    assert project.outcomes() == made


def test_a_bucket_that_others_have_made_is_not_made(project: Project) -> None:
    boto3.client("s3", region_name=REGION).create_bucket(Bucket=f"{project.id}-data")
    with pytest.raises(InfraError, match=rf"raw, lake: the bucket {project.id}-data is there"):
        project.outcomes()
    assert project.stacks() == set()


@pytest.mark.heavy
def test_after_destroy_with_all_data_everything_is_made_anew(project: Project) -> None:
    del project.attributes["infra"]["processing"]  # moto can't take its list of subnets again
    made = project.outcomes()
    assert set(made.values()) == {"created"}
    destroy(project.infrastructure(), delete_data=True)
    assert project.outcomes() == made


def test_what_a_failed_creation_did_not_make_is_not_the_projects(
    project: Project, cloudformation: CloudFormationEdge
) -> None:
    project.outcomes()
    destroy(project.infrastructure())
    unchecked = replace(project.infrastructure(), precondition=None)
    (bucket,) = (f"Bucket{part.name}" for part in unchecked.module("storage").parts)
    cloudformation.failing = {bucket: f"{project.id}-data already exists"}
    with without_gaps(), pytest.raises(StackError, match=r"ROLLBACK_COMPLETE now: .*already exist"):
        apply(unchecked)
    assert project.stacks() == {"storage"}
    cloudformation.failing = {}
    with pytest.raises(InfraError, match=rf"the bucket {project.id}-data is there already"):
        project.outcomes()


@pytest.mark.parametrize(
    ("status", "is_own"),
    [
        ("CREATE_COMPLETE", True),
        ("UPDATE_COMPLETE", True),
        ("UPDATE_FAILED", True),
        ("CREATE_FAILED", False),  # the name was taken, and is told as if it were its own
        ("DELETE_COMPLETE", False),
        ("DELETE_SKIPPED", False),
    ],
)
def test_a_stack_tells_by_the_status_whether_a_resource_is_its_own(
    status: str, is_own: bool
) -> None:
    summary = {
        "LogicalResourceId": "BucketRaw",
        "PhysicalResourceId": "shop-data",
        "ResourceType": BUCKET,
        "ResourceStatus": status,
    }
    assert list(names_of([summary])) == ([(BUCKET, "shop-data")] if is_own else [])


def told(attributes: Any, **facts: Any) -> list[str]:
    return fact_faults(*values(attributes), replace(GOOD, **facts))


def test_a_key_that_the_storage_made_is_named_with_the_bucket() -> None:
    (fault,) = told(EVERYTHING, buckets={"shop-code": REGION})
    assert fault == (
        "infra.artifacts: the bucket shop-code is there already, and infra.storage would make it: "
        "write infra.storage.existing: true to use it, with the ARN of its key as s3.kms_key_id in "
        "place of infra.storage.kms_key, or another bucket"
    )


def test_a_bucket_of_the_projects_own_stack_is_no_fault() -> None:
    there = {"shop-data": REGION}
    (fault,) = told(QUICKSTART, buckets=there)
    assert fault.startswith("raw, lake, emr_serverless.artifacts, redshift.manifests, athena.data")
    assert told(QUICKSTART, buckets=there, own=frozenset({(BUCKET, "shop-data")})) == []
    assert told(QUICKSTART, buckets=there, own=frozenset({(STREAM, "shop-data")})) == [fault]


def test_a_namespace_is_told_without_its_logs() -> None:
    kept = frozenset(
        {
            (NAMESPACE, "clickstream-quickstart"),
            (LOG_GROUP, f"{LOGS}/connectionlog"),
            (LOG_GROUP, f"{LOGS}/userlog"),
        }
    )
    (fault,) = told(QUICKSTART, there=kept)
    assert fault == (
        "infra.redshift.new_namespace: the namespace clickstream-quickstart is there already: "
        "write false to use it, and the ARN of its administrator's secret to secret_arn of the "
        "warehouse"
    )
    assert told(QUICKSTART, there=kept, own=kept) == []
    (fault,) = told(QUICKSTART, there=frozenset({(LOG_GROUP, f"{LOGS}/userlog")}))
    assert fault.startswith(f"infra.redshift: the log group {LOGS}/userlog is there already")
    assert f"delete-log-group --region {REGION} --log-group-name {LOGS}/userlog`" in fault


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        ("infra.kinesis.new_stream", False, STREAM),
        ("infra.processing.new_database", False, DATABASE),
        ("infra.redshift.new_namespace", False, NAMESPACE),
        ("infra.redshift.new_namespace", False, LOG_GROUP),
    ],
)
def test_what_is_used_as_it_is_may_be_there(path: str, value: bool, kind: str) -> None:
    assert kind in {one for one, _ in names_made(*values(QUICKSTART))}
    assert kind not in {one for one, _ in names_made(*values(changed(QUICKSTART, path, value)))}


def test_nothing_is_looked_for_that_no_module_makes() -> None:
    assert names_made(*values({**KAFKA_SINK, "infra": {"storage": {}}})) == ()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_namespace_is_looked_for(aws: str, is_there: bool) -> None:
    # moto has no Redshift Serverless: the answers are those that AWS documents.
    redshift = boto3.client("redshift-serverless", region_name=REGION)
    name = (NAMESPACE, "clickstream-shop")
    with Stubber(redshift) as stub:
        if is_there:
            stub.add_response(
                "get_namespace",
                {"namespace": {"namespaceName": "clickstream-shop"}},
                {"namespaceName": "clickstream-shop"},
            )
        else:
            stub.add_client_error("get_namespace", "ResourceNotFoundException")
        found = names_there([name], lambda service: {"redshift-serverless": redshift}[service])
    assert found == (frozenset({name}) if is_there else frozenset())


def test_a_log_group_is_looked_for_by_its_whole_name(aws: str) -> None:
    logs = boto3.client("logs", region_name=REGION)
    name = f"/aws/redshift/k{uuid.uuid4().hex[:8]}/userlog"
    logs.create_log_group(logGroupName=f"{name}-of-others")
    client: Callable[[str], Any] = {"logs": logs}.__getitem__
    assert names_there([(LOG_GROUP, name)], client) == frozenset()
    logs.create_log_group(logGroupName=name)
    assert names_there([(LOG_GROUP, name)], client) == {(LOG_GROUP, name)}


@pytest.mark.parametrize(
    ("kind", "service", "operation", "right"),
    [
        (STREAM, "kinesis", "describe_stream_summary", "kinesis:DescribeStreamSummary"),
        (DATABASE, "glue", "get_database", "glue:GetDatabase"),
        (NAMESPACE, "redshift-serverless", "get_namespace", "redshift-serverless:GetNamespace"),
        (LOG_GROUP, "logs", "describe_log_groups", "logs:DescribeLogGroups"),
    ],
)
def test_what_may_not_be_looked_for_is_told_with_the_right(
    aws: str, kind: str, service: str, operation: str, right: str
) -> None:
    client = boto3.client(service, region_name=REGION)
    with Stubber(client) as stub:
        stub.add_client_error(operation, "AccessDeniedException")
        with pytest.raises(InfraError, match=f"AWS may not be asked: allow {right}"):
            names_there([(kind, "shop")], {service: client}.__getitem__)
