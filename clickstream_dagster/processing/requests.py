"""Sink records to requests: the envelope of one HTTP request and its body as JSON text."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from isal import isal_zlib

from clickstream_dagster.batches.objects import RawObject
from clickstream_dagster.processing.limits import (
    MAX_BODY_BYTES,
    MAX_TIMESTAMP_MS,
    MIN_TIMESTAMP_MS,
)
from clickstream_dagster.processing.native import connect, parse_json
from clickstream_dagster.processing.records import BrokenObjectError, open_object, read_lines

REQUEST = pa.schema(
    [
        ("request_id", pa.string()),
        ("ingest_timestamp", pa.int64()),
        ("ip", pa.string()),
        ("user_agent", pa.string()),
        ("platform", pa.string()),
        ("request_app_id", pa.string()),
        ("upload_timestamp", pa.int64()),
        ("event_bundle_sequence_id", pa.int64()),
        ("body", pa.string()),
        ("source_object", pa.string()),
        ("source_line", pa.int64()),
        ("record", pa.binary()),
        ("bad_reason", pa.string()),
        ("bad_detail", pa.string()),
    ]
)
"""What a transformer is given: a row per request.

`body` is the JSON text of its events, `record` the line of the sink record. A request with a
`bad_reason` has no body; it must be passed on as one bad row.
"""

_GZIP_MAGIC = b"\x1f\x8b"
_BLANK = " \t\r\n\ufeff"  # some clients send a byte order mark
_BATCH_BYTES = 24 << 20
_UNPACKED_BYTES = 32 << 20


def _plausible(ms: str) -> str:
    return f"case when {ms} between {MIN_TIMESTAMP_MS} and {MAX_TIMESTAMP_MS - 1} then {ms} end"


# Texts, so that a value of an unexpected type is still read.
_RECORD_STRUCTURE = json.dumps(
    dict.fromkeys(
        (
            "data",
            "rid",
            "ip",
            "ua",
            "uri",
            "platform",
            "appId",
            "ingest_time",
            "server_ingest_time",
            "timestamp",
            "date",
            "client_timestamp",
        ),
        "VARCHAR",
    )
)
_RECORDS = f"""
with record as (
    select *, {{parse}} as r
    from lines
)
select
    coalesce(r.rid, source_object || '#' || source_line) as request_id,
    coalesce(
        {_plausible("try_cast(r.ingest_time as bigint)")},
        {_plausible("try_cast(r.server_ingest_time as bigint)")},
        {_plausible("epoch_ms(try_cast(r.timestamp as timestamptz))")},
        {_plausible("epoch_ms(try_cast(r.date as timestamptz))")},
        arrival
    ) as ingest_timestamp,
    r.ip as ip,
    r.ua as user_agent,
    r.platform as platform,
    r."appId" as request_app_id,
    coalesce(
        try_cast(r.client_timestamp as bigint),
        try_cast(regexp_extract(r.uri, '[?&]upload_timestamp=([0-9]+)', 1) as bigint)
    ) as upload_timestamp,
    coalesce(
        try_cast(regexp_extract(r.uri, '[?&]event_bundle_sequence_id=([0-9]+)', 1) as bigint), 0
    ) as event_bundle_sequence_id,
    r.data as body,
    source_object,
    source_line,
    case
        when r.data is not null then true
        when not json_valid(line) then false
        else json_type(line) = 'OBJECT'
    end as readable
from record
"""


class BadReason(StrEnum):
    """Why a record is in `bad_event`."""

    BROKEN_OBJECT = "broken_object"
    """The raw object is cut or damaged behind its last whole line."""
    NOT_A_RECORD = "not_a_record"
    """A line that is no sink record: not a JSON object."""
    MISSING_BODY = "missing_body"
    """A record without `data`."""
    UNDECODABLE_BODY = "undecodable_body"
    """A body that is neither JSON nor base64 of gzip."""
    BODY_TOO_LARGE = "body_too_large"
    """A body that unpacks to more than MAX_BODY_BYTES."""
    NOT_JSON = "not_json"
    """A decoded body that no JSON reader takes."""
    NOT_AN_ARRAY = "not_an_array"
    """A JSON body that holds neither an array nor an object."""
    NOT_AN_OBJECT = "not_an_object"
    """An element of the body that is no JSON object."""
    MISSING_EVENT_ID = "missing_event_id"
    MISSING_EVENT_NAME = "missing_event_name"
    MISSING_APP_ID = "missing_app_id"
    MISSING_USER = "missing_user"
    """An event without `unique_id`."""
    MISSING_TIMESTAMP = "missing_timestamp"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    """A client time that is no number, or outside of the years 2000 to 2099."""


class BadBodyError(Exception):
    """A body that can't be decoded."""

    def __init__(self, reason: BadReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(slots=True)
class ReadTally:
    """What a reader has seen; bytes are those of the raw objects."""

    objects: int = 0
    bytes: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class _Lines:
    """Sink records of one raw object, and the number of the line that each is on."""

    records: pa.BinaryArray
    source: RawObject
    numbers: np.ndarray


def read_requests(objects: Iterable[RawObject], tally: ReadTally) -> Iterator[pa.RecordBatch]:
    """Read raw objects as batches of REQUEST rows, some megabytes each.

    Raises SourceError when an object can't be read. A damaged object gives its whole lines and
    one bad row for the rest.
    """
    waiting: list[_Lines] = []
    waiting_bytes = 0
    with connect() as connection:
        for raw in objects:
            tally.objects += 1
            tally.bytes += raw.size
            number = 1
            with open_object(raw.uri) as stream:
                try:
                    for lines in read_lines(stream):
                        part = _without_blank(lines, raw, number)
                        number += len(lines)
                        tally.requests += len(part.records)
                        waiting.append(part)
                        waiting_bytes += part.records.nbytes
                        if waiting_bytes >= _BATCH_BYTES:
                            yield from _requests(waiting, connection)
                            waiting, waiting_bytes = [], 0
                except BrokenObjectError as error:
                    tally.requests += 1
                    yield _broken_object(raw, number, error)
        if waiting:
            yield from _requests(waiting, connection)


def _without_blank(lines: pa.BinaryArray, raw: RawObject, first: int) -> _Lines:
    numbers = np.arange(first, first + len(lines))
    # Only a short line can be a blank one.
    short = np.flatnonzero(np.asarray(pc.less(pc.binary_length(lines), 8)))
    blank = [place for place in short if not lines[place].as_py().strip()]
    if blank:
        keep = ~np.isin(np.arange(len(lines)), blank)
        lines, numbers = lines.filter(pa.array(keep)), numbers[keep]
    return _Lines(lines, raw, numbers)


def _broken_object(raw: RawObject, number: int, error: BrokenObjectError) -> pa.RecordBatch:
    row = dict.fromkeys(REQUEST.names) | {
        "request_id": f"{raw.uri}#{number}",
        "ingest_timestamp": raw.arrival_ms,
        "source_object": raw.uri,
        "source_line": number,
        "record": error.rest,
        "bad_reason": BadReason.BROKEN_OBJECT,
        "bad_detail": str(error),
    }
    return pa.RecordBatch.from_pylist([row], schema=REQUEST)


def _requests(
    lines: list[_Lines], connection: duckdb.DuckDBPyConnection
) -> Iterator[pa.RecordBatch]:
    records = pa.concat_arrays([part.records for part in lines])
    sizes = [len(part.records) for part in lines]
    columns = {
        "line": _utf8(records),
        "source_object": pa.array([part.source.uri for part in lines]).take(_repeat(sizes)),
        "source_line": pa.array(np.concatenate([part.numbers for part in lines])),
        "arrival": pa.array([part.source.arrival_ms for part in lines]).take(_repeat(sizes)),
    }
    connection.register("lines", pa.table(columns))
    table = parse_json(connection, _RECORDS, "line", _RECORD_STRUCTURE)
    connection.unregister("lines")
    table = table.append_column("record", records)
    for start, stop, decoded in _decode(
        table.column("body").combine_chunks(), table.column("readable").combine_chunks()
    ):
        part = table.slice(start, stop - start)
        arrays = [decoded[name] if name in decoded else part.column(name) for name in REQUEST.names]
        yield from pa.table(arrays, schema=REQUEST).combine_chunks().to_batches()


def _repeat(sizes: list[int]) -> pa.Array:
    return pa.array(np.repeat(np.arange(len(sizes)), sizes))


def _utf8(records: pa.BinaryArray) -> pa.StringArray:
    try:
        return records.cast(pa.string())
    except pa.ArrowInvalid:
        # Some line is not UTF-8: that one becomes an unreadable record.
        return pa.array([_decoded_or_empty(text) for text in records.to_pylist()], pa.string())


def _decoded_or_empty(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return ""


def _decode(
    data: pa.StringArray, readable: pa.BooleanArray
) -> Iterator[tuple[int, int, dict[str, pa.StringArray]]]:
    """Give the bodies of rows `start` to `stop` as JSON text, or why there is none.

    Plain JSON arrays, the usual case, are passed on as they are. A slice ends as soon as its
    packed bodies have grown to some megabytes.
    """
    other = np.asarray(pc.invert(pc.fill_null(pc.starts_with(data, "["), False)))
    start = size = 0
    decoded: list[_Decoded] = []
    for place in np.flatnonzero(other):
        decoded.append(_decode_one(data[place].as_py(), readable[place].as_py()))
        size += len(decoded[-1][0] or "")
        if size >= _UNPACKED_BYTES:
            stop = int(place) + 1
            yield start, stop, _decoded_columns(data[start:stop], other[start:stop], decoded)
            start, size, decoded = stop, 0, []
    if start < len(data):
        yield start, len(data), _decoded_columns(data[start:], other[start:], decoded)


_Decoded = tuple[str | None, str | None, str | None]


def _decode_one(body: str | None, is_record: bool) -> _Decoded:
    if not is_record:
        return None, BadReason.NOT_A_RECORD, "the line is no JSON object"
    try:
        return decode_body(body), None, None
    except BadBodyError as error:
        return None, error.reason, str(error)


def _decoded_columns(
    data: pa.StringArray, other: np.ndarray, decoded: list[_Decoded]
) -> dict[str, pa.StringArray]:
    mask = pa.array(other)
    nothing = pa.nulls(len(data), pa.string())
    columns: dict[str, pa.StringArray] = {}
    for place, (name, given) in enumerate(
        {"body": data, "bad_reason": nothing, "bad_detail": nothing}.items()
    ):
        values = pa.array([row[place] for row in decoded], pa.string())
        columns[name] = pc.replace_with_mask(given, mask, values)
    return columns


def envelope(record: bytes) -> str | None:
    """Give a sink record without its body as JSON, None if it can't be read."""
    try:
        fields = orjson.loads(record)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None
    fields.pop("data", None)
    return orjson.dumps(fields).decode()


def decode_body(data: str | None) -> str:
    """Give the JSON text of a request body, by looking at the body itself.

    Plain JSON is taken as it is (a single object as an array of one); anything else must be
    base64 of gzip, or base64, of JSON. Query parameters such as `compression` are not trusted
    (seed 000, "Ingestion endpoint"). Raises BadBodyError.
    """
    text = (data or "").strip(_BLANK)
    if not text:
        raise BadBodyError(BadReason.MISSING_BODY, "the record has no data")
    if text[0] not in "[{":
        text = _unpack(text)
    return f"[{text}]" if text.startswith("{") else text


def _unpack(text: str) -> str:
    try:
        packed = base64.b64decode(text.encode("ascii"), validate="\n" not in text)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadBodyError(
            BadReason.UNDECODABLE_BODY, f"the body is neither JSON nor base64: {error}"
        ) from error
    if packed.startswith(_GZIP_MAGIC):
        packed = _gunzip(packed)
    try:
        unpacked = packed.decode().strip(_BLANK)
    except UnicodeDecodeError as error:
        raise BadBodyError(BadReason.UNDECODABLE_BODY, f"not gzip, not UTF-8: {error}") from error
    if not unpacked:
        raise BadBodyError(BadReason.MISSING_BODY, "the body unpacks to nothing")
    return unpacked


def _gunzip(packed: bytes) -> bytes:
    inflater = isal_zlib.decompressobj(wbits=31)
    try:
        out = inflater.decompress(packed, MAX_BODY_BYTES + 1)
    except isal_zlib.error as error:
        raise BadBodyError(
            BadReason.UNDECODABLE_BODY, f"the gzip data is damaged: {error}"
        ) from error
    if len(out) > MAX_BODY_BYTES:
        raise BadBodyError(
            BadReason.BODY_TOO_LARGE, f"the body unpacks to more than {MAX_BODY_BYTES} bytes"
        )
    if not inflater.eof:
        raise BadBodyError(BadReason.UNDECODABLE_BODY, "the gzip data ends in the middle")
    return out
