"""The S3 sink: an object per segment, whole or not there, and once."""

import base64
import random
import tracemalloc

import pytest

from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.batches.windows import key_time_ms
from clickstream_dagster.collector.sinks import s3
from clickstream_dagster.collector.sinks.s3 import PART_BYTES, S3Sink
from clickstream_dagster.collector.sinks.sink import SinkError
from clickstream_dagster.errors import SettingError, SourceError
from tests.answering import Answer
from tests.collector.sinks.proxy import proxy
from tests.collector.sinks.segments import SEALED_AT, lines_of, record, sealed_segment

LINES = [record(1), record(2), record(3)]
HOUR = "year=2026/month=11/day=25/hour=15"
SLOW_DOWN = Answer(503, {}, b"<Error><Code>SlowDown</Code><Message>slow</Message></Error>")
DENIED = Answer(403, {}, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")


@pytest.fixture
def segment(tmp_path):
    return sealed_segment(tmp_path / "spool", [LINES[:2], LINES[2:]])


@pytest.fixture
def large_segment(tmp_path):
    """A segment of 24 MB that compresses as bodies of the SDKs do: to three parts."""
    noise = random.Random(7)
    lines = [
        record(number, base64.b64encode(noise.randbytes(768 << 10)).decode())
        for number in range(24)
    ]
    return sealed_segment(tmp_path / "spool", [lines[:12], lines[12:]])


def uploads_left(bucket):
    return bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])


def body_of(bucket, key):
    return bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()


def test_a_segment_becomes_one_object_that_the_arrival_sensor_finds(segment, bucket):
    sink = S3Sink(bucket.address("raw/shop"), S3Access())
    sink.ship(segment)
    (found,) = list_objects(bucket.address("raw/shop"))
    key = f"raw/shop/{HOUR}/{segment.name}.log.gz"
    assert found.uri == bucket.address(key)
    assert key_time_ms(found.uri, 0) == SEALED_AT * 1000
    assert lines_of(body_of(bucket, key)) == LINES
    counters = sink.counters
    assert (counters.records, counters.bytes, counters.requests) == (3, found.size, 1)
    sink.close()


def test_a_large_segment_goes_in_parts(large_segment, bucket):
    sink = S3Sink(bucket.address("raw"), S3Access())
    sink.ship(large_segment)
    key = f"raw/{HOUR}/{large_segment.name}.log.gz"
    told = bucket.client.head_object(Bucket=bucket.name, Key=key)
    assert told["ETag"].strip('"').endswith("-3")
    assert told["ContentLength"] == sink.counters.bytes > 2 * PART_BYTES
    assert len(lines_of(body_of(bucket, key))) == sink.counters.records == 24


def test_memory_does_not_grow_with_the_segment(tmp_path):
    noise = random.Random(7)
    frames = [
        [record(number, base64.b64encode(noise.randbytes(1_500_000)).decode())]
        for number in range(50)
    ]
    segment = sealed_segment(tmp_path, frames)  # 100 MB, that compress to 75
    tracemalloc.start()
    try:
        sizes = [len(part) for part, _ in s3._object_parts(segment)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sizes) > 8 * PART_BYTES
    assert peak < 4 * PART_BYTES


@pytest.mark.parametrize("kind", ["segment", "large_segment"])
def test_a_sink_after_a_kill_leaves_the_object_as_it_is(kind, bucket, request):
    # The first process ships, and is killed before the segment is deleted.
    segment = request.getfixturevalue(kind)
    S3Sink(bucket.address("raw"), S3Access()).ship(segment)
    before = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    again = S3Sink(bucket.address("raw"), S3Access())
    again.ship(segment)
    assert bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"] == before
    assert len(before) == 1
    assert uploads_left(bucket) == []
    assert (again.counters.records, again.counters.errors) == (0, 0)


@pytest.mark.parametrize("kind", ["segment", "large_segment"])
def test_objects_are_encrypted_with_the_key_of_the_settings(kind, bucket, aws, request):
    segment = request.getfixturevalue(kind)
    access = S3Access(region="us-east-1", endpoint_url=aws, kms_key_id="alias/clickstream")
    S3Sink(bucket.address("raw"), access).ship(segment)
    key = f"raw/{HOUR}/{segment.name}.log.gz"
    told = bucket.client.head_object(Bucket=bucket.name, Key=key)
    assert told["ServerSideEncryption"] == "aws:kms"
    assert told["SSEKMSKeyId"] == "alias/clickstream"


def test_an_upload_that_fails_in_the_middle_leaves_nothing_behind(large_segment, bucket, aws):
    refuse = True

    def answer(request, forward):
        if refuse and "partNumber=2" in request.path:
            return DENIED
        return forward(request)

    with proxy(aws, answer) as address:
        sink = S3Sink(bucket.address("raw"), S3Access(endpoint_url=address))
        with pytest.raises(SinkError, match=r"refuses \(AccessDenied\).* need s3:PutObject"):
            sink.ship(large_segment)
        assert uploads_left(bucket) == []
        assert list(list_objects(bucket.address("raw"))) == []
        assert sink.counters.errors == 1
        refuse = False
        sink.ship(large_segment)
    assert len(list(list_objects(bucket.address("raw")))) == 1


def test_an_s3_that_asks_to_slow_down_is_asked_again_and_counted(segment, bucket, aws):
    answers = [SLOW_DOWN, SLOW_DOWN]

    with proxy(aws, lambda request, forward: answers.pop() if answers else forward(request)) as at:
        sink = S3Sink(bucket.address("raw"), S3Access(endpoint_url=at))
        sink.ship(segment)
    counters = sink.counters
    assert (counters.requests, counters.retries, counters.throttled) == (3, 2, 2)
    assert (counters.records, counters.errors) == (3, 0)


def test_a_missing_bucket_is_an_error_that_names_it(segment, aws):
    with pytest.raises(SinkError, match=r"the bucket no-such-bucket .* does not exist; create"):
        S3Sink("s3://no-such-bucket/raw", S3Access()).ship(segment)


def test_settings_that_boto3_can_not_work_with_are_found_when_the_sink_is_made(aws):
    with pytest.raises(SettingError, match="no-such-profile"):
        S3Sink("s3://bucket", S3Access(profile="no-such-profile"))
    with pytest.raises(SourceError, match="s3:///raw names no bucket; write s3://bucket/prefix"):
        S3Sink("s3:///raw", S3Access())
