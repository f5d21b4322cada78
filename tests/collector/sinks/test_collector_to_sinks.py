"""A collector that is killed under load: every acknowledged event is behind each of the sinks."""

import json
import time
import uuid
from collections import Counter

import pytest

from tests.collector.load import Load, event_ids
from tests.collector.running import running_collector
from tests.collector.sinks.kafka_broker import messages_in, served_kafka
from tests.collector.sinks.segments import lines_of

pytestmark = pytest.mark.heavy

SMALL = ("--segment-mb", "1")
YOUNG = (*SMALL, "--segment-seconds", "1")  # an object on S3 has an age of a minute


def killed_and_drained(root, sink: str, options: tuple[str, ...] = YOUNG) -> list[str]:
    """Run, load and kill a collector twice, then drain it; give the acknowledged events."""
    acknowledged: list[str] = []
    for _ in range(2):
        with (
            running_collector(root, *options, "--sink", sink) as collector,
            Load(collector.port) as load,
        ):
            time.sleep(3)
            collector.kill()
        acknowledged += load.acknowledged
    with running_collector(root, *options, "--sink", sink) as collector:
        assert collector.stop() == 0
    assert not list((root / "spool").rglob("*.sealed"))
    return acknowledged


def all_arrived(acknowledged: list[str], lines: list[bytes]) -> None:
    records = [json.loads(line) for line in lines]
    arrived = Counter(event_ids(records))
    assert len(acknowledged) > 50
    assert set(acknowledged) <= arrived.keys()
    by_event: dict[str, set[str]] = {}
    for record in records:
        for event in event_ids([record]):
            by_event.setdefault(event, set()).add(record["rid"])
    assert all(len(rids) == 1 for rids in by_event.values())


def test_s3(tmp_path, bucket):
    acknowledged = killed_and_drained(tmp_path, bucket.address("raw"), SMALL)
    objects = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="raw/")["Contents"]
    bodies = [
        bucket.client.get_object(Bucket=bucket.name, Key=one["Key"])["Body"].read()
        for one in objects
    ]
    lines = [line for body in bodies for line in lines_of(body)]
    assert len(lines) == len(set(lines))  # each segment is one object
    all_arrived(acknowledged, lines)


def test_kinesis(tmp_path, stream):
    acknowledged = killed_and_drained(tmp_path, f"kinesis://{stream.name}")
    all_arrived(acknowledged, [one["Data"] for one in stream.records()])


def test_kafka(tmp_path):
    topic = f"shop-{uuid.uuid4().hex}"
    with served_kafka(tmp_path / "broker") as broker:
        acknowledged = killed_and_drained(tmp_path, f"kafka://{broker.plain}/{topic}")
        all_arrived(acknowledged, [value for _, value, _ in messages_in(broker, topic)])
