"""What a plan tells, and that it leaves nothing behind."""

from io import StringIO

import boto3
import pytest
from rich.console import Console

from clickstream_dagster.errors import SettingError
from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.module import Module, Output
from clickstream_dagster.infra.plan import Plan, make_plan
from clickstream_dagster.infra.show import show_plan
from clickstream_dagster.infra.stacks import StackError
from clickstream_dagster.infra.template import TemplateError
from tests.infra.cloudformation_edge import CloudFormationEdge
from tests.infra.small import Small


def shown(plan: Plan) -> str:
    console = Console(width=200, record=True, file=StringIO())
    show_plan(console, plan)
    return console.export_text()


def acts(plan: Plan, module: str) -> list[tuple[str, str]]:
    (found,) = (one for one in plan.modules if one.module == module)
    return [(one.act, one.logical_id) for one in found.resources]


def stack_names(small: Small) -> list[str]:
    stacks = boto3.client("cloudformation").describe_stacks()["Stacks"]
    dashed = small.project_id.replace("_", "-")
    return [one["StackName"] for one in stacks if one["StackName"].endswith(dashed)]


def test_of_a_new_project_all_is_added_in_order_of_need_and_nothing_is_left(small: Small) -> None:
    plan = make_plan(small.infrastructure())
    assert [(one.module, one.state) for one in plan.modules] == [
        ("storage", "new"),
        ("arrivals", "new"),
    ]
    assert acts(plan, "storage") == [("add", "Bucket")]
    # What storage gives is not known yet, so CloudFormation can't be asked: the template tells.
    assert acts(plan, "arrivals") == [("add", "Queue"), ("add", "AppQueueWeb")]
    text = shown(plan)
    assert "known after apply: Bucket" in text
    assert "if Named" in text
    assert "Plan: 3 to add, 0 to change, 0 to remove." in text
    assert stack_names(small) == []
    assert plan.has_changes


def test_an_applied_project_has_nothing_to_change(small: Small) -> None:
    apply(small.infrastructure())
    plan = make_plan(small.infrastructure())
    assert not plan.has_changes
    assert "Nothing to change." in shown(plan)


def test_a_change_is_shown_with_its_parameter_from_what_to_what(small: Small) -> None:
    apply(small.infrastructure())
    small.seconds = "45"
    text = shown(make_plan(small.infrastructure()))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "parameter Seconds 30 → 45" in lines
    assert "~ AWS::SQS::Queue Queue Queue-as-it-is" in lines
    assert "VisibilityTimeout 30 → 45 (by parameter Seconds)" in lines
    assert "Plan: 0 to add, 1 to change, 0 to remove." in lines
    assert make_plan(small.infrastructure()).has_changes  # the change set was thrown away


def test_another_app_is_one_added_resource_and_nothing_else(small: Small) -> None:
    apply(small.infrastructure())
    small.apps = ("web", "phone")
    plan = make_plan(small.infrastructure())
    assert acts(plan, "arrivals") == [("add", "AppQueuePhone")]
    assert acts(plan, "storage") == []
    apply(small.infrastructure())
    small.apps = ("phone",)
    assert acts(make_plan(small.infrastructure()), "arrivals") == [("remove", "AppQueueWeb")]


def test_the_replacement_of_a_bucket_is_marked_and_refused(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    small.fixed = {}
    apply(small.infrastructure())
    cloudformation.replacing = {"AWS::S3::Bucket": {"BucketName"}}
    small.bucket += "-other"
    plan = make_plan(small.infrastructure())
    assert plan.refused(()) == ("storage.Bucket",)
    assert plan.refused(["storage.Bucket"]) == ()
    text = " ".join(shown(plan).split())
    assert "-/+ AWS::S3::Bucket Bucket" in text
    assert "holds data; AWS keeps the old one" in text
    assert "--allow-loss storage.Bucket" in text
    with pytest.raises(StackError, match=r"refused: storage\.Bucket .* --allow-loss"):
        apply(small.infrastructure())


def test_a_replacement_that_may_come_is_marked_too(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    small.fixed = {}
    apply(small.infrastructure())
    cloudformation.perhaps = {"AWS::S3::Bucket": {"BucketName"}}
    small.bucket += "-other"
    plan = make_plan(small.infrastructure())
    assert acts(plan, "storage") == [("may replace", "Bucket")]
    assert plan.refused(()) == ("storage.Bucket",)


def test_the_removal_of_what_a_template_retains_is_refused(small: Small) -> None:
    small.edit(
        "storage",
        "Outputs:",
        "  Old:\n    Type: AWS::SQS::Queue\n    DeletionPolicy: Retain\nOutputs:",
    )
    apply(small.infrastructure())
    small.edit("storage", "  Old:\n    Type: AWS::SQS::Queue\n    DeletionPolicy: Retain\n", "")
    assert make_plan(small.infrastructure()).refused(()) == ("storage.Old",)


def test_a_fixed_parameter_is_refused_with_the_reason_before_any_change_set(small: Small) -> None:
    apply(small.infrastructure())
    old = small.bucket
    small.bucket = "another-bucket"
    message = rf"DataBucket \(Name of the bucket of data\) can't change from '{old}' to 'another-"
    message += rf"bucket', raw: data is in it: write '{old}' again"
    with pytest.raises(SettingError, match=message):
        make_plan(small.infrastructure())
    with pytest.raises(SettingError, match=message):
        apply(small.infrastructure())


def test_stacks_that_the_settings_no_longer_name_are_listed(small: Small) -> None:
    apply(small.infrastructure())
    small.modules = ("storage",)
    plan = make_plan(small.infrastructure())
    assert [(one.module, one.state) for one in plan.modules] == [
        ("storage", "unchanged"),
        ("arrivals", "removed"),
    ]
    assert plan.has_changes
    assert acts(plan, "arrivals") == [("remove", "Queue"), ("remove", "AppQueueWeb")]
    assert "not in the settings any more: arrivals" in shown(plan)


def test_only_the_named_module_is_planned(small: Small) -> None:
    plan = make_plan(small.infrastructure(), ["storage"])
    assert [one.module for one in plan.modules] == ["storage"]
    with pytest.raises(SettingError, match="has no module 'redshift': it has storage, arrivals"):
        make_plan(small.infrastructure(), ["redshift"])


def test_secret_parameters_are_not_shown(small: Small) -> None:
    small.edit("queues", "Seconds: {Type: Number", "Seconds: {Type: Number, NoEcho: true")
    apply(small.infrastructure())
    small.seconds = "45"
    plan = make_plan(small.infrastructure(), ["arrivals"])
    assert plan.modules[0].parameters == ()


def test_modules_that_need_what_is_not_there_or_each_other_are_refused() -> None:
    lonely = Module("arrivals", "a.yaml", {"Bucket": Output("storage", "DataBucket")})
    with pytest.raises(SettingError, match="arrivals needs storage: write it to infra, too"):
        Infrastructure("shop", (lonely,))
    back = Module("storage", "s.yaml", {"Url": Output("arrivals", "Url")})
    with pytest.raises(SettingError, match="need each other"):
        Infrastructure("shop", (lonely, back))


def test_a_name_that_is_too_long_for_aws_is_refused() -> None:
    module = Module("storage", "storage.yaml", {})
    with pytest.raises(SettingError, match="use a shorter project_id"):
        Infrastructure("p" * 127, (module,))
    assert Infrastructure("a_shop", (module,)).stack_name("storage") == "Clickstream-storage-a-shop"


def test_parameters_that_the_template_does_not_have_or_misses_are_told(small: Small) -> None:
    small.edit("queues", "Seconds: {Type: Number", "Minutes: {Type: Number")
    small.edit("queues", "!Ref Seconds", "!Ref Minutes")
    with pytest.raises(TemplateError, match="has no parameter Seconds"):
        make_plan(small.infrastructure())
