"""The sink that is an S3 bucket: each segment becomes an object in the folder of its hour."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from clickstream_dagster.batches.objects import S3_SCHEME, split_s3
from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.collector.segments import SealedSegment
from clickstream_dagster.collector.sinks.aws_calls import count_calls
from clickstream_dagster.collector.sinks.raw_object import gzip_parts, object_key
from clickstream_dagster.collector.sinks.sink import SinkCounters, SinkError
from clickstream_dagster.errors import SettingError

PART_BYTES = 8 << 20
"""Size of a part of a large object, and so about what a shipment keeps in memory; S3 takes 5 MiB
and more. A smaller object goes by one call."""

_RIGHTS = (
    "s3:PutObject and s3:AbortMultipartUpload, and kms:GenerateDataKey and kms:Decrypt for a KMS"
    " key"
)


class S3Sink:
    """Raw objects below a prefix; an object is there when it is whole.

    A segment that has its object already is not written again (`If-None-Match: *`): a batch reads
    exactly the objects that its window has listed, and with a KMS key or several parts even the
    same content is another object.
    """

    def __init__(self, address: str, s3: S3Access) -> None:
        """Take `s3://bucket/prefix`. Raises SettingError when boto3 can't work with the settings.

        The bucket is not asked: a collector also starts, and collects, while S3 is out of reach.
        """
        self.counters = SinkCounters()
        self._bucket, self._prefix = split_s3(address)
        with clear_aws_errors(SettingError, address, _RIGHTS, ""):
            self._client = s3.client()
        count_calls(self._client, self.counters)
        self._encryption = s3.encryption()

    def ship(self, segment: SealedSegment) -> None:
        from botocore.exceptions import ClientError

        key = self._prefix + object_key(segment)
        with (
            self.counters.counting_errors(),
            clear_aws_errors(
                SinkError,
                f"{S3_SCHEME}{self._bucket}/{key}",
                _RIGHTS,
                "create the bucket, or correct its name",
            ),
        ):
            try:
                size, records = self._upload(segment, key)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
                    raise
                return
        self.counters.bytes += size
        self.counters.records += records

    def close(self) -> None:
        self._client.close()

    def _upload(self, segment: SealedSegment, key: str) -> tuple[int, int]:
        """Upload a segment in one call or in parts; give its size and its records."""
        parts = _object_parts(segment)
        place = {"Bucket": self._bucket, "Key": key}
        body, records = next(parts)
        if len(body) < PART_BYTES:
            self._client.put_object(**place, Body=body, IfNoneMatch="*", **self._encryption)
            return len(body), records
        started = self._client.create_multipart_upload(
            **place, **self._encryption, **self._part_checksums()
        )
        upload = {**place, "UploadId": started["UploadId"]}
        try:
            return self._upload_parts(upload, body, records, parts)
        except BaseException:
            # What is left of an upload costs as an object does, and no listing shows it.
            self._abort(upload)
            raise

    def _upload_parts(
        self, upload: dict[str, Any], body: bytes, records: int, others: Iterator[tuple[bytes, int]]
    ) -> tuple[int, int]:
        size, done = 0, []
        while body:
            number = len(done) + 1
            answer = self._client.upload_part(**upload, PartNumber=number, Body=body)
            done.append({"PartNumber": number, **_checksums(answer)})
            size += len(body)
            body, count = next(others, (b"", 0))
            records += count
        self._client.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": done}, IfNoneMatch="*"
        )
        return size, records

    def _part_checksums(self) -> dict[str, str]:
        # boto3 sends a CRC-32 of each part unless it is told not to; S3 wants to know beforehand.
        checksums = self._client.meta.config.request_checksum_calculation
        return {"ChecksumAlgorithm": "CRC32"} if checksums == "when_supported" else {}

    def _abort(self, upload: dict[str, Any]) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        # S3 may be what failed; the lifecycle rule of docs/collector-sinks.md takes the rest away.
        with suppress(BotoCoreError, ClientError):
            self._client.abort_multipart_upload(**upload)


def _object_parts(segment: SealedSegment) -> Iterator[tuple[bytes, int]]:
    """Give a segment's object in parts of at least PART_BYTES, and the records of each.

    The last part may be smaller; there is at least one.
    """
    waiting: list[bytes] = []
    size = records = 0
    for compressed, count in gzip_parts(segment):
        waiting.append(compressed)
        size += len(compressed)
        records += count
        if size >= PART_BYTES:
            yield b"".join(waiting), records
            waiting, size, records = [], 0, 0
    if size:
        yield b"".join(waiting), records


def _checksums(answer: dict[str, Any]) -> dict[str, str]:
    """Give what completes an upload tells of a part: what S3 has answered about it."""
    return {
        name: value
        for name, value in answer.items()
        if name == "ETag" or (name.startswith("Checksum") and name != "ChecksumType")
    }
