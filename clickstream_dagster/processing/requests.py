"""Sink records to requests: the envelope of one HTTP request and its body as JSON text."""

import binascii
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pybase64
from isal import isal_zlib

from clickstream_dagster.batches.objects import RawObject
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.processing import json_scan
from clickstream_dagster.processing.bad_reasons import BadReason
from clickstream_dagster.processing.json_values import JsonBatch
from clickstream_dagster.processing.limits import (
    MAX_BODY_BYTES,
    MAX_ENVELOPE_CHARACTERS,
    MAX_EVENTS_A_BODY,
    MAX_FIELD_CHARACTERS,
    MAX_REQUEST_TEXT_CHARACTERS,
    MAX_TIMESTAMP_MS,
    MIN_TIMESTAMP_MS,
)
from clickstream_dagster.processing.records import (
    BrokenObjectError,
    open_object,
    read_lines,
    require_unchanged,
)
from clickstream_dagster.processing.url_queries import query_numbers

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
        ("first_position", pa.int32()),
        ("bad_reason", pa.string()),
        ("bad_detail", pa.string()),
    ]
)
"""What a transformer is given: a row per request.

`body` is the JSON text of its events, `record` the line of the sink record. `first_position` is the
place of the body's first event in its request: 0, but for an event that is replayed alone. A
request with a `bad_reason` has no body; it must be passed on as one bad row.
"""

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_BASE64 = b"H4sI"  # the first three bytes of gzip
_BLANK = " \t\r\n"
_BLANK_BYTES = np.frombuffer(b" \t\r\n\v\f", np.uint8)
_BYTE_ORDER_MARK = "\ufeff"  # some clients send one in front
# JSON without events. Words and numbers are letters of base64, too, but never of gzip or JSON.
_LONE_VALUE = re.compile(r'".*|null|true|false|-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?', re.DOTALL)
_BATCH_BYTES = 16 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNPACKED_BYTES = 32 << 20


# Where a sink record tells of the time of arrival, best first (seed 000, "Ingestion endpoint").
_ARRIVAL_MS = ("ingest_time", "server_ingest_time")
_ARRIVAL_ISO = ("timestamp", "date")
_FIELDS = (
    *("data", "rid", "ip", "ua", "uri", "platform", "appId", "client_timestamp"),
    *_ARRIVAL_MS,
    *_ARRIVAL_ISO,
)


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


def read_requests(
    objects: Iterable[RawObject], tally: ReadTally, s3: S3Access | None = None
) -> Iterator[pa.RecordBatch]:
    """Read raw objects as batches of REQUEST rows, some megabytes each.

    Raises SourceError when an object can't be read, or has been written again since it was listed,
    also while it is read. A damaged object gives its whole lines and one bad row for the rest.
    """
    waiting: list[_Lines] = []
    waiting_bytes = 0
    for raw in objects:
        tally.objects += 1
        tally.bytes += raw.size
        number = 1
        with open_object(raw, s3) as stream:
            try:
                for lines in read_lines(stream):
                    part = _without_blank(lines, raw, number)
                    number += len(lines)
                    tally.requests += len(part.records)
                    waiting.append(part)
                    waiting_bytes += part.records.nbytes
                    if waiting_bytes >= _BATCH_BYTES:
                        yield from _requests(waiting)
                        waiting, waiting_bytes = [], 0
            except BrokenObjectError as error:
                require_unchanged(raw, stream)
                tally.requests += 1
                yield _broken_object(raw, number, error)
            # A file that grows gives half a line, which is whole in the window that takes it next.
            require_unchanged(raw, stream)
    if waiting:
        yield from _requests(waiting)


def load_compiled() -> None:
    """Load the compiled functions that reading needs, which a first batch would wait for."""
    record = pa.array([b'{"data":"[{\\"a\\":[1.5]}]"}'])
    nowhere = np.zeros(1, np.int64)
    for requests in requests_of(record, pa.array([""]), nowhere, nowhere):
        json = JsonBatch(requests.column("body"))
        values, _ = json.members(json.root_elements[0])
        json.is_key(values, "a")
        json.keys_of(values)
        json.typed(values)
        json.is_missing(values)
        json.is_longer(values, 1)


def single_events(
    bodies: pa.StringArray,
    envelopes: pa.StringArray,
    request_id: pa.StringArray,
    ingest_timestamp: pa.Int64Array,
    request_position: pa.Int32Array,
    source_object: pa.StringArray,
    source_line: pa.Int64Array,
) -> pa.RecordBatch:
    """Give, for events that are apart from their requests, a REQUEST row each.

    Each body is an array of the event. What the envelope tells is read as from a whole record.
    """
    encoded = envelopes.dictionary_encode()
    distinct = encoded.dictionary.cast(pa.binary())
    nowhere = np.zeros(len(distinct), np.int64)
    of_request = pa.Table.from_batches(
        requests_of(distinct, pa.repeat("", len(distinct)), nowhere, nowhere), REQUEST
    ).take(encoded.indices)
    given = {
        "request_id": request_id,
        "ingest_timestamp": ingest_timestamp,
        "body": bodies,
        "source_object": source_object,
        "source_line": source_line,
        "first_position": request_position,
        "bad_reason": pa.nulls(len(bodies), pa.string()),
        "bad_detail": pa.nulls(len(bodies), pa.string()),
    }
    columns = dict(zip(of_request.column_names, of_request.columns, strict=True)) | given
    table = pa.table([columns[name] for name in REQUEST.names], schema=REQUEST)
    (batch,) = table.combine_chunks().to_batches()
    return batch


def _without_blank(lines: pa.BinaryArray, raw: RawObject, first: int) -> _Lines:
    numbers = np.arange(first, first + len(lines))
    # Only a short line can be a blank one.
    short = np.flatnonzero(np.asarray(pc.less(pc.binary_length(lines), 8)))
    if len(short):
        _, offsets, data = lines.take(pa.array(short)).buffers()
        ends = np.frombuffer(offsets, np.int32)[: len(short) + 1]
        printed = np.isin(np.frombuffer(data, np.uint8)[: ends[-1]], _BLANK_BYTES, invert=True)
        printed_before = np.concatenate([[0], np.cumsum(printed)])[ends]
        keep = np.full(len(lines), True)
        keep[short] = printed_before[1:] > printed_before[:-1]
        lines, numbers = lines.filter(pa.array(keep)), numbers[keep]
    return _Lines(lines, raw, numbers)


def _broken_object(raw: RawObject, number: int, error: BrokenObjectError) -> pa.RecordBatch:
    row = dict.fromkeys(REQUEST.names) | {
        "request_id": f"{raw.uri}#{number}",
        "ingest_timestamp": raw.arrival_ms,
        "source_object": raw.uri,
        "source_line": number,
        "record": error.rest,
        "first_position": 0,
        "bad_reason": BadReason.BROKEN_OBJECT,
        "bad_detail": str(error),
    }
    return pa.RecordBatch.from_pylist([row], schema=REQUEST)


def _requests(lines: list[_Lines]) -> Iterator[pa.RecordBatch]:
    part_of = np.repeat(np.arange(len(lines)), [len(part.records) for part in lines])
    return requests_of(
        pa.concat_arrays([part.records for part in lines]),
        pa.array([part.source.uri for part in lines]).take(pa.array(part_of)),
        np.concatenate([part.numbers for part in lines]),
        np.array([part.source.arrival_ms for part in lines])[part_of],
    )


def requests_of(
    records: pa.BinaryArray,
    source_object: pa.StringArray,
    source_line: np.ndarray,
    arrival: np.ndarray,
) -> Iterator[pa.RecordBatch]:
    """Read sink records as batches of REQUEST rows.

    `source_object` and `source_line` say where each record lies, `arrival` (ms UTC) when it came,
    for those that do not tell.
    """
    read = JsonBatch(texts_of(records))
    fields = read.fields(read.roots, _FIELDS)
    request_id = _bounded(read.texts(fields["rid"]), MAX_FIELD_CHARACTERS)
    if request_id.null_count:
        places = pc.binary_join_element_wise(
            source_object, pa.array(source_line).cast(pa.string()), "#"
        )
        request_id = pc.coalesce(request_id, places)
    uri = read.texts(fields["uri"])
    columns = {
        "request_id": request_id,
        "ingest_timestamp": _ingest_timestamp(read, fields, arrival),
        "ip": _bounded(read.texts(fields["ip"])),
        "user_agent": _bounded(read.texts(fields["ua"])),
        "platform": _bounded(read.texts(fields["platform"]), MAX_FIELD_CHARACTERS),
        "request_app_id": _bounded(read.texts(fields["appId"])),
        "upload_timestamp": _upload_timestamp(read.integers(fields["client_timestamp"]), uri),
        "event_bundle_sequence_id": query_numbers(uri, "event_bundle_sequence_id").fill_null(0),
        "source_object": source_object,
        "source_line": pa.array(source_line),
        "record": records,
        "first_position": pa.repeat(pa.scalar(0, pa.int32()), len(records)),
    }
    is_record = read.is_object(read.roots)
    for start, stop, decoded in _decode(read, fields["data"], is_record):
        part = {name: column.slice(start, stop - start) for name, column in columns.items()}
        yield pa.RecordBatch.from_arrays(
            [(part | decoded)[name] for name in REQUEST.names], schema=REQUEST
        )


def _bounded(
    texts: pa.StringArray, characters: int = MAX_REQUEST_TEXT_CHARACTERS
) -> pa.StringArray:
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    return texts if longest <= characters else pc.utf8_slice_codeunits(texts, 0, characters)


def _ingest_timestamp(
    read: JsonBatch, fields: dict[str, np.ndarray], arrival: np.ndarray
) -> pa.Int64Array:
    """Give the first plausible time of arrival that a record tells; the object's own at worst."""
    found = np.full(read.size, -1)
    for name in _ARRIVAL_MS:
        given = np.asarray(read.integers(fields[name]).fill_null(-1))
        found = np.where(_plausible(found), found, given)
    # Collectors write milliseconds; only records that lack them cost a look at the others.
    for place in np.flatnonzero(~_plausible(found)):
        for name in _ARRIVAL_ISO:
            (text,) = read.texts(fields[name][place : place + 1]).to_pylist()
            found[place] = _iso_ms(text)
            if _plausible(found[place]):
                break
        else:
            found[place] = arrival[place]
    return pa.array(found)


def _plausible(ms: np.ndarray) -> np.ndarray:
    return (ms >= MIN_TIMESTAMP_MS) & (ms < MAX_TIMESTAMP_MS)


def _iso_ms(text: str | None) -> int:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return -1
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _upload_timestamp(given: pa.Int64Array, uri: pa.StringArray) -> pa.Int64Array:
    if given.null_count == 0:
        return given
    return pc.coalesce(given, query_numbers(uri, "upload_timestamp"))


def texts_of(records: pa.BinaryArray) -> pa.StringArray:
    """Give bytes as text; what is not UTF-8 becomes an empty one."""
    try:
        return records.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_decoded_or_empty(text) for text in records.to_pylist()], pa.string())


def _decoded_or_empty(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return ""


def _decode(
    read: JsonBatch, data: np.ndarray, is_record: np.ndarray
) -> Iterator[tuple[int, int, dict[str, pa.StringArray]]]:
    """Give the bodies of rows `start` to `stop` as JSON text, or why there is none.

    `data` are their nodes. Plain JSON arrays, the usual case, are passed on as they are. A slice
    ends as soon as its packed bodies have grown to some megabytes.
    """
    others = np.flatnonzero(~read.begin_with(data, "["))
    texts = read.texts(data[others]).cast(pa.binary()).to_pylist()
    start = first = size = 0
    decoded: list[_Decoded] = []
    for n, place in enumerate(others):
        decoded.append(_decode_one(texts[n], is_record[place]))
        size += len(decoded[-1][0] or b"")
        if size >= _UNPACKED_BYTES:
            stop = int(place) + 1
            places = others[first : n + 1] - start
            yield start, stop, _decoded_columns(read, data[start:stop], places, decoded)
            start, first, size, decoded = stop, n + 1, 0, []
    if start < len(data):
        yield (
            start,
            len(data),
            _decoded_columns(read, data[start:], others[first:] - start, decoded),
        )


_Decoded = tuple[bytes | None, str | None, str | None]


def _decode_one(body: bytes | None, is_record: bool) -> _Decoded:
    if not is_record:
        return None, BadReason.NOT_A_RECORD, "the line is no JSON object"
    if body and (usual := _unpack_usual(body)):
        return usual, None, None
    try:
        return decode_body(body.decode() if body else None).encode(), None, None
    except BadBodyError as error:
        return None, error.reason, str(error)


def _unpack_usual(body: bytes) -> bytes | None:
    """Unpack a body as SDKs write it: one member of gzip in plain base64, an array.

    Gives None for any other: decode_body says what is wrong with it, if anything is.
    """
    if not body.startswith(_GZIP_BASE64):
        return None
    inflater = isal_zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(pybase64.b64decode(body, validate=True), MAX_BODY_BYTES + 1)
        if not text.isascii():
            text.decode()
    except (binascii.Error, isal_zlib.error, UnicodeDecodeError):
        return None
    is_whole = inflater.eof and not inflater.unused_data and len(text) <= MAX_BODY_BYTES
    return text if is_whole and text.startswith(b"[") else None


def _decoded_columns(
    read: JsonBatch, data: np.ndarray, places: np.ndarray, decoded: list[_Decoded]
) -> dict[str, pa.StringArray]:
    """Give the columns body, bad_reason and bad_detail: `decoded` at `places`, others plain."""
    bodies, reasons, details = zip(*decoded, strict=True) if decoded else ((), (), ())
    bad = np.full(len(data), len(places))
    bad[places] = np.arange(len(places))
    return {
        "body": read.texts_but(data, places, pa.array(bodies, pa.binary()).cast(pa.string())),
        "bad_reason": pa.array([*reasons, None], pa.string()).take(pa.array(bad)),
        "bad_detail": pa.array([*details, None], pa.string()).take(pa.array(bad)),
    }


def envelope(record: bytes) -> str | None:
    """Give a sink record without its body as JSON, None if it can't be read.

    A very long one is cut at MAX_ENVELOPE_CHARACTERS: it is repeated for each bad event.
    """
    try:
        fields = json.loads(record)  # takes half surrogate pairs and NaN, which orjson refuses
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    fields.pop("data", None)
    return json.dumps(fields, separators=(",", ":"))[:MAX_ENVELOPE_CHARACTERS]


def decode_body(data: str | None) -> str:
    """Give the JSON text of a request body, by looking at the body itself.

    Plain JSON is taken as it is (a single object as an array of one); anything else must be
    base64 of gzip, or base64, of JSON, in lines or not, padded or not: so the seed solution reads
    it. Query parameters such as `compression` are not trusted (seed 000, "Ingestion endpoint").
    Raises BadBodyError.
    """
    text = _trimmed(data or "")
    if not text:
        raise BadBodyError(BadReason.MISSING_BODY, "the record has no data")
    if text[0] not in "[{" and not _LONE_VALUE.fullmatch(text):
        text = _unpack(text)
    return f"[{text}]" if text.startswith("{") else text


def _unpack(text: str) -> str:
    letters = "".join(text.split())
    letters += "=" * (-len(letters) % 4)
    try:
        packed = pybase64.b64decode(letters.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadBodyError(
            BadReason.UNDECODABLE_BODY, f"the body is neither JSON nor base64: {error}"
        ) from error
    if packed.startswith(_GZIP_MAGIC):
        packed = _gunzip(packed)
    try:
        unpacked = _trimmed(packed.decode())
    except UnicodeDecodeError as error:
        raise BadBodyError(BadReason.UNDECODABLE_BODY, f"not gzip, not UTF-8: {error}") from error
    if not unpacked:
        raise BadBodyError(BadReason.MISSING_BODY, "the body unpacks to nothing")
    return unpacked


def _trimmed(text: str) -> str:
    return text.lstrip(_BLANK + _BYTE_ORDER_MARK).rstrip(_BLANK)


def _gunzip(packed: bytes) -> bytes:
    """Unpack gzip, of one member or several, one behind the other (RFC 1952)."""
    out = b""
    while packed.startswith(_GZIP_MAGIC):
        inflater = isal_zlib.decompressobj(wbits=31)
        try:
            out += inflater.decompress(packed, MAX_BODY_BYTES + 1 - len(out))
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
        packed = inflater.unused_data.lstrip(b"\0")
    if packed:
        raise BadBodyError(BadReason.UNDECODABLE_BODY, "foreign bytes follow the gzip data")
    return out


def body_fault(
    json: JsonBatch, reason: pa.StringArray, detail: pa.StringArray
) -> tuple[pa.StringArray, pa.StringArray]:
    """Give why bodies hold no events, and the detail: known reasons, and what reading them found.

    `json` holds the bodies. A body that is an array has no fault, also when it is empty, but for
    one of more than MAX_EVENTS_A_BODY elements.
    """
    is_open = np.asarray(reason.is_null())
    unread = is_open & ~json.is_array(json.roots)
    too_many = is_open & (json.element_counts > MAX_EVENTS_A_BODY)
    if too_many.any():
        reason = pc.if_else(pa.array(too_many), BadReason.TOO_MANY_EVENTS.value, reason)
    for fault, why in (
        ((json.faults == json_scan.OK) & (json.roots >= 0), BadReason.NOT_AN_ARRAY),
        (json.faults == json_scan.NOT_JSON, BadReason.NOT_JSON),
        (json.faults == json_scan.TOO_DEEP, BadReason.TOO_DEEP),
    ):
        reason = pc.if_else(pa.array(unread & fault), why.value, reason)
    return reason, detail
