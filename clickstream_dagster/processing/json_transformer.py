"""A base for transformers of other SDKs whose bodies are JSON arrays of events.

A subclass says how an event is built and which of its parts become which columns; parsing, typing
of parameters and bad records are done here, set-based, as for the built-in SDKs.
"""

from collections.abc import Iterator
from typing import ClassVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickstream_dagster.processing.events import EVENT, conform
from clickstream_dagster.processing.key_values import KeyValues, value_fields
from clickstream_dagster.processing.limits import MAX_TIMESTAMP_MS, MIN_TIMESTAMP_MS
from clickstream_dagster.processing.native import connect, parse_json
from clickstream_dagster.processing.plugins import ArrowPlugin
from clickstream_dagster.processing.requests import BadReason, envelope

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
_QUERY = """
with parsed as (
    select * exclude (bad_reason, bad_detail), {{parse}} as elements
    from requests
    where bad_reason is null
),
element as (
    select
        * exclude (elements),
        unnest(elements) as e,
        unnest(range(len(elements)))::integer as request_position
    from parsed
)
select {columns}, place, request_position, {of_request}, to_json(e) as element
from element
"""
_SILENT = f"""
select
    * exclude (bad_reason),
    case
        when not json_valid(body) then '{BadReason.NOT_JSON}'
        when json_type(body) <> 'ARRAY' then '{BadReason.NOT_AN_ARRAY}'
        when json_array_length(body) > 0 then '{BadReason.NOT_JSON}'
    end as bad_reason
from silent
"""
_MISSING = {
    "event_id": BadReason.MISSING_EVENT_ID,
    "event_name": BadReason.MISSING_EVENT_NAME,
    "app_id": BadReason.MISSING_APP_ID,
    "user_pseudo_id": BadReason.MISSING_USER,
    "event_timestamp": BadReason.MISSING_TIMESTAMP,
}


class JsonTransformer(ArrowPlugin):
    """Turn JSON arrays of events into EVENT rows.

    `structure` is the DuckDB structure of a body, as `from_json` takes it: `[{"id": "VARCHAR"}]`.
    `columns` is the list of a SQL select: columns of EVENT, made of `e`, one element of the body,
    and of what requests have. It gives at least event_id, event_name, app_id, user_pseudo_id and
    event_timestamp (ms UTC); a column `params` of type MAP(VARCHAR, JSON) becomes event_params.
    An event without one of these, or a body that can't be read, becomes a bad row.
    """

    structure: ClassVar[str]
    columns: ClassVar[str]

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the events of each batch of requests, and its bad records."""
        query = _QUERY.format(columns=self.columns, of_request=", ".join(_OF_REQUEST))
        with connect() as connection:
            for batch in batches:
                place = pa.array(range(batch.num_rows), pa.int64())
                requests = pa.Table.from_batches([batch]).append_column("place", place)
                connection.register("requests", requests)
                events = parse_json(connection, query, "body", self.structure)
                connection.unregister("requests")
                yield from self._events(events, requests).to_batches()
                yield from self._bad_requests(requests, events, connection).to_batches()

    def _events(self, events: pa.Table, requests: pa.Table) -> pa.Table:
        columns = {name: events.column(name).combine_chunks() for name in events.column_names}
        reason = pa.nulls(events.num_rows, pa.string())
        for name, missing in _MISSING.items():
            column = columns[name]
            lacks = column.is_null()
            if pa.types.is_string(column.type):
                lacks = pc.or_kleene(lacks, pc.equal(column, ""))
            reason = pc.if_else(pc.and_(lacks, reason.is_null()), str(missing), reason)
        time = columns["event_timestamp"].cast(pa.int64())
        plausible = pc.and_(
            pc.greater_equal(time, MIN_TIMESTAMP_MS), pc.less(time, MAX_TIMESTAMP_MS)
        ).fill_null(False)
        out_of_range = pc.and_(pc.invert(plausible), reason.is_null())
        reason = pc.if_else(out_of_range, str(BadReason.TIMESTAMP_OUT_OF_RANGE), reason)
        time = pc.if_else(plausible, time, pa.scalar(None, pa.int64()))
        if "params" in columns:
            params = KeyValues(columns.pop("params"))
            fields = value_fields(params.values)
            columns["event_params"] = params.structs(fields, np.full(len(params.row), True))
        is_bad = reason.is_valid()
        lines = pc.if_else(is_bad, columns["place"], pa.scalar(None, pa.int64()))
        payload = pc.if_else(is_bad, columns["element"], pa.scalar(None, pa.string()))
        columns |= {
            "event_timestamp": time,
            "event_date": time.cast(pa.timestamp("ms")).cast(pa.date32(), safe=False),
            "event_server_timestamp_offset": pc.subtract(columns["ingest_timestamp"], time),
            "event_previous_timestamp": pa.repeat(pa.scalar(0, pa.int64()), events.num_rows),
            "project_id": pa.repeat(self.context.project_id, events.num_rows),
            "is_bot": pa.repeat(False, events.num_rows),
            "bad_reason": reason,
            "envelope": _envelopes(requests, lines),
            "payload": payload.cast(pa.binary()),
        }
        return conform(pa.table(columns), EVENT)

    def _bad_requests(
        self, requests: pa.Table, events: pa.Table, connection: duckdb.DuckDBPyConnection
    ) -> pa.Table:
        """Give one row for every request that could not be read."""
        bad = requests.filter(requests.column("bad_reason").is_valid())
        spoke = pc.is_in(requests.column("place"), events.column("place").combine_chunks())
        silent = requests.filter(pc.and_(requests.column("bad_reason").is_null(), pc.invert(spoke)))
        if silent.num_rows:
            connection.register("silent", silent)
            judged = connection.sql(_SILENT).to_arrow_table().select(requests.column_names)
            connection.unregister("silent")
            judged = judged.filter(judged.column("bad_reason").is_valid())
            bad = pa.concat_tables([bad, judged.cast(requests.schema)])
        columns = {
            ("app_id" if name == "request_app_id" else name): bad.column(name)
            for name in bad.column_names
            if name not in ("record", "body", "place")
        }
        lines = [line.strip() for line in bad.column("record").to_pylist()]
        columns["envelope"] = pa.array([envelope(line) for line in lines], pa.string())
        columns["payload"] = pa.array(lines, pa.binary())
        columns["project_id"] = pa.repeat(self.context.project_id, bad.num_rows)
        return conform(pa.table(columns), EVENT)


def _envelopes(requests: pa.Table, places: pa.Array) -> pa.Array:
    """Give the envelope of the request at each place, null for null; each is made once."""
    encoded = places.dictionary_encode()
    records = requests.column("record").take(encoded.dictionary).to_pylist()
    made = pa.array([envelope(record) for record in records], pa.string())
    return made.take(encoded.indices)
