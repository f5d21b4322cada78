"""Stacks are made, changed, rolled back and made again; an apply can be run again at any moment."""

import threading
from io import StringIO

import boto3
import pytest
from rich.console import Console

from clickstream_dagster.infra import infrastructure as infrastructure_module
from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.destroy import destroy
from clickstream_dagster.infra.lock import LockError, ProjectLock
from clickstream_dagster.infra.outputs import outputs_of
from clickstream_dagster.infra.plan import make_plan
from clickstream_dagster.infra.show import show_plan
from clickstream_dagster.infra.stacks import Event, StackError, Stacks
from tests.infra.cloudformation_edge import CloudFormationEdge
from tests.infra.small import Small
from tests.served import eventually


def outcomes(small: Small, **options: object) -> list[tuple[str, str]]:
    return [(one.module, one.outcome) for one in apply(small.infrastructure(), **options)]


def status(small: Small, module: str) -> str | None:
    stack = Stacks(small.infrastructure().access).find(small.infrastructure().stack_name(module))
    return stack.status if stack else None


def physical_ids(small: Small, module: str) -> dict[str, str]:
    found = Stacks(small.infrastructure().access).resources(
        small.infrastructure().stack_name(module)
    )
    return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}


def test_stacks_are_made_in_order_with_outputs_of_those_before(small: Small) -> None:
    told: list[tuple[str, object]] = []
    assert outcomes(small, tell=lambda module, what: told.append((module, what))) == [
        ("storage", "created"),
        ("arrivals", "created"),
    ]
    infra = small.infrastructure()
    boto3.client("s3").head_bucket(Bucket=small.bucket)
    stack = Stacks(infra.access).find(infra.stack_name("arrivals"))
    assert stack.parameters["Bucket"] == small.bucket
    assert stack.tags["clickstream:project"] == small.project_id
    assert stack.tags["clickstream:module"] == "arrivals"
    statuses = [
        (module, what.logical_id, what.status) for module, what in told if isinstance(what, Event)
    ]
    assert ("storage", "Bucket", "CREATE_COMPLETE") in statuses
    assert ("arrivals", "AppQueueWeb", "CREATE_COMPLETE") in statuses
    assert [one for one in told if isinstance(one[1], str)] == [
        ("storage", "created"),
        ("arrivals", "created"),
    ]
    assert outputs_of(small.project_id, "storage", infra.access) == {"DataBucket": small.bucket}


def test_a_second_apply_finds_nothing_to_do(small: Small) -> None:
    outcomes(small)
    assert outcomes(small) == [("storage", "unchanged"), ("arrivals", "unchanged")]


def test_another_app_changes_its_resource_and_nothing_else(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    outcomes(small)
    before = physical_ids(small, "arrivals")
    cloudformation.executed.clear()
    small.apps = ("web", "phone")
    assert outcomes(small) == [("storage", "unchanged"), ("arrivals", "updated")]
    name = small.infrastructure().stack_name("arrivals")
    assert cloudformation.executed == [(name, [("Add", "AppQueuePhone")])]
    after = physical_ids(small, "arrivals")
    assert after.keys() - before.keys() == {"AppQueuePhone"}
    assert before.items() <= after.items()
    names = boto3.client("sqs").list_queues(QueueNamePrefix=small.project_id)["QueueUrls"]
    assert {url.rpartition("/")[2] for url in names} == {
        f"{small.project_id}-web",
        f"{small.project_id}-phone",
    }


def test_one_module_alone_needs_those_before_it(small: Small) -> None:
    with pytest.raises(StackError, match=r"takes DataBucket from storage, .*--module storage"):
        outcomes(small, names=["arrivals"])
    assert outcomes(small, names=["storage"]) == [("storage", "created")]
    assert outcomes(small, names=["arrivals"]) == [("arrivals", "created")]


def test_a_failed_creation_tells_the_first_cause_and_is_made_again(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    cloudformation.failing = {"Queue": "You have too many queues"}
    with pytest.raises(StackError) as failure:
        outcomes(small)
    assert "is ROLLBACK_COMPLETE now: Queue (AWS::SQS::Queue): You have too many" in str(
        failure.value
    )
    assert ProjectLock(small.project_id, small.infrastructure().access).holder() is None
    (storage, arrivals) = make_plan(small.infrastructure()).modules
    assert storage.state == "unchanged"
    assert arrivals.state == "failed"
    assert "apply deletes it and creates it again" in arrivals.notes[0]
    cloudformation.failing = {}
    assert outcomes(small) == [("storage", "unchanged"), ("arrivals", "created")]


def test_a_failed_update_is_rolled_back_and_can_be_applied_again(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    outcomes(small)
    small.seconds = "45"
    cloudformation.failing = {"Queue": "Invalid value 45"}
    with pytest.raises(StackError, match=r"UPDATE_ROLLBACK_COMPLETE now: Queue .*Invalid value 45"):
        outcomes(small)
    cloudformation.failing = {}
    assert outcomes(small) == [("storage", "unchanged"), ("arrivals", "updated")]


def test_a_rollback_that_is_stuck_is_continued(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    outcomes(small)
    small.seconds = "45"
    cloudformation.failing = {"Queue": "Invalid value 45"}
    cloudformation.stuck = {"AppQueueWeb": "Access denied"}
    with pytest.raises(StackError, match="is UPDATE_ROLLBACK_FAILED now: Queue"):
        outcomes(small)
    (_, arrivals) = make_plan(small.infrastructure()).modules
    assert "continues its rollback" in arrivals.notes[0]
    cloudformation.failing = {}
    with pytest.raises(StackError, match=r"FAILED now: AppQueueWeb .*Access denied"):
        outcomes(small)
    cloudformation.stuck = {}
    assert outcomes(small) == [("storage", "unchanged"), ("arrivals", "updated")]


def test_a_stack_that_is_at_work_is_waited_for(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    """As after a killed apply: CloudFormation goes on by itself."""
    infra = small.infrastructure()
    cloudformation.gate.clear()
    first = threading.Thread(target=lambda: apply(infra, ["storage"]))
    first.start()
    while status(small, "storage") != "CREATE_IN_PROGRESS":
        pass
    (planned,) = _plan_without_lock(small)
    assert planned == "at work"
    ProjectLock(small.project_id, infra.access).break_it()
    told: list[object] = []

    def tell(module: str, what: object) -> None:
        told.append(what)
        cloudformation.gate.set()

    assert outcomes(small, tell=tell)[0] == ("storage", "unchanged")
    assert told[0] == f"{infra.stack_name('storage')} is CREATE_IN_PROGRESS: waiting for its end"
    first.join()


def _plan_without_lock(small: Small) -> list[str]:
    infra = small.infrastructure()
    with pytest.raises(LockError, match=r"locked by .* since .* \(apply\)"):
        make_plan(infra, ["storage"])
    ProjectLock(small.project_id, infra.access).break_it()
    return [one.state for one in make_plan(infra, ["storage"]).modules]


def test_a_stack_that_others_have_made_is_left_alone(small: Small) -> None:
    name = small.infrastructure().stack_name("storage")
    boto3.client("cloudformation").create_stack(
        StackName=name, TemplateBody='{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}'
    )
    eventually(lambda: status(small, "storage") == "CREATE_COMPLETE", 30)
    with pytest.raises(StackError, match=f"the stack {name} belongs to others"):
        outcomes(small)
    boto3.client("cloudformation").delete_stack(StackName=name)


def test_a_deletion_that_failed_is_done_again_before_the_stack_is_made(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    outcomes(small)
    cloudformation.undeletable = {"Queue": "it is in use"}
    with pytest.raises(StackError, match=r"can't be deleted: Queue \(AWS::SQS::Queue\): it is in"):
        destroy(small.infrastructure(), ["arrivals"])
    assert status(small, "arrivals") == "DELETE_FAILED"
    with pytest.raises(StackError, match="can't be deleted: Queue"):
        outcomes(small)
    cloudformation.undeletable = {}
    assert outcomes(small)[1] == ("arrivals", "created")


def test_what_a_killed_plan_has_left_is_in_nobodys_way(small: Small) -> None:
    infra = small.infrastructure()
    name = infra.stack_name("storage")
    boto3.client("cloudformation").create_change_set(
        StackName=name,
        ChangeSetName="left",
        ChangeSetType="CREATE",
        TemplateBody='{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}',
        Tags=[{"Key": key, "Value": value} for key, value in infra.stack_tags("storage").items()],
    )
    assert status(small, "storage") == "REVIEW_IN_PROGRESS"
    assert make_plan(infra).modules[0].state == "new"
    assert outcomes(small)[0] == ("storage", "created")


def test_what_a_failed_creation_retains_is_told_before_it_is_made_again(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    small.edit("storage", "RetainExceptOnCreate", "Retain")
    outcomes(small, names=["storage"])
    name = small.infrastructure().stack_name("storage")
    cloudformation.set_status(name, "ROLLBACK_COMPLETE")
    message = f"creation of {name} had failed and left behind AWS::S3::Bucket {small.bucket}: "
    with pytest.raises(StackError, match=message):
        outcomes(small)
    assert status(small, "storage") is None
    boto3.client("s3").delete_bucket(Bucket=small.bucket)
    assert outcomes(small)[0] == ("storage", "created")


def test_a_long_template_and_code_go_by_way_of_s3(
    small: Small, make_bucket: object, tmp_path: object
) -> None:
    bucket = make_bucket()
    small.edit("queues", "Outputs:", f"Metadata: {{Long: {'x' * 60_000}}}\nOutputs:")
    small.edit("queues", "Conditions:", "  Code: {Type: String, Description: Key.}\nConditions:")
    small.code = {"Code": "lambda/kinesis_to_s3"}
    with pytest.raises(Exception, match="write a bucket for artifacts"):
        outcomes(small)
    small.artifacts = bucket.address("deploy")
    assert outcomes(small)[1] == ("arrivals", "created")
    keys = [one["Key"] for one in bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]]
    prefix = f"deploy/infra/{small.project_id}/"
    assert [key.startswith(prefix) for key in keys] == [True, True]
    assert sorted(key.rpartition(".")[2] for key in keys) == ["yaml", "zip"]
    assert outcomes(small)[1] == ("arrivals", "unchanged")
    again = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    assert len(again) == 2


def test_an_upgrade_of_the_templates_keeps_what_is_stateful(
    small: Small, cloudformation: CloudFormationEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloudformation.replacing = {"AWS::S3::Bucket": {"BucketName"}}
    monkeypatch.setattr(infrastructure_module, "__version__", "0.0.1")
    outcomes(small)
    before = physical_ids(small, "storage")
    monkeypatch.setattr(infrastructure_module, "__version__", "0.0.2")
    small.edit("storage", "Outputs:", "  Queue:\n    Type: AWS::SQS::Queue\nOutputs:")
    plan = make_plan(small.infrastructure())
    (storage, _) = plan.modules
    console = Console(width=200, record=True, file=StringIO())
    show_plan(console, plan)
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert "~ tags only 1 resource" in lines
    assert "+ AWS::SQS::Queue Queue" in lines
    assert "templates of version 0.0.1 become those of 0.0.2" in storage.notes
    assert not storage.losses
    assert outcomes(small)[0] == ("storage", "updated")
    assert before.items() <= physical_ids(small, "storage").items()
    stack = Stacks(small.infrastructure().access).of_project(small.project_id)["storage"]
    assert stack.tags["clickstream:version"] == "0.0.2"
    # A next version that would make the bucket anew is refused, and nothing is changed by it.
    small.edit("storage", "BucketName: !Ref DataBucket", 'BucketName: !Sub "${DataBucket}-v3"')
    with pytest.raises(StackError, match=r"refused: storage\.Bucket"):
        outcomes(small)
    assert before.items() <= physical_ids(small, "storage").items()
    boto3.client("s3").head_bucket(Bucket=small.bucket)


def test_a_loss_that_is_allowed_by_name_happens(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    small.fixed = {}
    outcomes(small)
    cloudformation.replacing = {"AWS::S3::Bucket": {"BucketName"}}
    small.bucket += "-other"
    assert outcomes(small, allowed=["storage.Bucket"])[0] == ("storage", "updated")
