"""A message tells which objects have been created; what is no message of S3 is told apart."""

import json

import pytest

from clickstream_dagster.batches.notifications import (
    Creation,
    UnreadableMessageError,
    read_message,
)


def record(key: str = "raw/a.gz", event: str = "ObjectCreated:Put", **told: object) -> dict:
    return {
        "eventSource": "aws:s3",
        "eventTime": "2026-11-21T08:00:01.500Z",
        "eventName": event,
        "s3": {
            "bucket": {"name": "shop"},
            "object": {"key": key, "size": 7, "eTag": "5d41", **told},
        },
    }


CREATED = Creation("shop", "raw/a.gz", 7, "5d41", 1_795_248_001_500)


def test_each_record_of_a_message_is_an_object():
    body = json.dumps({"Records": [record(), record("raw/b.gz", "ObjectCreated:Copy")]})
    assert [one.key for one in read_message(body)] == ["raw/a.gz", "raw/b.gz"]
    assert read_message(body)[0] == CREATED


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("raw/year%3D2026/red+flower.gz", "raw/year=2026/red flower.gz"),
        ("raw%2Fa%2Bb.gz", "raw/a+b.gz"),
        ("raw/%C3%BC%25.gz", "raw/ü%.gz"),
    ],
)
def test_keys_are_decoded(sent, key):
    assert read_message(json.dumps({"Records": [record(sent)]}))[0].key == key


def test_other_servers_of_the_protocol_are_understood():
    body = {"EventName": "s3:ObjectCreated:Put", "Records": [record(event="s3:ObjectCreated:Put")]}
    assert read_message(json.dumps(body)) == [CREATED]


def test_a_message_that_came_by_sns_is_unwrapped():
    inner = json.dumps({"Records": [record()]})
    assert read_message(json.dumps({"Type": "Notification", "Message": inner})) == [CREATED]


def test_an_event_of_eventbridge_has_its_key_as_it_is():
    event = {
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": "2026-11-21T08:00:01Z",
        "detail": {
            "bucket": {"name": "shop"},
            "object": {"key": "raw/a+b%20.gz", "size": 7, "etag": "5d41"},
        },
    }
    assert read_message(json.dumps(event)) == [
        Creation("shop", "raw/a+b%20.gz", 7, "5d41", 1_795_248_001_000)
    ]
    assert read_message(json.dumps({**event, "detail-type": "Object Deleted"})) == []


@pytest.mark.parametrize(
    "message",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "shop"},
        {"Records": []},
        {"Records": [record(event="ObjectRemoved:Delete")]},
        {"Records": [{"eventName": "ObjectRestore:Completed"}]},
    ],
)
def test_test_events_and_other_events_tell_of_no_object(message):
    assert read_message(json.dumps(message)) == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "[]",
        "1",
        "{}",
        '{"Records": {}}',
        '{"Records": [1]}',
        '{"Records": [{"eventName": "ObjectCreated:Put"}]}',
        json.dumps({"Records": [record("")]}),
        json.dumps({"Records": [record("raw/%FF.gz")]}),
        json.dumps({"Records": [record(size="many")]}),
        json.dumps({"Records": [record(size=float("inf"))]}),
        '{"Records": ' + "[" * 100_000,
        json.dumps({"Records": [{**record(), "eventTime": "yesterday"}]}),
        '{"detail-type": "Object Created"}',
        '{"Type": "Notification", "Message": "hello"}',
    ],
)
def test_what_is_no_notification_is_told_apart(body):
    with pytest.raises(UnreadableMessageError):
        read_message(body)
