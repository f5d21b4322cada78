"""The Kafka sink before a real broker: a segment is taken when every message is confirmed."""

import base64
import gzip
import json
import random
import uuid

import pytest

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.collector.sinks import kafka
from clickstream_dagster.collector.sinks.kafka import KafkaSink
from clickstream_dagster.collector.sinks.settings import KafkaSettings
from clickstream_dagster.collector.sinks.sink import SinkError
from tests.collector.sinks.kafka_broker import PASSWORD, USER, messages_in, served_kafka
from tests.collector.sinks.segments import record, rids, sealed_segment

pytestmark = pytest.mark.heavy

LINES = [record(number) for number in range(1_203)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with served_kafka(tmp_path_factory.mktemp("kafka") / "broker") as broker:
        yield broker


@pytest.fixture
def topic():
    return f"shop-{uuid.uuid4().hex}"


@pytest.fixture
def segment(tmp_path):
    return sealed_segment(tmp_path / "spool", [LINES[:700], LINES[700:]])


@pytest.fixture
def soon(monkeypatch):
    """Give messages up after a few seconds."""
    monkeypatch.setattr(kafka, "_DELIVERY_SECONDS", 3)


def sink_of(broker, topic, **settings):
    return KafkaSink(broker.plain, topic, KafkaSettings(**settings), S3Access())


def values(broker, topic):
    return [value for _, value, _ in messages_in(broker, topic)]


def make_topic(broker, topic, **config):
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker.plain})
    new = NewTopic(topic, num_partitions=3, replication_factor=1, config=config)
    admin.create_topics([new])[topic].result(30)


def test_every_record_is_a_message_with_its_rid_as_key(segment, broker, topic):
    sink = sink_of(broker, topic)
    sink.ship(segment)
    found = messages_in(broker, topic)
    assert sorted(value + b"\n" for _, value, _ in found) == sorted(LINES)
    assert all(json.loads(value)["rid"].encode() == key for key, value, _ in found)
    assert {partition for _, _, partition in found} == {0, 1, 2}
    counters = sink.counters
    assert (counters.records, counters.requests, counters.errors) == (1_203, 1_203, 0)
    assert counters.bytes == sum(len(line) - 1 for line in LINES)
    sink.close()


def test_a_sink_after_a_kill_sends_the_same_rids_again(segment, broker, topic):
    # The first process ships, and is killed before the segment is deleted.
    sink_of(broker, topic).ship(segment)
    sink_of(broker, topic).ship(segment)
    found = rids(values(broker, topic))
    assert len(found) == 2 * 1_203
    assert set(found) == set(rids(LINES))


def test_a_broker_that_dies_is_an_error_and_the_segment_goes_when_it_is_back(
    segment, broker, topic, soon, tmp_path
):
    make_topic(broker, topic)
    sink = sink_of(broker, topic)
    sink.ship(segment)
    broker.kill()
    another = sealed_segment(tmp_path / "other", [[record(n) for n in range(2_000, 2_100)]])
    try:
        with pytest.raises(SinkError, match=r"did not take 100 of 100 messages .*; last error: "):
            sink.ship(another)
        assert (sink.counters.records, sink.counters.errors) == (1_203, 1)
    finally:
        broker.start()
    sink.ship(another)
    assert sink.counters.records == 1_303
    wanted = {*rids(LINES), *rids([record(n) for n in range(2_000, 2_100)])}
    assert set(rids(values(broker, topic))) == wanted


def test_a_segment_that_broke_off_goes_on_where_it_was(broker, topic, soon, tmp_path, monkeypatch):
    make_topic(broker, topic)
    monkeypatch.setattr(kafka, "_CHUNK_BYTES", 1_000)
    sink = sink_of(broker, topic)
    deliver, calls = sink._deliver, []

    def then_kill(records):
        calls.append(len(records))
        if len(calls) == 3:
            broker.kill()
        return deliver(records)

    monkeypatch.setattr(sink, "_deliver", then_kill)
    segment = sealed_segment(tmp_path / "spool", [LINES[:40]])
    try:
        with pytest.raises(SinkError):
            sink.ship(segment)
    finally:
        broker.start()
    before = sum(calls[:2])
    assert sink.counters.records == before > 0
    sink.ship(segment)
    assert sum(calls[3:]) == 40 - before
    assert sorted(values(broker, topic)) == sorted(line[:-1] for line in LINES[:40])


def test_a_record_is_as_large_as_the_topic_takes_it_compressed(broker, topic, tmp_path):
    make_topic(broker, topic)
    noise = base64.b64encode(random.Random(7).randbytes(900_000)).decode()  # more than 1 MiB
    lines = [record(1, noise), record(2, "x" * 10_000_000)]
    sink_of(broker, topic).ship(sealed_segment(tmp_path, [lines]))
    assert sorted(value + b"\n" for value in values(broker, topic)) == sorted(lines)


def test_a_record_that_is_too_large_for_the_topic_goes_in_pieces(broker, topic, tmp_path):
    make_topic(broker, topic)
    large = record(1, base64.b85encode(random.Random(7).randbytes(3_000_000)).decode())
    sink = sink_of(broker, topic)
    sink.ship(sealed_segment(tmp_path, [[LINES[5], large, LINES[6]]]))
    found = [json.loads(value) for value in values(broker, topic)]
    pieces = sorted((one for one in found if "piece" in one), key=lambda one: one["piece"])
    assert len(pieces) == pieces[0]["pieces"] > 3
    joined = b"".join(base64.b64decode(one["gzip"]) for one in pieces)
    assert gzip.decompress(joined) + b"\n" == large
    assert {one["rid"] for one in pieces} == set(rids([large]))
    assert {one["rid"] for one in found if "data" in one} == set(rids(LINES[5:7]))
    assert sink.counters.records == 3


def test_a_record_of_several_events_is_divided_when_the_topic_finds_it_too_large(
    broker, topic, tmp_path, noise
):
    make_topic(broker, topic)
    events = [{"event_id": str(number), "text": noise(300_000)} for number in range(11)]
    large = record(1, json.dumps(events))
    sink = sink_of(broker, topic)
    sink.ship(sealed_segment(tmp_path, [[LINES[5], large]]))
    found = [json.loads(value) for value in values(broker, topic)]
    parts = [one for one in found if one["rid"] in rids([large])]
    assert len(parts) == 4
    events_found = [event for part in parts for event in json.loads(part["data"])]
    assert sorted(events_found, key=lambda event: int(event["event_id"])) == events
    assert sink.counters.records == 2


def test_a_topic_for_small_messages_is_an_error_that_names_its_setting(broker, topic, tmp_path):
    make_topic(broker, topic, **{"max.message.bytes": "2000"})
    noise = base64.b64encode(random.Random(7).randbytes(20_000)).decode()
    sink = sink_of(broker, topic)
    with pytest.raises(SinkError, match=r"set its max\.message\.bytes to 1048588"):
        sink.ship(sealed_segment(tmp_path, [[record(1, noise)]]))
    assert sink.counters.errors == 1


def test_more_messages_than_the_library_keeps_at_once_wait_for_the_others(
    segment, broker, topic, tmp_path
):
    make_topic(broker, topic)
    (tmp_path / "kafka.properties").write_text("queue.buffering.max.messages=100\n")
    sink = sink_of(broker, topic, properties_file=tmp_path / "kafka.properties")
    sink.ship(segment)
    assert sorted(value + b"\n" for value in values(broker, topic)) == sorted(LINES)


def test_a_broker_that_asks_to_slow_down_is_counted(broker, topic, tmp_path, monkeypatch):
    make_topic(broker, topic)
    monkeypatch.setattr(kafka, "_CHUNK_BYTES", 20_000)
    noise = random.Random(7)
    lines = [record(n, base64.b64encode(noise.randbytes(15_000)).decode()) for n in range(12)]
    sink = sink_of(broker, topic)
    broker.set_quota("clickstream-collector", 10_000)
    try:
        sink.ship(sealed_segment(tmp_path, [lines]))
    finally:
        broker.set_quota("clickstream-collector", None)
    assert sink.counters.throttled > 0
    assert len(values(broker, topic)) == 12


def test_user_and_password_come_from_the_environment_and_go_by_tls(
    segment, broker, topic, monkeypatch
):
    monkeypatch.setenv(kafka.USERNAME, USER)
    monkeypatch.setenv(kafka.PASSWORD, PASSWORD)
    settings = KafkaSettings(security="scram", ca_file=broker.ca_file)
    KafkaSink(broker.scram, topic, settings, S3Access()).ship(segment)
    assert len(messages_in(broker, topic)) == 1_203


def test_a_wrong_password_is_an_error_that_does_not_show_it(
    segment, broker, topic, soon, monkeypatch
):
    monkeypatch.setenv(kafka.USERNAME, USER)
    monkeypatch.setenv(kafka.PASSWORD, "not-its-password")
    settings = KafkaSettings(security="scram", ca_file=broker.ca_file)
    sink = KafkaSink(broker.scram, topic, settings, S3Access())
    with pytest.raises(SinkError, match=r"(?i)authentication") as error:
        sink.ship(segment)
    assert "not-its-password" not in str(error.value)


def test_a_properties_file_says_what_else_the_library_takes(segment, broker, topic, tmp_path):
    (tmp_path / "kafka.properties").write_text(
        "# the user of the collector\n"
        "security.protocol = SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
        f"sasl.username={USER}\nsasl.password={PASSWORD}\n"
        f"\nssl.ca.location={broker.ca_file}\n"
    )
    settings = KafkaSettings(properties_file=tmp_path / "kafka.properties")
    KafkaSink(broker.scram, topic, settings, S3Access()).ship(segment)
    assert len(messages_in(broker, topic)) == 1_203
