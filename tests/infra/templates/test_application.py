"""An application that works is not changed: plan says so, apply refuses before any change."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from io import StringIO

import boto3
import pytest
from botocore.stub import Stubber
from rich.console import Console
from typer.testing import CliRunner

from clickstream_dagster import projects
from clickstream_dagster.cli import app
from clickstream_dagster.errors import InfraError
from clickstream_dagster.infra import application as application_module
from clickstream_dagster.infra.application import application_at_work
from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.plan import ModulePlan, make_plan
from clickstream_dagster.infra.show import show_plan
from clickstream_dagster.infra.stacks import Event, Stacks
from tests.infra.cloudformation_edge import CloudFormationEdge
from tests.infra.templates.one import One
from tests.infra.templates.test_schema import ARTIFACTS, LAKE, RAW

ADDED = {"team": "growth"}
"""A tag more: it changes every resource, as a new version of the templates does."""


@dataclass
class Applied:
    """A project of a queue and an application, which is started."""

    infrastructure: Infrastructure
    application: str

    def state(self) -> str:
        found = boto3.client("emr-serverless").get_application(applicationId=self.application)
        return found["application"]["state"]

    def tagged(self) -> Infrastructure:
        return replace(self.infrastructure, tags=ADDED)

    def plan(self, infrastructure: Infrastructure) -> ModulePlan:
        (found,) = (one for one in make_plan(infrastructure).modules if one.module == "processing")
        return found


@pytest.fixture
def started(make: Callable[..., One], cloudformation: CloudFormationEdge) -> Applied:
    one = make("processing", **RAW, **LAKE, **ARTIFACTS)
    queue = replace(make("arrivals", **RAW).module, parameters={**RAW, "ProjectId": one.project_id})
    infrastructure = replace(one.infrastructure(), modules=(queue, one.module))
    apply(infrastructure)
    application = one.outputs()["ApplicationId"]
    boto3.client("emr-serverless").start_application(applicationId=application)
    cloudformation.executed.clear()
    return Applied(infrastructure, application)


def test_apply_refuses_before_any_module_is_changed(
    started: Applied, cloudformation: CloudFormationEdge
) -> None:
    with pytest.raises(InfraError) as refusal:
        apply(started.tagged())
    assert str(refusal.value) == (
        f"infra.processing: the application {started.application} is STARTED, and AWS changes it "
        "only while it is stopped: apply again when it has stopped, infra.processing.idle_minutes "
        "after its last job run; or stop it between two, which AWS refuses while one runs: `aws "
        "emr-serverless stop-application --region us-east-1 --application-id "
        f"{started.application}`. Other modules go with --module"
    )
    assert cloudformation.executed == []
    assert started.state() == "STARTED"


def test_the_plan_shows_what_changes_and_that_it_can_not_be_done_now(started: Applied) -> None:
    planned = started.plan(started.tagged())
    assert "SparkApplication" in {one.logical_id for one in planned.resources}
    assert planned.not_now is not None
    out = StringIO()
    show_plan(Console(file=out, width=2_000), make_plan(started.tagged()))
    assert f"apply refuses now: {planned.not_now}" in out.getvalue()


def test_the_command_refuses_before_it_asks(
    started: Applied, cloudformation: CloudFormationEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed = projects.DeployedInfrastructure(started.tagged(), 1.0)
    monkeypatch.setattr(projects, "deployed_infrastructure", lambda project_id: deployed)
    done = CliRunner().invoke(app, ["infra", "apply", started.infrastructure.project_id])
    assert done.exit_code == 1
    assert f"the application {started.application} is STARTED" in done.output
    assert "Apply this?" not in done.output
    assert cloudformation.executed == []


def test_other_modules_are_applied_while_it_works(started: Applied) -> None:
    (done,) = apply(started.tagged(), ["arrivals"])
    assert done.outcome == "updated"


def test_what_does_not_change_it_is_applied_while_it_works(started: Applied) -> None:
    assert [one.outcome for one in apply(started.infrastructure)] == ["unchanged", "unchanged"]
    queue, processing = started.infrastructure.modules
    parameters = {**processing.parameters, "RawPrefix": "other/"}
    changed = replace(
        started.infrastructure, modules=(queue, replace(processing, parameters=parameters))
    )
    assert started.plan(changed).not_now is None
    assert [one.outcome for one in apply(changed)] == ["unchanged", "updated"]


def test_a_stopped_application_is_changed(started: Applied) -> None:
    boto3.client("emr-serverless").stop_application(applicationId=started.application)
    assert started.plan(started.tagged()).not_now is None
    assert [one.outcome for one in apply(started.tagged())] == ["updated", "updated"]


def test_an_application_that_starts_meanwhile_is_not_changed(
    started: Applied, cloudformation: CloudFormationEdge
) -> None:
    client = boto3.client("emr-serverless")
    client.stop_application(applicationId=started.application)

    def start(module: str, what: Event | str) -> None:
        if (module, what) == ("arrivals", "updated"):
            client.start_application(applicationId=started.application)

    with pytest.raises(InfraError, match=f"the application {started.application} is STARTED"):
        apply(started.tagged(), tell=start)
    names = [name for name, _ in cloudformation.executed]
    assert names == [started.infrastructure.stack_name("arrivals")]
    stack = started.infrastructure.stack_name("processing")
    left = boto3.client("cloudformation").list_change_sets(StackName=stack)
    # moto gives those of all stacks.
    assert [one for one in left["Summaries"] if f"/{stack}/" in one["StackId"]] == []


def test_what_is_neither_stopped_nor_new_is_at_work(
    started: Applied, monkeypatch: pytest.MonkeyPatch
) -> None:
    # moto knows two states: the answers are those that AWS documents.
    client, access = boto3.client("emr-serverless"), started.infrastructure.access
    found = client.get_application(applicationId=started.application)["application"]
    described = {name: value for name, value in found.items() if name != "stateDetails"}
    stacks = Stacks(access)
    stack = stacks.find(started.infrastructure.stack_name("processing"))
    assert stack is not None
    monkeypatch.setattr(application_module, "client_of", lambda access, service: client)

    def told(state: str) -> str | None:
        with Stubber(client) as stub:
            stub.add_response("get_application", {"application": {**described, "state": state}})
            return application_at_work(stack, stacks, access)

    for state in ("STARTING", "STARTED", "STOPPING"):
        assert f"the application {started.application} is {state}," in (told(state) or "")
    for state in ("CREATED", "STOPPED", "TERMINATED"):
        assert told(state) is None
    with Stubber(client) as stub:
        stub.add_client_error("get_application", "ResourceNotFoundException")
        assert application_at_work(stack, stacks, access) is None
    with Stubber(client) as stub:
        stub.add_client_error("get_application", "AccessDeniedException")
        with pytest.raises(InfraError, match="allow emr-serverless:GetApplication"):
            application_at_work(stack, stacks, access)
