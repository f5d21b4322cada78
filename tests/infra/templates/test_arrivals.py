"""The template of arrivals: what S3 tells EventBridge comes to the sensor's queue."""

import json
import uuid

import boto3

from clickstream_dagster.batches.notifications import read_message
from tests.infra.templates.deployed import deployed, known_part, made, template_of

PARAMETERS = {"ProjectId": "shop", "RawBucket": "shop-raw", "RawPrefix": "clickstream/shop/"}


def event(key: str) -> dict:
    """An event of S3 as EventBridge has it (Amazon S3, "Event message structure")."""
    return {
        "Source": "aws.s3",
        "DetailType": "Object Created",
        "Detail": json.dumps(
            {
                "version": "0",
                "bucket": {"name": "shop-raw"},
                "object": {
                    "key": key,
                    "size": 1024,
                    "etag": "b1946ac92492d2347c6235b4d2611184",
                    "sequencer": "00617F08299329D189",
                },
                "request-id": uuid.uuid4().hex,
                "requester": "123456789012",
                "source-ip-address": "10.0.0.1",
                "reason": "PutObject",
            }
        ),
    }


def test_new_raw_files_come_to_the_queue_and_others_do_not(aws: str) -> None:
    template = template_of("arrivals")
    raw = "clickstream/shop/year=2026/month=11/day=28/hour=14/1795876800-0.log.gz"
    with deployed(known_part(template, PARAMETERS), PARAMETERS) as stack:
        outputs = stack.outputs()
        boto3.client("events").put_events(Entries=[event("other/1.gz"), event(raw)])
        sqs = boto3.client("sqs")
        messages = sqs.receive_message(QueueUrl=outputs["QueueUrl"], MaxNumberOfMessages=10)
        (message,) = messages["Messages"]
        (created,) = read_message(message["Body"])
        assert (created.bucket, created.key) == ("shop-raw", raw)

        attributes = sqs.get_queue_attributes(QueueUrl=outputs["QueueUrl"], AttributeNames=["All"])[
            "Attributes"
        ]
        redrive = json.loads(attributes["RedrivePolicy"])
        assert redrive["deadLetterTargetArn"].endswith(outputs["FailedQueueName"])
        assert int(redrive["maxReceiveCount"]) == 5
        assert attributes["MessageRetentionPeriod"] == "1209600"


def test_only_the_rule_may_send() -> None:
    statements = made(template_of("arrivals"), PARAMETERS)["QueuePolicy"]["Properties"][
        "PolicyDocument"
    ]["Statement"]
    (allowed,) = [one for one in statements if one["Effect"] == "Allow"]
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    assert allowed["Action"] == "sqs:SendMessage"
    assert list(allowed["Condition"]["ArnEquals"]) == ["aws:SourceArn"]
