"""Sink records to requests: the envelope of one HTTP request and its body as JSON text."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import orjson
import pyarrow as pa
from isal import isal_zlib

from clickstream_dagster.batches.objects import RawObject
from clickstream_dagster.processing.limits import MAX_BODY_BYTES
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
        ("envelope", pa.string()),
        ("bad_reason", pa.string()),
        ("bad_detail", pa.string()),
        ("payload", pa.binary()),
    ]
)
"""What a transformer is given: a row per request; `body` is the JSON text of its events.

A request with a `bad_reason` has no body; it must be passed on as one bad row.
"""

_BUNDLE = re.compile(r"[?&]event_bundle_sequence_id=(\d{1,18})(?:&|$)")
_UPLOAD = re.compile(r"[?&]upload_timestamp=(\d{1,18})(?:&|$)")
_GZIP_MAGIC = b"\x1f\x8b"
_BLANK = " \t\r\n\ufeff"  # some clients send a byte order mark


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


def read_requests(
    objects: Iterable[RawObject], tally: ReadTally, batch_bytes: int = 16 << 20
) -> Iterator[pa.RecordBatch]:
    """Read raw objects as REQUEST batches whose bodies add up to about `batch_bytes`.

    Raises SourceError when an object can't be read. A damaged object gives its whole lines and
    one bad row for the rest.
    """
    rows: list[tuple[object, ...]] = []
    size = 0
    for raw in objects:
        tally.objects += 1
        tally.bytes += raw.size
        for row in _object_rows(raw):
            tally.requests += 1
            rows.append(row)
            size += len(row[8] or "") + 512
            if size >= batch_bytes:
                yield _batch(rows)
                rows, size = [], 0
    if rows:
        yield _batch(rows)


def _batch(rows: list[tuple[object, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, REQUEST, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=REQUEST)


def _object_rows(raw: RawObject) -> Iterator[tuple[object, ...]]:
    line_number = 0
    with open_object(raw.uri) as stream:
        try:
            for line_number, line in enumerate(read_lines(stream), start=1):
                yield _request_row(line, raw, line_number)
        except BrokenObjectError as error:
            yield _bad_row(raw, line_number + 1, BadReason.BROKEN_OBJECT, str(error), error.rest)


def _bad_row(
    raw: RawObject, line_number: int, reason: BadReason, detail: str, payload: bytes
) -> tuple[object, ...]:
    return (
        f"{raw.uri}#{line_number}",
        raw.arrival_ms,
        *(None,) * 7,
        raw.uri,
        line_number,
        None,
        reason,
        detail,
        payload,
    )


def _request_row(line: bytes, raw: RawObject, line_number: int) -> tuple[object, ...]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _bad_row(raw, line_number, BadReason.NOT_A_RECORD, str(error), line)
    if not isinstance(record, dict):
        return _bad_row(
            raw, line_number, BadReason.NOT_A_RECORD, "the line is not a JSON object", line
        )
    data = record.pop("data", None)
    body = reason = detail = payload = None
    try:
        body = decode_body(data)
    except BadBodyError as error:
        reason, detail, payload = error.reason, str(error), line
    uri = record.get("uri")
    uri = uri if isinstance(uri, str) else ""
    bundle = _BUNDLE.search(uri)
    return (
        _text(record.get("rid")) or f"{raw.uri}#{line_number}",
        _ingest_ms(record) or raw.arrival_ms,
        _text(record.get("ip")),
        _text(record.get("ua")),
        _text(record.get("platform")),
        _text(record.get("appId")),
        _upload_ms(record, uri),
        int(bundle[1]) if bundle else 0,
        body,
        raw.uri,
        line_number,
        orjson.dumps(record).decode(),
        reason,
        detail,
        payload,
    )


def decode_body(data: object) -> str:
    """Give the JSON text of a request body, by looking at the body itself.

    Plain JSON is taken as it is (a single object as an array of one); anything else must be
    base64 of gzip, or base64, of JSON. Query parameters such as `compression` are not trusted
    (seed 000, "Ingestion endpoint"). Raises BadBodyError.
    """
    if isinstance(data, list | dict):
        data = orjson.dumps(data).decode()
    if not isinstance(data, str) or not (text := data.strip(_BLANK)):
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


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    # JSON numbers may be larger than the lake's 64-bit column.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1 << 62:
        return int(value)
    return None


def _ingest_ms(record: dict[str, object]) -> int | None:
    for key in ("ingest_time", "server_ingest_time"):
        if value := _whole(record.get(key)):
            return value
    for key in ("timestamp", "date"):
        text = record.get(key)
        if isinstance(text, str):
            try:
                return int(datetime.fromisoformat(text).timestamp() * 1000)
            except ValueError:
                continue
    return None


def _upload_ms(record: dict[str, object], uri: str) -> int | None:
    if value := _whole(record.get("client_timestamp")):
        return value
    match = _UPLOAD.search(uri)
    return int(match[1]) if match else None
