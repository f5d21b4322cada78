"""What transformers of JSON bodies share, and a base for those of other SDKs.

A subclass of JsonTransformer says which parts of an event become which columns; finding the events,
bad records and their bytes are the same for every SDK. No Python runs per event.
"""

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickstream_dagster.processing.bad_reasons import BadReason
from clickstream_dagster.processing.clocks import clock_shift
from clickstream_dagster.processing.events import EVENT, conform
from clickstream_dagster.processing.json_values import JsonBatch
from clickstream_dagster.processing.limits import (
    MAX_AHEAD_MS,
    MAX_EVENTS_A_BODY,
    MAX_TIMESTAMP_MS,
    MIN_TIMESTAMP_MS,
    SLICE_EVENTS,
)
from clickstream_dagster.processing.plugins import ArrowPlugin
from clickstream_dagster.processing.requests import body_fault, envelope

Columns = dict[str, pa.Array]

_DAY_MS = 86_400_000
_OF_REQUEST = (
    "request_id",
    "ingest_timestamp",
    "upload_timestamp",
    "event_bundle_sequence_id",
    "ip",
    "user_agent",
    "source_object",
    "source_line",
)
_MISSING = {
    "event_id": BadReason.MISSING_EVENT_ID,
    "event_name": BadReason.MISSING_EVENT_NAME,
    "app_id": BadReason.MISSING_APP_ID,
    "user_pseudo_id": BadReason.MISSING_USER,
    "event_timestamp": BadReason.MISSING_TIMESTAMP,
}


class JsonTransformer(ArrowPlugin):
    """Turn JSON arrays of events into EVENT rows: a subclass gives their `columns`.

    An event without one of the needed columns, or a body that can't be read, becomes a bad row
    with its bytes.
    """

    @abstractmethod
    def columns(self, json: JsonBatch, events: np.ndarray, requests: pa.RecordBatch) -> Columns:
        """Give columns of EVENT, a row for each of `events`, the nodes of objects in `json`.

        `requests` has the request of each event, parallel to them. At least event_id, event_name,
        app_id, user_pseudo_id and event_timestamp (ms UTC) are given; what is left out is null.
        """

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the events of each batch of requests, and its bad records."""
        for requests in batches:
            for columns in self._rows(requests):
                size = len(columns["request_id"])
                columns["project_id"] = pa.repeat(self.context.project_id, size)
                yield from conform(pa.table(columns), EVENT).to_batches()

    def _rows(self, requests: pa.RecordBatch) -> Iterator[Columns]:
        json = JsonBatch(requests.column("body"))
        bare = requests.drop_columns(["body", "record"])
        for events, request, position in event_slices(json):
            given = self.columns(json, events, bare.take(pa.array(request)))
            columns = of_requests(requests, request, position) | given
            time = plausible_ms(columns["event_timestamp"])
            ahead = is_ahead(time, columns, correct_clocks=self.context.correct_clocks)
            reason = _bad_reason(columns, ahead, json.is_object(events))
            days = pc.divide(time, _DAY_MS)
            columns |= {
                "event_timestamp": time,
                "event_date": days.cast(pa.int32()).cast(pa.date32()),
                "event_server_timestamp_offset": pc.subtract(columns["ingest_timestamp"], time),
                "event_previous_timestamp": pa.repeat(pa.scalar(0, pa.int64()), len(events)),
                "is_bot": pa.repeat(False, len(events)),
                "bad_reason": reason,
            }
            bad = np.flatnonzero(np.asarray(reason.is_valid()))
            if len(bad):
                place = np.full(len(events), len(bad))
                place[bad] = np.arange(len(bad))
                found = {
                    "envelope": envelopes(requests, request[bad]),
                    "payload": pa.array(map(json.written, events[bad]), pa.binary()),
                }
                for name, values in found.items():
                    nothing = pa.nulls(1, values.type)
                    columns[name] = pa.concat_arrays([values, nothing]).take(pa.array(place))
            yield columns
        unread = unread_requests(requests, json)
        if len(unread["request_id"]):
            yield unread


def event_slices(json: JsonBatch) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Give the elements of bodies, some thousands at a time: nodes, requests and places there.

    What is repeated for each event of a request (its address, its envelope) then stays small. Of a
    body with more than MAX_EVENTS_A_BODY elements there are none.
    """
    events, first = json.root_elements
    counts = json.element_counts
    request = np.repeat(np.arange(json.size), counts)
    position = (np.arange(len(events)) - first[request]).astype(np.int32)
    if (too_many := counts > MAX_EVENTS_A_BODY).any():
        kept = ~too_many[request]
        events, request, position = events[kept], request[kept], position[kept]
    for start in range(0, len(events), SLICE_EVENTS):
        part = slice(start, start + SLICE_EVENTS)
        yield events[part], request[part], position[part]


def _bad_reason(columns: Columns, ahead: np.ndarray, is_object: np.ndarray) -> pa.StringArray:
    time = columns["event_timestamp"]
    out_of_range = pc.and_(time.is_valid(), plausible_ms(time).is_null())
    reason = pc.if_else(
        pa.array(ahead), BadReason.TIMESTAMP_IN_FUTURE.value, pa.scalar(None, pa.string())
    )
    reason = pc.if_else(out_of_range, BadReason.TIMESTAMP_OUT_OF_RANGE.value, reason)
    for name, missing in reversed(_MISSING.items()):
        lacks = columns[name].is_null()
        if pa.types.is_string(columns[name].type):
            lacks = pc.or_kleene(lacks, pc.equal(columns[name], ""))
        reason = pc.if_else(lacks, missing.value, reason)
    return pc.if_else(pa.array(is_object), reason, BadReason.NOT_AN_OBJECT.value)


def of_requests(requests: pa.RecordBatch, request: np.ndarray, position: np.ndarray) -> Columns:
    """Give what events have from their requests, and their place there, from 0."""
    index = pa.array(request)
    columns = {name: requests.column(name).take(index) for name in _OF_REQUEST}
    # An event without a platform has its request's.
    columns["platform"] = requests.column("platform").take(index)
    first = requests.column("first_position").take(index)
    return columns | {"request_position": pc.add(first, pa.array(position, pa.int32()))}


def plausible_ms(ms: pa.Int64Array) -> pa.Int64Array:
    """Give times of the years 2000 to 2099, ms UTC; others are null."""
    plausible = pc.and_(pc.greater_equal(ms, MIN_TIMESTAMP_MS), pc.less(ms, MAX_TIMESTAMP_MS))
    return pc.if_else(plausible, ms, pa.scalar(None, pa.int64()))


CLOCK_COLUMNS = ("ingest_timestamp", "upload_timestamp")
"""Columns of REQUEST that tell the time."""


def is_ahead(time: pa.Int64Array, of_request: Columns, *, correct_clocks: bool) -> np.ndarray:
    """Mark events that are more than MAX_AHEAD_MS ahead of their arrival, with clocks corrected.

    `time` are plausible times, ms UTC; an event without one is not marked.
    """
    arrived = np.asarray(of_request["ingest_timestamp"])
    sent = np.asarray(time.fill_null(MIN_TIMESTAMP_MS))
    if not (sent > arrived + MAX_AHEAD_MS).any():
        return np.full(len(sent), False)
    if correct_clocks:
        uploaded = np.asarray(of_request["upload_timestamp"].fill_null(MIN_TIMESTAMP_MS - 1))
        sent = sent + clock_shift(sent, arrived, uploaded)
    return sent > arrived + MAX_AHEAD_MS


def envelopes(requests: pa.RecordBatch, request: np.ndarray) -> pa.StringArray:
    """Give the envelope of each request; one that is named often is read once."""
    encoded = pa.array(request).dictionary_encode()
    records = requests.column("record").take(encoded.dictionary)
    made = pa.array([envelope(record) for record in records.to_pylist()], pa.string())
    return made.take(encoded.indices)


def unread_requests(requests: pa.RecordBatch, json: JsonBatch) -> Columns:
    """Give the requests of which no event could be read, but for empty arrays."""
    reason, detail = body_fault(json, requests.column("bad_reason"), requests.column("bad_detail"))
    bad = requests.filter(reason.is_valid())
    lines = [line.strip(b"\r\n") for line in bad.column("record").to_pylist()]
    return {
        **{name: bad.column(name) for name in _OF_REQUEST},
        "platform": bad.column("platform"),
        "app_id": bad.column("request_app_id"),
        "bad_reason": reason.drop_null(),
        "bad_detail": detail.filter(reason.is_valid()),
        "envelope": pa.array([envelope(line) for line in lines], pa.string()),
        "payload": pa.array(lines, pa.binary()),
    }
