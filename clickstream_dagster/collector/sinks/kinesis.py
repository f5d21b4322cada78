"""The sink that is a Kinesis data stream: each record goes by itself, its `rid` the partition key.

A Lambda function (infra/lambda/kinesis_to_s3) makes raw objects of what the stream holds.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from isal import igzip

from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.collector.segments import SealedSegment
from clickstream_dagster.collector.sinks.aws_calls import count_calls
from clickstream_dagster.collector.sinks.records import SMALL_BYTES, cut, records_of, rid_of
from clickstream_dagster.collector.sinks.settings import KinesisSettings
from clickstream_dagster.collector.sinks.sink import SinkCounters, SinkError
from clickstream_dagster.errors import SettingError

# With the partition keys. A record may have 1 MiB, which is more than SMALL_BYTES and a key.
MAX_CALL_BYTES = 5 << 20

_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.4, 5.0
_TOO_FAST = "ProvisionedThroughputExceededException"
_RIGHT = "kinesis:PutRecords, and kms:GenerateDataKey for a stream with a KMS key"


@dataclass(frozen=True, slots=True)
class _Entry:
    """What PutRecords takes, and whether a record of the segment ends with it."""

    data: bytes
    rid: str
    ends: bool = True

    @property
    def size(self) -> int:
        return len(self.data) + len(self.rid)

    def argument(self) -> dict[str, Any]:
        return {"Data": self.data, "PartitionKey": self.rid}


class KinesisSink:
    """Records to a stream by PutRecords; what a call did not take is sent again, and only that.

    A record larger than Kinesis allows is compressed (gzip), or cut if that is not enough (see
    `records.cut`).
    """

    def __init__(self, stream: str, settings: KinesisSettings, s3: S3Access) -> None:
        """Take a stream's name. Raises SettingError when boto3 can't work with the settings."""
        self.counters = SinkCounters()
        self._stream = stream
        self._batch_records = settings.batch_records
        # How far a segment has come that was not taken whole: where the next attempt goes on, so
        # that a stream which is too narrow gets ahead all the same.
        self._segment, self._taken = "", 0
        with self._errors(SettingError):
            self._client = s3.client_of("kinesis", s3.region, settings.endpoint_url)
        count_calls(self._client, self.counters)

    def ship(self, segment: SealedSegment) -> None:
        if segment.name != self._segment:
            self._segment, self._taken = segment.name, 0
        records = islice(records_of(segment), self._taken, None)
        with self.counters.counting_errors(), self._errors(SinkError):
            for batch in _batches(records, self._batch_records):
                self._put(batch)
                ended = sum(entry.ends for entry in batch)
                self.counters.records += ended
                self._taken += ended

    def close(self) -> None:
        self._client.close()

    def _put(self, entries: list[_Entry]) -> None:
        for attempt in range(_ATTEMPTS):
            if attempt:
                longest = min(_FIRST_PAUSE_SECONDS * 2**attempt, _LONGEST_PAUSE_SECONDS)
                time.sleep(random.uniform(0, longest))
                self.counters.retries += 1
            answer = self._client.put_records(
                StreamName=self._stream, Records=[entry.argument() for entry in entries]
            )
            refused, reasons = [], set()
            for entry, result in zip(entries, answer["Records"], strict=True):
                code = result.get("ErrorCode")
                if code is None:
                    self.counters.bytes += len(entry.data)
                else:
                    self.counters.throttled += code == _TOO_FAST
                    refused.append(entry)
                    reasons.add(code)
            if not refused:
                return
            entries = refused
        raise SinkError(
            f"the stream {self._stream} did not take {len(entries)} records in {_ATTEMPTS}"
            f" attempts ({', '.join(sorted(reasons))}); one that is too narrow needs more shards,"
            " or the on-demand mode"
        )

    @contextmanager
    def _errors(self, kind: type[SettingError] | type[SinkError]) -> Iterator[None]:
        from botocore.exceptions import ClientError

        with clear_aws_errors(kind, f"the stream {self._stream}", _RIGHT, ""):
            try:
                yield
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "ResourceNotFoundException":
                    raise
                raise kind(
                    f"the stream {self._stream} does not exist; create it, or correct its name or"
                    " the region"
                ) from error


def _batches(records: Iterator[bytes], most: int) -> Iterator[list[_Entry]]:
    """Cut records into what one call may send, in their order."""
    batch: list[_Entry] = []
    size = 0
    for record in records:
        parts = _parts(record)
        for number, data in enumerate(parts, 1):
            entry = _Entry(data, rid_of(record), ends=number == len(parts))
            if len(batch) == most or size + entry.size > MAX_CALL_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(entry)
            size += entry.size
    if batch:
        yield batch


def _parts(record: bytes) -> list[bytes]:
    """Give what goes to the stream for a record: it, compressed if need be, or several parts."""
    if len(record) <= SMALL_BYTES:
        return [record]
    compressed = igzip.compress(record, mtime=0)
    if len(compressed) <= SMALL_BYTES:
        return [compressed]
    return [part for smaller in cut(record) for part in _parts(smaller)]
