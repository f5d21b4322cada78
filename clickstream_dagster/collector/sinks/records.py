"""The single records of a segment, for sinks that take one record at a time."""

import zlib
from collections.abc import Iterator

import orjson

from clickstream_dagster.collector.segments import SealedSegment


def records_of(segment: SealedSegment) -> Iterator[bytes]:
    """Give the sink records of a segment, each without its line end."""
    for frame in segment.frames():
        for line in frame.lines.split(b"\n"):
            if line:
                yield line


def rid_of(record: bytes) -> str:
    """Give the id of the request that a record is of, the key of its place in a stream.

    A record without one gets the checksum of its bytes: the same at every attempt.
    """
    try:
        return orjson.loads(record)["rid"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"{zlib.crc32(record):08x}"
