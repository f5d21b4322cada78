"""What is watched: the dashboard has what the project has, and alarms go off when they should."""

import itertools
import json
from collections.abc import Callable

import boto3
import pytest

from clickstream_dagster.infra.destroy import destroy
from clickstream_dagster.infra.module import Part
from tests.infra.templates.one import One, one_of
from tests.infra.templates.written import written

ALARM = "AWS::CloudWatch::Alarm"
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


def only(*first: str) -> dict[str, str]:
    """Give the parameters of a project that has these modules alone."""
    left_out = {name: "" for name in SECTIONS if name not in first}
    return EVERYTHING | left_out


def headings(body: str) -> list[str]:
    """Give the headings of a dashboard, but for its own."""
    texts = [one["properties"].get("markdown", "") for one in json.loads(body)["widgets"]]
    return [text.removeprefix("## ") for text in texts if text.startswith("## ")]


def test_the_dashboard_is_json_whatever_modules_are_there() -> None:
    for count in range(len(SECTIONS) + 1):
        for chosen in itertools.combinations(SECTIONS, count):
            one = one_of("observability", **only(*chosen))
            (board,) = one.resources("AWS::CloudWatch::Dashboard").values()
            assert headings(board["DashboardBody"]) == [SECTIONS[name] for name in chosen]


def test_each_graph_names_what_it_shows() -> None:
    one = one_of("observability", **EVERYTHING)
    (board,) = one.resources("AWS::CloudWatch::Dashboard").values()
    graphs = [one["properties"] for one in json.loads(board["DashboardBody"])["widgets"]
              if one["type"] == "metric"]  # fmt: skip
    assert len(graphs) > 15
    for graph in graphs:
        assert graph["title"]
        assert graph["region"] in ("us-east-1",)
        for metric in graph["metrics"]:
            if isinstance(metric[0], dict):
                assert metric[0]["expression"].startswith("SEARCH(")
                continue
            named = [part for part in metric if isinstance(part, str)]
            assert len(named) % 2 == 0, f"{metric}: a dimension has no value"
            assert all(named), metric


def test_alarms_tell_the_topic_and_the_topic_tells_people(
    make: Callable[..., One], aws: str
) -> None:
    people = Part("subscription.yaml", "Ops", {"email": "ops@example.com"})
    one = make("observability", people, **EVERYTHING)
    assert one.apply() == "created"
    board = boto3.client("cloudwatch").get_dashboard(DashboardName=one.outputs()["DashboardName"])
    assert headings(board["DashboardBody"]) == list(SECTIONS.values())
    rule = boto3.client("events").describe_rule(Name=one.physical_ids()["FailedJobRun"])
    pattern = json.loads(rule["EventPattern"])
    assert pattern["detail"] == {"applicationId": ["00f1"], "state": ["FAILED"]}
    targets = boto3.client("events").list_targets_by_rule(Rule=rule["Name"])["Targets"]
    assert [target["Arn"] for target in targets] == [one.outputs()["AlarmTopicArn"]]
    topic = boto3.client("sns").get_topic_attributes(TopicArn=one.outputs()["AlarmTopicArn"])
    assert topic["Attributes"]["KmsMasterKeyId"] == one.physical_ids()["TopicKey"]
    for alarm in written("observability.yaml")["Resources"].values():
        if alarm["Type"] == ALARM:
            told = [{"Ref": "AlarmTopic"}]
            assert (alarm["Properties"]["AlarmActions"], alarm["Properties"]["OKActions"]) == (
                told,
                told,
            )
    destroy(one.infrastructure())
    assert not one.is_there()


def test_one_failed_job_run_alarms_and_so_does_silence() -> None:
    one = one_of("observability", **only("ApplicationId"), SilenceHours="6")
    alarms = one.resources(ALARM)
    assert alarms.keys() == {"JobRunsFailed", "NothingProcessed"}
    failed, silent = alarms["JobRunsFailed"], alarms["NothingProcessed"]
    once = ("GreaterThanOrEqualToThreshold", 1, 1)
    assert (failed["ComparisonOperator"], failed["Threshold"], failed["EvaluationPeriods"]) == once
    assert silent["TreatMissingData"] == "breaching"
    assert (silent["ComparisonOperator"], silent["Threshold"]) == ("LessThanThreshold", 1)
    assert (silent["Period"], silent["EvaluationPeriods"]) == (3600, "6")


@pytest.mark.parametrize("name", ["NoCollector", "CollectorsBusy", "SpoolOld", "NoDaemon"])
def test_what_always_runs_alarms_when_it_is_silent(name: str) -> None:
    alarms = one_of("observability", **EVERYTHING).resources(ALARM)
    assert alarms[name]["TreatMissingData"] == "breaching"


def test_batches_in_dagsters_own_tasks_are_watched_where_there_is_no_emr() -> None:
    alone = one_of("observability", **only("DagsterClusterName")).resources(ALARM)
    both = one_of("observability", **only("DagsterClusterName", "ApplicationId")).resources(ALARM)
    assert "NothingProcessedInDagster" in alone
    assert "NothingProcessed" in both
    assert "NothingProcessedInDagster" not in both


@pytest.mark.parametrize("bound", ["MinValue", "MaxValue"])
def test_each_alarm_stays_within_the_bounds_of_cloudwatch(bound: str) -> None:
    """A day of periods below an hour, a week of those from an hour on."""
    parameters = written("observability.yaml")["Parameters"]
    given = {name: str(about[bound]) for name, about in parameters.items() if bound in about}
    for alarm in one_of("observability", **EVERYTHING | given).resources(ALARM).values():
        period = int(alarm.get("Period", 300))
        span = period * int(alarm["EvaluationPeriods"])
        assert span <= (604_800 if period >= 3_600 else 86_400), alarm["AlarmName"]


def test_a_file_may_wait_and_no_longer() -> None:
    alarms = one_of("observability", **only("QueueName"), FileAgeSeconds="720").resources(ALARM)
    assert alarms["FilesWait"]["Threshold"] == "720"
    assert alarms["MessagesFailed"]["Threshold"] == 1


def test_without_modules_there_is_a_topic_and_no_alarm() -> None:
    one = one_of("observability")
    assert one.resources(ALARM) == {}
    assert len(one.resources("AWS::SNS::Topic")) == 1


def test_a_name_is_of_one_alarm() -> None:
    """An update makes the new alarm before it deletes the old one, by its name."""
    resources = written("observability.yaml")["Resources"].values()
    names = [one["Properties"]["AlarmName"]["Fn::Sub"] for one in resources if one["Type"] == ALARM]
    assert len(names) == len(set(names)) > 15


def test_rules_may_publish_though_eventbridge_does_not_tell_for_whom() -> None:
    """It gives topics and their keys neither aws:SourceArn nor aws:SourceAccount."""
    resources = one_of("observability", **EVERYTHING).resources
    (policy,) = resources("AWS::SNS::TopicPolicy").values()
    (key,) = resources("AWS::KMS::Key").values()
    for document in (policy["PolicyDocument"], key["KeyPolicy"]):
        (statement,) = [
            one
            for one in document["Statement"]
            if "events.amazonaws.com" in str(one["Principal"]) and one["Effect"] == "Allow"
        ]
        assert statement["Condition"].keys() == {"StringEqualsIfExists"}
