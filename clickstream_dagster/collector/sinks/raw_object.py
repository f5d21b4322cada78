"""A sealed segment as a raw object: its key, and its records as gzip NDJSON."""

from collections.abc import Iterator

from isal import isal_zlib

from clickstream_dagster.batches.windows import hour_folder
from clickstream_dagster.collector.segments import SealedSegment

_LEVEL = 1  # objects of 2, ISA-L's own default, are 1 % smaller
_GZIP = 31  # zlib's window bits for the gzip container


def object_key(segment: SealedSegment) -> str:
    """Give `year=YYYY/month=MM/day=DD/hour=HH/<unix-seconds>-<uuid>.log.gz` of its sealing, in UTC.

    Source: seed 000, "Data sink - S3". The same segment has the same key at every attempt.
    """
    return f"{hour_folder(segment.sealed_at * 1000)}{segment.name}.log.gz"


def gzip_parts(segment: SealedSegment) -> Iterator[tuple[bytes, int]]:
    """Compress a segment as it is read: some bytes, and how many records went in since the last.

    The same segment gives the same bytes. Raises SegmentError when it can't be read.
    """
    stream = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    for frame in segment.frames():
        yield stream.compress(frame.lines), frame.records
    yield stream.flush(), 0
