"""Lambda function behind a Kinesis data stream: each batch of records becomes one raw object.

Handler: `handler.handler`, any Python runtime from 3.11; nothing but boto3, which the runtime has.
Environment: `BUCKET`; `PREFIX` of the raw objects, as `clickstream/shop/data/buffer`; `KMS_KEY_ID`
if a key of its own encrypts them. The event source mapping has `ReportBatchItemFailures`; see
docs/collector-sinks.md.
"""

import base64
import json
import logging
import os
import uuid
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

_LOG = logging.getLogger(__name__)
_LOG.setLevel(logging.INFO)
_GZIP = 31  # zlib's window bits for the gzip container
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_RECORD_BYTES = 64 << 20
_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "clickstream/kinesis_to_s3")


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Write a batch to S3; tell Lambda to bring it again if that failed.

    A record is written as it was collected, so `ingest_time` is the collector's.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    records = event["Records"]
    if not records:
        return {"batchItemFailures": []}
    key = object_key(records)
    try:
        _create(key, b"".join(_compressed(records)))
    except (BotoCoreError, ClientError) as error:
        _LOG.error("%s with %d records is not written: %s", key, len(records), error)
        first = records[0]["kinesis"]["sequenceNumber"]
        return {"batchItemFailures": [{"itemIdentifier": first}]}
    _LOG.info("%s has %d records", key, len(records))
    return {"batchItemFailures": []}


def object_key(records: list[dict[str, Any]]) -> str:
    """Give `<prefix>/year=/month=/day=/hour=/<unix-seconds>-<uuid>.log.gz` of a batch.

    It follows from the records alone: the time is when the first one came to the stream, the uuid
    is made of shard and sequence number of each. A batch that Lambda brings again has its old key;
    a batch that is cut differently has another one, so no object ever stands for other records.
    """
    seconds = int(records[0]["kinesis"]["approximateArrivalTimestamp"])
    ids = "\n".join(f"{record['eventSourceARN']} {record['eventID']}" for record in records)
    folder = f"{datetime.fromtimestamp(seconds, UTC):year=%Y/month=%m/day=%d/hour=%H}"
    prefix = os.environ.get("PREFIX", "").strip("/")
    return f"{prefix}/{folder}/{seconds}-{uuid.uuid5(_NAMES, ids)}.log.gz".lstrip("/")


def _create(key: str, body: bytes) -> None:
    """Write an object unless it is there: then an earlier attempt has written the same records."""
    from botocore.exceptions import ClientError

    kms_key = os.environ.get("KMS_KEY_ID")
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
    try:
        _s3().put_object(
            Bucket=os.environ["BUCKET"], Key=key, Body=body, IfNoneMatch="*", **encryption
        )
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
            raise


@cache
def _s3() -> Any:
    import boto3

    return boto3.client("s3")


def _compressed(records: list[dict[str, Any]]) -> Iterator[bytes]:
    stream = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    for record in records:
        line = _line(base64.b64decode(record["kinesis"]["data"]), record)
        yield stream.compress(line)
    yield stream.flush()


def _line(data: bytes, record: dict[str, Any]) -> bytes:
    """Give the line of a record. One that is no text is kept in a line that holds its bytes.

    Whether a line is a sink record is for the processing to say: it keeps those that are none in
    `bad_event`.
    """
    try:
        text = _inflated(data).decode()
    except (zlib.error, UnicodeDecodeError):
        place = {"rid": record["kinesis"]["partitionKey"], "eventID": record["eventID"]}
        text = json.dumps({**place, "base64": base64.b64encode(data).decode()})
    return text.rstrip("\n").encode() + b"\n"


def _inflated(data: bytes) -> bytes:
    """Decompress a record that the collector has compressed because of its size."""
    if not data.startswith(_GZIP_MAGIC):
        return data
    stream = zlib.decompressobj(_GZIP)
    text = stream.decompress(data, _MAX_RECORD_BYTES)
    if not stream.eof or stream.unused_data:
        raise zlib.error("not one whole member of gzip")
    return text
