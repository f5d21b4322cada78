"""A run becomes a task on ECS, with the rights of the daemon's role and no others."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
import yaml

from tests.answering import Answer, answering
from tests.infra.templates.one import listed
from tests.infra.templates.policy import text_of
from tests.infra.templates.policy_iam import identity_statements
from tests.infra.templates.written import FOLDER, written

LAUNCHER = yaml.safe_load((FOLDER.parent / "orchestration" / "dagster.yaml").read_text())[
    "run_launcher"
]


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def shop_pipeline() -> None:
    nothing()


@contextmanager
def told_of_task(cluster: str, task: str) -> Iterator[str]:
    """Give the address of what ECS tells a container of its own task."""

    told = json.dumps({"Cluster": cluster, "TaskARN": task}).encode()
    with answering(lambda _: Answer(200, {}, told)) as address:
        yield address


@contextmanager
def asked() -> Iterator[set[str]]:
    """Collect the actions of AWS that are asked for, as IAM names them."""
    from botocore.client import BaseClient

    found: set[str] = set()
    calling = BaseClient._make_api_call

    def call(self: Any, operation: str, arguments: Any) -> Any:
        found.add(f"{self.meta.service_model.signing_name}:{operation}")
        return calling(self, operation, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", call)
        yield found


def rights_of(role: str) -> set[str]:
    """Give the actions that a role of Dagster's stack allows."""
    return {
        action
        for name, statement in identity_statements(written("orchestration.yaml"))
        if name == role
        for action in listed(statement["Action"])
    }


def runnable(definition: str) -> str:
    """Give a copy of a task definition that moto can run: it asks each container for memory."""
    ecs = boto3.client("ecs")
    found = ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
    containers = [{**one, "memory": 512} for one in found["containerDefinitions"]]
    made = ecs.register_task_definition(family=found["family"], containerDefinitions=containers)
    return made["taskDefinition"]["taskDefinitionArn"]


def test_the_daemon_starts_and_the_webserver_ends_a_run_with_their_own_rights(
    make: Callable[..., Any],
    vpc: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from dagster._core.launcher import LaunchRunContext
    from dagster._core.test_utils import instance_for_test

    one = make("orchestration", **vpc, Image="clickstream", LogsBucket="logs")
    assert one.apply() == "created"
    ids, ecs = one.physical_ids(), boto3.client("ecs")
    network = {
        "subnets": vpc["PrivateSubnetIds"].split(",")[:1],
        "securityGroups": [ids["TasksSecurityGroup"]],
    }
    (daemon,) = ecs.run_task(
        cluster=ids["Cluster"],
        taskDefinition=runnable(ids["DaemonTask"]),
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )["tasks"]
    run_task = runnable(ids["RunTask"])
    monkeypatch.setenv("CLICKSTREAM_RUN_TASK_DEFINITION", run_task)
    job = dg.reconstructable(shop_pipeline)
    with (
        told_of_task(daemon["clusterArn"], daemon["taskArn"]) as address,
        instance_for_test(temp_dir=str(tmp_path), overrides={"run_launcher": LAUNCHER}) as instance,
        asked() as actions,
    ):
        monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", address)
        run = instance.create_run_for_job(shop_pipeline, job_code_origin=job.get_python_origin())
        instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
        started = instance.get_run_by_id(run.run_id)
        task = started.tags["ecs/task_arn"]
        instance.run_launcher.check_run_worker_health(started)
        with asked() as ending:
            assert instance.run_launcher.terminate(run.run_id)

    (made,) = ecs.describe_tasks(cluster=ids["Cluster"], tasks=[task])["tasks"]
    assert made["taskDefinitionArn"] == run_task
    (override,) = made["overrides"]["containerOverrides"]
    assert override["name"] == "run"
    assert override["command"][:3] == ["dagster", "api", "execute_run"]
    assert made["lastStatus"] == "STOPPED"
    assert "ecs:RunTask" in actions
    assert actions <= rights_of("DaemonRole")
    assert "ecs:StopTask" in ending
    assert ending <= rights_of("WebserverRole")


def test_the_run_is_of_the_family_that_the_daemon_may_start() -> None:
    (statement,) = [
        statement
        for name, statement in identity_statements(written("orchestration.yaml"))
        if name == "DaemonRole" and "ecs:RunTask" in listed(statement["Action"])
    ]
    run = written("orchestration.yaml")["Resources"]["RunTask"]["Properties"]
    family = text_of(run["Family"])
    assert text_of(statement["Resource"]).endswith(f":task-definition/{family}:*")
