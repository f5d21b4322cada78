"""The single records of a segment, for sinks that take one record at a time."""

import base64
import json
import re
import zlib
from collections.abc import Iterator

import orjson
from isal import igzip

from clickstream_dagster.collector.segments import SealedSegment
from clickstream_dagster.processing.limits import MAX_EVENTS_A_BODY

SMALL_BYTES = 1_000_000
"""A record of so many bytes goes into a stream as it is; a larger one may have to be cut."""

_PIECE_BYTES = 700_000  # in base64, and with what is around it, less than SMALL_BYTES
_SPACE = re.compile(r"[ \t\r\n]*")


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


def cut(record: bytes) -> list[bytes]:
    """Cut a record that a stream does not take, not even compressed, into smaller ones.

    A body of several events becomes two records with a half of the events each, and all else the
    same; they may have to be cut again. Any other record goes in pieces.
    """
    return _halves(record) or list(_pieces(record))


def _halves(record: bytes) -> list[bytes]:
    """Give two records with a half of the events each; none if the body is no array of several."""
    try:
        fields = orjson.loads(record)
        events = _elements(fields["data"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    if len(events) < 2:
        return []
    middle = len(events) // 2
    return [
        orjson.dumps({**fields, "data": f"[{','.join(half)}]"})
        for half in (events[:middle], events[middle:])
    ]


def _elements(text: str) -> list[str]:
    """Give the elements of a JSON array as they are written. Raises ValueError for other texts."""
    decode, space = json.JSONDecoder().raw_decode, _SPACE.match
    elements: list[str] = []
    at = space(text).end()
    if text[at : at + 1] != "[":
        raise ValueError("no array")
    while True:
        start = space(text, at + 1).end()
        _, end = decode(text, start)
        elements.append(text[start:end])
        if len(elements) > MAX_EVENTS_A_BODY:
            raise ValueError("more elements than the processing takes")
        at = space(text, end).end()
        if text[at : at + 1] != ",":
            break
    if text[at : at + 1] != "]" or space(text, at + 1).end() != len(text):
        raise ValueError("no whole array")
    return elements


def _pieces(record: bytes) -> Iterator[bytes]:
    """Compress a record and cut it, whatever it is; each piece is JSON.

    `gzip` of all `pieces`, in their order, is the record. No piece is a sink record, so that the
    processing keeps them in `bad_event`, with all bytes.
    """
    rid = rid_of(record)
    compressed = igzip.compress(record, mtime=0)
    starts = range(0, len(compressed), _PIECE_BYTES)
    for number, start in enumerate(starts, 1):
        piece = base64.b64encode(compressed[start : start + _PIECE_BYTES]).decode()
        yield orjson.dumps({"rid": rid, "piece": number, "pieces": len(starts), "gzip": piece})
