"""Ids that the YAML leaves out are read from the project's stacks, when they are needed."""

import json
import uuid

import boto3
import dagster as dg
import pytest

from clickstream_dagster.assets.athena import athena_saved_queries
from clickstream_dagster.infra.infrastructure import stack_name
from clickstream_dagster.infra.outputs import forget_outputs
from clickstream_dagster.infra.stacks import PROJECT_TAG, StackError
from tests.infra.written import (
    ATHENA,
    EMR,
    INGESTION,
    NETWORK,
    QUICKSTART,
    REDSHIFT,
    REGION,
    component,
)


@pytest.fixture
def project_id(aws):
    """A project of its own, whose outputs nobody has read yet."""
    forget_outputs()
    return f"p{uuid.uuid4().hex[:8]}"


def applied(project_id: str, module: str, **outputs: str) -> None:
    """Make a stack of a module that has these outputs."""
    template = {
        "Resources": {
            "Parameter": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Type": "String", "Value": "x", "Name": f"/{project_id}/{module}"},
            }
        },
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    boto3.client("cloudformation", region_name=REGION).create_stack(
        StackName=stack_name(project_id, module),
        TemplateBody=json.dumps(template),
        Tags=[{"Key": PROJECT_TAG, "Value": project_id}],
    )


def test_nothing_is_asked_before_an_id_is_needed(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    found = component(QUICKSTART)
    assert len(found.infrastructure().modules) == 7
    assert found.project(tmp_path).stacks is not None
    assert found.spark_engine().stacks is not None


def test_application_and_role_are_those_of_processing(project_id):
    role = "arn:aws:iam::123456789012:role/shop"
    engine = component(EMR, project_id=project_id, infra={"processing": {}}).spark_engine()
    with pytest.raises(StackError, match="run `clickstream infra apply"):
        engine.of_stack(engine.stacks)
    applied(project_id, "processing", ApplicationId="00f1", ExecutionRoleArn=role)
    forget_outputs()
    known = engine.of_stack(engine.stacks)
    assert (known.application_id, known.execution_role_arn) == ("00f1", role)
    assert known.stacks is None
    assert known.artifacts == "s3://shop-data/emr"


def test_an_application_of_ones_own_asks_no_stack():
    role = "arn:aws:iam::123456789012:role/shop"
    named = {**EMR["emr_serverless"], "application_id": "00f1", "execution_role_arn": role}
    engine = component(EMR, emr_serverless=named, infra={"storage": {}}).spark_engine()
    assert (engine.application_id, engine.stacks) == ("00f1", None)


def test_the_queue_is_that_of_arrivals(project_id, tmp_path):
    project = component(
        project_id=project_id, arrivals={"mode": "sqs"}, infra={"arrivals": {}}
    ).project(tmp_path)
    assert project.is_announced
    url = f"https://sqs.{REGION}.amazonaws.com/123456789012/{project_id}"
    applied(project_id, "arrivals", QueueUrl=url)
    assert project.queue().url == url


def test_a_project_that_lists_is_not_announced(tmp_path):
    assert not component(infra={"storage": {}}).project(tmp_path).is_announced


def test_the_endpoint_is_that_of_ingestion_unless_the_yaml_has_one(project_id, tmp_path):
    written = {"project_id": project_id, "infra": {"network": NETWORK, "ingestion": INGESTION}}
    applied(project_id, "ingestion", Endpoint="http://lb.example.com/collect")
    assert component(written).project(tmp_path).endpoint() == "http://lb.example.com/collect"
    named = component(written, collector={"endpoint": "https://a.example.com/in"})
    assert named.project(tmp_path).endpoint() == "https://a.example.com/in"
    assert component().project(tmp_path).endpoint() is None


def warehouse(project_id, tmp_path, **block):
    found = component(
        project_id=project_id,
        warehouses=[{"engine": "redshift", "redshift": {**REDSHIFT["redshift"], **block}}],
        infra={"network": NETWORK, "redshift": {"existing": bool(block), **ARN[bool(block)]}},
    )
    (one,) = found.warehouses
    project = found.project(tmp_path)
    return one.redshift.warehouse(project, tmp_path), one.redshift.copy_settings()


ARN = {
    True: {"workgroup_arn": f"arn:aws:redshift-serverless:{REGION}:123456789012:workgroup/1"},
    False: {},
}


def test_host_secret_and_role_are_those_of_redshift(project_id, tmp_path):
    secret = boto3.client("secretsmanager", region_name=REGION).create_secret(
        Name=project_id, SecretString=json.dumps({"username": "admin", "password": "hidden"})
    )["ARN"]
    found, copy = warehouse(project_id, tmp_path)
    # dbt parses before the stack is there.
    assert found.environment()["CLICKSTREAM_REDSHIFT_WORKGROUP"] == f"clickstream-{project_id}"
    assert found.environment()["CLICKSTREAM_REDSHIFT_HOST"] == "redshift.invalid"
    role = "arn:aws:iam::123456789012:role/copy"
    applied(project_id, "redshift", Host="h.example.com", SecretArn=secret, CopyRoleArn=role)
    assert found.credentials() == {
        "CLICKSTREAM_REDSHIFT_HOST": "h.example.com",
        "CLICKSTREAM_REDSHIFT_METHOD": "database",
        "CLICKSTREAM_REDSHIFT_USER": "admin",
        "DBT_ENV_SECRET_REDSHIFT_PASSWORD": "hidden",
    }
    assert copy.role is None
    assert found.copy_settings(copy).role == role


def test_a_namespace_without_a_secret_is_signed_in_to_with_iam(project_id, tmp_path):
    found, _ = warehouse(project_id, tmp_path)
    applied(project_id, "redshift", Host="h.example.com")
    assert found.credentials() == {
        "CLICKSTREAM_REDSHIFT_HOST": "h.example.com",
        "CLICKSTREAM_REDSHIFT_METHOD": "iam_role",
    }


def test_a_warehouse_that_was_there_has_its_own_host_and_the_stacks_role(project_id, tmp_path):
    found, copy = warehouse(project_id, tmp_path, workgroup="team", host="team.example.com")
    role = "arn:aws:iam::123456789012:role/copy"
    applied(project_id, "redshift", CopyRoleArn=role)
    assert found.environment()["CLICKSTREAM_REDSHIFT_HOST"] == "team.example.com"
    assert found.credentials() == {"CLICKSTREAM_REDSHIFT_METHOD": "iam_role"}
    assert found.copy_settings(copy).role == role


def test_the_work_group_of_a_stack_is_left_as_that_has_made_it(project_id, tmp_path):
    athena = boto3.client("athena", region_name=REGION)
    place = {"OutputLocation": "s3://shop-data/results/"}
    athena.create_work_group(
        Name=project_id,
        Configuration={"BytesScannedCutoffPerQuery": 20_000_000, "ResultConfiguration": place},
    )
    found = component(project_id=project_id, warehouses=[ATHENA], infra={"athena": True})
    (one,) = found.warehouses
    project = found.project(tmp_path)
    asset = athena_saved_queries(
        project, one.athena.warehouse(project, tmp_path), one.athena.group(project_id)
    )
    done = dg.materialize([asset], instance=dg.DagsterInstance.ephemeral())
    (event,) = done.get_asset_materialization_events()
    told = event.materialization.metadata
    assert (told["work_group"].value, told["changed"].value) == (project_id, False)
    assert len(told["changed_queries"].value) == 10
    held = athena.get_work_group(WorkGroup=project_id)["WorkGroup"]["Configuration"]
    assert held["BytesScannedCutoffPerQuery"] == 20_000_000
