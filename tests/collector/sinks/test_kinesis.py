"""The Kinesis sink: every record reaches the stream, whatever its size, however often refused."""

import base64
import gzip
import json
import random

import pytest

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.collector.sinks import kinesis
from clickstream_dagster.collector.sinks.kinesis import KinesisSink
from clickstream_dagster.collector.sinks.settings import KinesisSettings
from clickstream_dagster.collector.sinks.sink import SinkError
from clickstream_dagster.errors import SettingError
from tests.answering import Answer
from tests.collector.sinks.proxy import proxy
from tests.collector.sinks.segments import record, rids, sealed_segment

LINES = [record(number) for number in range(1_203)]
PUT = "Kinesis_20131202.PutRecords"


@pytest.fixture
def segment(tmp_path):
    return sealed_segment(tmp_path / "spool", [LINES[:700], LINES[700:]])


@pytest.fixture
def quick(monkeypatch):
    """Pauses of milliseconds: the server refuses as often as it is told, not for a time."""
    monkeypatch.setattr(kinesis, "_FIRST_PAUSE_SECONDS", 0.001)


def sink_of(stream, **settings):
    return KinesisSink(stream.name, KinesisSettings(**settings), S3Access())


def data_of(stream):
    return [record["Data"] for record in stream.records()]


def refusing(chosen, code="ProvisionedThroughputExceededException"):
    """Give what a proxy answers: the records that `chosen` picks are refused, the others put.

    `chosen` gets the number of the call and the number of the record in it.
    """
    calls = []

    def answer(request, forward):
        if request.headers.get("X-Amz-Target") != PUT:
            return forward(request)
        told = json.loads(request.body)
        calls.append(len(told["Records"]))
        refused = {n for n in range(len(told["Records"])) if chosen(len(calls), n)}
        taken = [one for n, one in enumerate(told["Records"]) if n not in refused]
        results = []
        if taken:
            passed = {**told, "Records": taken}
            results = json.loads(
                forward(
                    type(request)(
                        request.method, request.path, request.headers, json.dumps(passed).encode()
                    )
                ).body
            )["Records"]
        results = iter(results)
        body = {
            "FailedRecordCount": len(refused),
            "Records": [
                {"ErrorCode": code, "ErrorMessage": "slow down"} if n in refused else next(results)
                for n in range(len(told["Records"]))
            ],
        }
        return Answer(
            200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(body).encode()
        )

    return answer, calls


def test_every_record_goes_by_itself_with_its_rid_as_partition_key(segment, stream):
    sink = sink_of(stream)
    sink.ship(segment)
    found = stream.records()
    assert sorted(one["Data"] + b"\n" for one in found) == sorted(LINES)
    assert all(json.loads(one["Data"])["rid"] == one["PartitionKey"] for one in found)
    assert all(records for _, records in stream.shards())
    counters = sink.counters
    assert (counters.records, counters.requests, counters.retries) == (1_203, 3, 0)
    assert counters.bytes == sum(len(line) - 1 for line in LINES)
    sink.close()


def test_a_batch_has_as_many_records_as_the_settings_say(segment, stream):
    sink = sink_of(stream, batch_records=100)
    sink.ship(segment)
    assert sink.counters.requests == 13
    assert len(stream.records()) == 1_203


def test_a_call_stays_below_what_kinesis_takes_at_once(tmp_path, stream):
    # moto refuses more than 5 MiB a call, with the keys.
    lines = [record(number, "x" * 990_000) for number in range(12)]
    sink = sink_of(stream)
    sink.ship(sealed_segment(tmp_path, [lines]))
    assert sink.counters.requests == 3
    assert sorted(one + b"\n" for one in data_of(stream)) == sorted(lines)


def test_a_record_of_more_than_one_mebibyte_is_compressed(tmp_path, stream):
    large = record(1, "x" * 3_000_000)
    sink_of(stream).ship(sealed_segment(tmp_path, [[large, LINES[2]]]))
    first, second = sorted(stream.records(), key=lambda one: one["PartitionKey"])
    assert gzip.decompress(first["Data"]) + b"\n" == large
    assert second["Data"] + b"\n" == LINES[2]


def test_a_record_that_is_too_large_even_then_goes_in_pieces(tmp_path, stream):
    noise = base64.b85encode(random.Random(7).randbytes(5_000_000)).decode()
    large = record(1, noise)
    sink = sink_of(stream, batch_records=3)
    sink.ship(sealed_segment(tmp_path, [[LINES[5], large, LINES[6]]]))
    pieces = [json.loads(one) for one in data_of(stream)]
    pieces = sorted((one for one in pieces if "piece" in one), key=lambda one: one["piece"])
    assert len(pieces) == pieces[0]["pieces"] > 5
    assert {one["rid"] for one in pieces} == {json.loads(large)["rid"]}
    joined = b"".join(base64.b64decode(one["gzip"]) for one in pieces)
    assert gzip.decompress(joined) + b"\n" == large
    assert sink.counters.records == 3
    assert len(stream.records()) == len(pieces) + 2


def test_a_record_of_several_events_is_divided_when_it_is_too_large_even_then(
    tmp_path, stream, noise
):
    events = [{"event_id": str(number), "text": noise(300_000)} for number in range(11)]
    large = record(1, json.dumps(events))
    sink = sink_of(stream)
    sink.ship(sealed_segment(tmp_path, [[large]]))
    parts = [
        json.loads(gzip.decompress(one) if one[:1] != b"{" else one) for one in data_of(stream)
    ]
    assert len(parts) == 4
    assert {one["rid"] for one in parts} == set(rids([large]))
    found = [event for part in parts for event in json.loads(part["data"])]
    assert sorted(found, key=lambda event: int(event["event_id"])) == events
    assert sink.counters.records == 1


def test_only_what_a_call_did_not_take_is_sent_again(segment, stream, aws, quick):
    answer, calls = refusing(lambda call, number: call in (1, 2) and number % 5 == 0)
    with proxy(aws, answer) as address:
        sink = sink_of(stream, endpoint_url=address)
        sink.ship(segment)
    assert calls == [500, 100, 20, 500, 203]
    assert sorted(one + b"\n" for one in data_of(stream)) == sorted(LINES)
    counters = sink.counters
    assert (counters.records, counters.retries, counters.throttled) == (1_203, 2, 120)
    assert counters.bytes == sum(len(line) - 1 for line in LINES)


def test_a_stream_that_goes_on_refusing_is_an_error_and_the_next_attempt_goes_on(
    segment, stream, aws, quick
):
    answer, calls = refusing(lambda call, number: 2 <= call <= 7, "InternalFailure")
    with proxy(aws, answer) as address:
        sink = sink_of(stream, endpoint_url=address)
        with pytest.raises(SinkError, match=r"did not take 500 records in 6 .*\(InternalFailure\)"):
            sink.ship(segment)
        assert calls == [500] * 7
        assert (sink.counters.errors, sink.counters.throttled) == (1, 0)
        sink.ship(segment)
    assert calls[7:] == [500, 203]
    assert sorted(one + b"\n" for one in data_of(stream)) == sorted(LINES)


def test_a_call_that_is_throttled_as_a_whole_is_made_again_and_counted(segment, stream, aws):
    slow = json.dumps({"__type": "ProvisionedThroughputExceededException", "message": "slow"})
    answers = [Answer(400, {"Content-Type": "application/x-amz-json-1.1"}, slow.encode())]
    with proxy(aws, lambda request, forward: answers.pop() if answers else forward(request)) as at:
        sink = sink_of(stream, endpoint_url=at)
        sink.ship(segment)
    counters = sink.counters
    assert (counters.requests, counters.retries, counters.throttled) == (4, 1, 1)
    assert len(stream.records()) == 1_203


def test_a_sink_after_a_kill_sends_the_same_rids_again(segment, stream):
    # The first process ships, and is killed before the segment is deleted.
    sink_of(stream).ship(segment)
    sink_of(stream).ship(segment)
    found = rids(data_of(stream))
    assert len(found) == 2 * 1_203
    assert set(found) == set(rids(LINES))


def test_a_missing_stream_is_an_error_that_names_it(segment, aws):
    sink = KinesisSink("no-such-stream", KinesisSettings(), S3Access())
    with pytest.raises(SinkError, match="the stream no-such-stream does not exist; create it"):
        sink.ship(segment)
    assert sink.counters.errors == 1


def test_settings_that_boto3_can_not_work_with_are_found_when_the_sink_is_made(aws, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(SettingError, match="You must specify a region"):
        KinesisSink("shop", KinesisSettings(), S3Access())
