"""The single records of a segment, for sinks that take one record at a time."""

import base64
import zlib
from collections.abc import Iterator

import orjson

from clickstream_dagster.collector.segments import SealedSegment

PIECE_BYTES = 700_000
"""Of a compressed record, in one piece: in base64 and with what is around it less than 1 MB."""


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


def pieces_of(record: bytes, rid: str) -> Iterator[bytes]:
    """Cut a record that a stream takes in no other way: it is compressed, and each piece is JSON.

    `gzip` of all `pieces`, in their order, is the record. No piece is a sink record, so that the
    processing keeps them in `bad_event`, with all bytes. A JSON body of 1 MB never gets here: it
    compresses to less (raw control characters, which JSON does not have, need more).
    """
    from isal import igzip

    compressed = igzip.compress(record, mtime=0)
    starts = range(0, len(compressed), PIECE_BYTES)
    for number, start in enumerate(starts, 1):
        piece = base64.b64encode(compressed[start : start + PIECE_BYTES]).decode()
        yield orjson.dumps({"rid": rid, "piece": number, "pieces": len(starts), "gzip": piece})
