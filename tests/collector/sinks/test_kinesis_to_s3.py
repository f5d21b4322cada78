"""The Lambda function behind a stream: what Kinesis holds becomes raw objects, each batch once."""

import ast
import base64
import gzip
import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest

from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.batches.windows import hour_folder, key_time_ms
from clickstream_dagster.collector.sinks.kinesis import KinesisSink
from clickstream_dagster.collector.sinks.settings import KinesisSettings
from clickstream_dagster.processing.bad_reasons import BadReason
from clickstream_dagster.processing.requests import ReadTally, read_requests
from tests.answering import Answer
from tests.collector.sinks.proxy import proxy
from tests.collector.sinks.segments import lines_of, record, sealed_segment

FUNCTION = Path(__file__).parents[3] / "infra" / "lambda" / "kinesis_to_s3" / "handler.py"
LINES = [record(number) for number in range(40)]


@pytest.fixture
def function(bucket, monkeypatch):
    """The function as Lambda starts it: a module of its own, settings in the environment."""
    monkeypatch.setenv("BUCKET", bucket.name)
    monkeypatch.setenv("PREFIX", "clickstream/shop/data/buffer/")
    spec = importlib.util.spec_from_file_location("kinesis_to_s3", FUNCTION)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def events(stream):
    """Give what Lambda hands over of a stream: an event for each shard that holds something."""
    about = stream.client.describe_stream_summary(StreamName=stream.name)
    arn = about["StreamDescriptionSummary"]["StreamARN"]
    return [
        {
            "Records": [
                {
                    "kinesis": {
                        "kinesisSchemaVersion": "1.0",
                        "partitionKey": one["PartitionKey"],
                        "sequenceNumber": one["SequenceNumber"],
                        "data": base64.b64encode(one["Data"]).decode(),
                        "approximateArrivalTimestamp": one[
                            "ApproximateArrivalTimestamp"
                        ].timestamp(),
                    },
                    "eventSource": "aws:kinesis",
                    "eventVersion": "1.0",
                    "eventID": f"{shard}:{one['SequenceNumber']}",
                    "eventName": "aws:kinesis:record",
                    "awsRegion": "us-east-1",
                    "eventSourceARN": arn,
                }
                for one in records
            ]
        }
        for shard, records in stream.shards()
        if records
    ]


def ship(stream, folder, lines):
    KinesisSink(stream.name, KinesisSettings(), S3Access()).ship(sealed_segment(folder, [lines]))


def objects(bucket):
    return list(list_objects(bucket.address("clickstream/shop/data/buffer")))


def lines_in(bucket):
    keys = [found.uri.removeprefix(bucket.address("")) for found in objects(bucket)]
    bodies = [bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read() for key in keys]
    return [line for body in bodies for line in lines_of(body)]


def test_the_function_needs_nothing_but_boto3():
    modules = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(FUNCTION.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    assert modules - sys.stdlib_module_names == {"boto3", "botocore"}


def test_a_batch_becomes_one_object_with_the_lines_as_they_were_collected(
    function, stream, bucket, tmp_path
):
    ship(stream, tmp_path, LINES)
    for event in events(stream):
        assert function.handler(event, None) == {"batchItemFailures": []}
    assert len(objects(bucket)) == 2  # a shard each
    assert sorted(lines_in(bucket)) == sorted(LINES)


def test_the_key_tells_the_time_when_the_first_record_came(function, stream, bucket, tmp_path):
    ship(stream, tmp_path, LINES[:1])
    (event,) = events(stream)
    function.handler(event, None)
    (found,) = objects(bucket)
    arrived = int(event["Records"][0]["kinesis"]["approximateArrivalTimestamp"]) * 1000
    key = found.uri.removeprefix(bucket.address(""))
    assert key_time_ms(key, 0) == arrived
    assert key.startswith(f"clickstream/shop/data/buffer/{hour_folder(arrived)}")


def test_a_batch_that_lambda_brings_again_is_still_one_object(function, stream, bucket, tmp_path):
    ship(stream, tmp_path, LINES)
    for event in events(stream):
        function.handler(event, None)
    before = objects(bucket)
    for event in events(stream):
        assert function.handler(event, None) == {"batchItemFailures": []}
    assert objects(bucket) == before


def test_a_batch_that_is_cut_differently_loses_nothing(function, stream, bucket, tmp_path):
    # The poller may have died after the write, and another one takes more records at once.
    ship(stream, tmp_path, LINES)
    event = events(stream)[0]
    function.handler({"Records": event["Records"][:3]}, None)
    function.handler(event, None)
    found = lines_in(bucket)
    data = [base64.b64decode(one["kinesis"]["data"]) + b"\n" for one in event["Records"]]
    assert sorted(found) == sorted(data + data[:3])


def test_a_batch_that_s3_refuses_is_reported_from_its_first_record(
    function, stream, bucket, tmp_path, aws, monkeypatch
):
    ship(stream, tmp_path, LINES)
    event = events(stream)[0]
    denied = Answer(403, {}, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
    first = event["Records"][0]["kinesis"]["sequenceNumber"]
    with (
        proxy(aws, lambda request, forward: denied) as address,
        monkeypatch.context() as patch,
    ):
        patch.setenv("AWS_ENDPOINT_URL_S3", address)
        assert function.handler(event, None) == {"batchItemFailures": [{"itemIdentifier": first}]}
    assert objects(bucket) == []


def test_objects_are_encrypted_with_the_key_of_the_environment(
    function, stream, bucket, tmp_path, monkeypatch
):
    monkeypatch.setenv("KMS_KEY_ID", "alias/clickstream")
    ship(stream, tmp_path, LINES[:1])
    function.handler(events(stream)[0], None)
    key = objects(bucket)[0].uri.removeprefix(bucket.address(""))
    told = bucket.client.head_object(Bucket=bucket.name, Key=key)
    assert (told["ServerSideEncryption"], told["SSEKMSKeyId"]) == ("aws:kms", "alias/clickstream")


def test_a_record_that_was_compressed_for_its_size_is_a_line_again(
    function, stream, bucket, tmp_path
):
    large = record(1, "x" * 3_000_000)
    ship(stream, tmp_path, [large])
    for event in events(stream):
        function.handler(event, None)
    assert lines_in(bucket) == [large]


def test_what_is_no_sink_record_is_kept_with_its_bytes(function, stream, bucket, tmp_path):
    torn = gzip.compress(LINES[1])[:-4]
    foreign = [b"no json", b"\xff\xfe\n\x00", torn]
    stream.client.put_records(
        StreamName=stream.name,
        Records=[{"Data": data, "PartitionKey": "k"} for data in [*foreign, LINES[0]]],
    )
    (event,) = events(stream)
    assert function.handler(event, None) == {"batchItemFailures": []}
    text, binary, packed, good = lines_in(bucket)
    assert text == b"no json\n"
    assert base64.b64decode(json.loads(binary)["base64"]) == foreign[1]
    assert base64.b64decode(json.loads(packed)["base64"]) == torn
    assert good == LINES[0]
    requests = [
        row for batch in read_requests(objects(bucket), ReadTally()) for row in batch.to_pylist()
    ]
    assert [row["bad_reason"] for row in requests] == [
        BadReason.NOT_A_RECORD,
        BadReason.MISSING_BODY,
        BadReason.MISSING_BODY,
        None,
    ]


def test_pieces_of_a_record_end_as_bad_requests_with_all_bytes(function, stream, bucket, tmp_path):
    large = record(1, base64.b85encode(random.Random(7).randbytes(2_000_000)).decode())
    ship(stream, tmp_path, [large])
    (event,) = events(stream)
    function.handler(event, None)
    (batch,) = read_requests(objects(bucket), ReadTally())
    rows = batch.to_pylist()
    assert {row["bad_reason"] for row in rows} == {BadReason.MISSING_BODY}
    pieces = sorted((json.loads(row["record"]) for row in rows), key=lambda one: one["piece"])
    joined = b"".join(base64.b64decode(one["gzip"]) for one in pieces)
    assert gzip.decompress(joined) + b"\n" == large
