"""The built-in transformer: requests of the Web, Android and iOS SDKs to events.

Shapes are those of seed 000, "Sample event structure" and "Common attributes"; the target is
"Data schema". JSON is parsed by DuckDB, a batch of requests at a time; no Python runs per event.
"""

import json
from collections.abc import Iterator

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from clickstream_dagster.processing.events import EVENT, conform
from clickstream_dagster.processing.key_values import KeyValues, value_fields
from clickstream_dagster.processing.limits import MAX_TIMESTAMP_MS, MIN_TIMESTAMP_MS
from clickstream_dagster.processing.native import connect, parse_json
from clickstream_dagster.processing.plugins import ArrowPlugin, PluginContext
from clickstream_dagster.processing.requests import BadReason, envelope

_ECOMMERCE = {
    "total_item_quantity": "BIGINT",
    "purchase_revenue_in_usd": "DOUBLE",
    "purchase_revenue": "DOUBLE",
    "refund_value_in_usd": "DOUBLE",
    "refund_value": "DOUBLE",
    "shipping_value_in_usd": "DOUBLE",
    "shipping_value": "DOUBLE",
    "tax_value_in_usd": "DOUBLE",
    "tax_value": "DOUBLE",
    "transaction_id": "VARCHAR",
    "unique_items": "BIGINT",
}
_ITEM = {
    "brand": "VARCHAR",
    "category": "VARCHAR",
    "category2": "VARCHAR",
    "category3": "VARCHAR",
    "category4": "VARCHAR",
    "category5": "VARCHAR",
    "creative_name": "VARCHAR",
    "creative_slot": "VARCHAR",
    "id": "VARCHAR",
    "location_id": "VARCHAR",
    "name": "VARCHAR",
    "price": "DOUBLE",
    "quantity": "INTEGER",
}
_SCALARS = (
    "app_id",
    "unique_id",
    "device_id",
    "device_unique_id",
    "event_type",
    "event_id",
    "timestamp",
    "platform",
    "os_version",
    "make",
    "brand",
    "model",
    "carrier",
    "network_type",
    "screen_height",
    "screen_width",
    "viewport_height",
    "viewport_width",
    "zone_offset",
    "locale",
    "system_language",
    "country_code",
    "sdk_version",
    "sdk_name",
    "host_name",
    "app_version",
    "app_package_name",
)
_EVENT_STRUCTURE = json.dumps(
    [
        {
            # Texts, so that a value of the wrong type is seen as one instead of vanishing.
            **dict.fromkeys(_SCALARS, "VARCHAR"),
            "ecommerce": _ECOMMERCE,
            "items": [_ITEM],
            "event_dimensions": "JSON",
            "user": 'MAP(VARCHAR, STRUCT("value" JSON, set_timestamp BIGINT))',
            "attributes": "MAP(VARCHAR, JSON)",
        }
    ]
)

# Bodies that gave no event: unreadable, no array, or simply empty.
_SILENT = f"""
select
    *,
    case
        when not json_valid(body) then '{BadReason.NOT_JSON}'
        when json_type(body) <> 'ARRAY' then '{BadReason.NOT_AN_ARRAY}'
        -- Whatever else was not read must not vanish.
        when json_array_length(body) > 0 then '{BadReason.NOT_JSON}'
    end as reason
from silent
"""

# Objects that became no map hold the same key twice.
_REPEATED_KEYS = """
select place
from suspects
where
    len(list_filter(json_extract(body, '$[*].attributes'), lambda j: json_type(j) = 'OBJECT'))
        > attributes
    or len(list_filter(json_extract(body, '$[*].user'), lambda j: json_type(j) = 'OBJECT'))
        > users
"""

_BLANK = "' ' || chr(9) || chr(10) || chr(13)"
_EVENTS = f"""
with parsed as (
    select
        * exclude (bad_reason, bad_detail),
        {{parse}} as events
    from requests
    -- A cut array shows at its end, without being read.
    where bad_reason is null and ends_with(rtrim(body, {_BLANK}), ']')
),
event as (
    select
        * exclude (events),
        unnest(events) as e,
        unnest(range(len(events)))::integer as request_position
    from parsed
),
typed as (
    select
        *,
        case
            when try_cast(e.timestamp as bigint)
                between {MIN_TIMESTAMP_MS} and {MAX_TIMESTAMP_MS - 1}
            then try_cast(e.timestamp as bigint)
        end as event_ms,
        coalesce(e.event_id, '') = '' as no_event_id,
        coalesce(e.event_type, '') = '' as no_event_name,
        coalesce(e.app_id, '') = '' as no_app_id,
        coalesce(e.unique_id, '') = '' as no_user
    from event
)
select
    struct_pack(
        app_id := e.app_id,
        id := e.app_package_name,
        install_source := null::varchar,
        "version" := e.app_version
    ) as app_info,
    struct_pack(
        mobile_brand_name := e.brand,
        mobile_model_name := e.model,
        manufacturer := e.make,
        screen_width := try_cast(e.screen_width as bigint),
        screen_height := try_cast(e.screen_height as bigint),
        carrier := e.carrier,
        network_type := e.network_type,
        operating_system_version := e.os_version,
        operating_system := case when lower(e.platform) <> 'web' then e.platform end,
        ua_browser := null::varchar,
        ua_browser_version := null::varchar,
        ua_os := null::varchar,
        ua_os_version := null::varchar,
        ua_device := null::varchar,
        ua_device_category := null::varchar,
        system_language := e.system_language,
        time_zone_offset_seconds := try_cast(e.zone_offset as bigint) // 1000,
        vendor_id := e.device_id,
        advertising_id := e.device_unique_id,
        host_name := e.host_name
    ) as device,
    e.ecommerce as ecommerce,
    event_bundle_sequence_id,
    cast(epoch_ms(event_ms) as date) as event_date,
    case
        when json_type(e.event_dimensions) = 'OBJECT'
        then from_json(e.event_dimensions, '"MAP(VARCHAR, JSON)"')
    end as event_dimensions,
    e.event_id as event_id,
    e.event_type as event_name,
    e.attributes as attributes,
    0::bigint as event_previous_timestamp,
    ingest_timestamp - event_ms as event_server_timestamp_offset,
    event_ms as event_timestamp,
    struct_pack(
        city := null::varchar,
        continent := null::varchar,
        country := null::varchar,
        metro := null::varchar,
        region := null::varchar,
        sub_continent := null::varchar,
        locale := e.locale
    ) as geo,
    ingest_timestamp,
    e.items as items,
    coalesce(e.platform, platform) as platform,
    e."user" as "user",
    e.unique_id as user_pseudo_id,
    e.app_id as app_id,
    request_id,
    request_position,
    upload_timestamp,
    e.sdk_name as sdk_name,
    e.sdk_version as sdk_version,
    e.country_code as country_code,
    try_cast(e.viewport_width as bigint) as viewport_width,
    try_cast(e.viewport_height as bigint) as viewport_height,
    ip,
    user_agent,
    source_object,
    source_line,
    case
        when no_event_id and no_event_name and no_app_id and no_user and e.timestamp is null
            then case
                when coalesce(json_type(body, '$[' || request_position || ']'), '') = 'OBJECT'
                then '{BadReason.MISSING_EVENT_ID}'
                else '{BadReason.NOT_AN_OBJECT}'
            end
        when no_event_id then '{BadReason.MISSING_EVENT_ID}'
        when no_event_name then '{BadReason.MISSING_EVENT_NAME}'
        when no_app_id then '{BadReason.MISSING_APP_ID}'
        when no_user then '{BadReason.MISSING_USER}'
        when coalesce(e.timestamp, '') = '' then '{BadReason.MISSING_TIMESTAMP}'
        when event_ms is null then '{BadReason.TIMESTAMP_OUT_OF_RANGE}'
    end as bad_reason,
    case
        when bad_reason = '{BadReason.TIMESTAMP_OUT_OF_RANGE}'
        then 'timestamp is ' || left(e.timestamp, 100)
    end as bad_detail,
    place
from typed
"""

# Attributes with a column of their own; they are not repeated in event_params.
_PRIVACY = {
    "_privacy_info_ads_storage": "ads_storage",
    "_privacy_info_analytics_storage": "analytics_storage",
    "_privacy_info_uses_transient_token": "uses_transient_token",
}
_TRAFFIC_SOURCE = {
    "medium": "_traffic_source_medium",
    "name": "_traffic_source_name",
    "source": "_traffic_source_source",
}
_CHANNEL = "_channel"


class SdkTransformer(ArrowPlugin):
    """Turn REQUEST rows into EVENT rows; what can't be one becomes a bad row with its bytes."""

    output_schema = EVENT

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the events of each batch of requests, and its bad records."""
        with connect() as connection:
            for batch in batches:
                place = pa.array(range(batch.num_rows), pa.int64())
                requests = pa.Table.from_batches([batch]).append_column("place", place)
                yield from _transform(requests, connection, self.context)


def _transform(
    requests: pa.Table, connection: duckdb.DuckDBPyConnection, context: PluginContext
) -> Iterator[pa.RecordBatch]:
    events = _parse(requests, connection)
    is_bad = events.column("bad_reason").is_valid()
    bad_events = events.filter(is_bad)
    if bad_events.num_rows:
        yield from _bad_events(bad_events, requests, context)
        good = events.filter(pc.invert(is_bad)).combine_chunks()
    else:
        good = events
    if good.num_rows:
        yield from _typed(good, context).to_batches()
    yield from _bad_requests(requests, events, connection, context)


def _parse(requests: pa.Table, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Give the events of the requests, each with the `place` of its request."""
    connection.register("requests", requests.drop_columns(["record"]))
    events = parse_json(connection, _EVENTS, "body", _EVENT_STRUCTURE)
    fixed = _with_repeated_keys(requests, events, connection)
    if fixed is not None:
        connection.register("requests", fixed.drop_columns(["record"]))
        again = parse_json(connection, _EVENTS, "body", _EVENT_STRUCTURE)
        others = pc.invert(pc.is_in(events.column("place"), fixed.column("place")))
        events = pa.concat_tables([events.filter(others), again])
    connection.unregister("requests")
    return events.combine_chunks()


def _with_repeated_keys(
    requests: pa.Table, events: pa.Table, connection: duckdb.DuckDBPyConnection
) -> pa.Table | None:
    """Give the requests in which an object holds a key twice, with the last value only.

    Seed 000, "Event and attribute limitation": the latest value applies. DuckDB gives no map
    for such an object, so only requests with a missing map are looked at.
    """
    no_map = pc.or_(pc.is_null(events.column("attributes")), pc.is_null(events.column("user")))
    if not pc.any(no_map).as_py():
        return None
    suspects = requests.take(pc.unique(events.filter(no_map).column("place")))
    counts = events.group_by("place").aggregate([("attributes", "count"), ("user", "count")])
    suspects = suspects.join(counts, "place").rename_columns(
        {"attributes_count": "attributes", "user_count": "users"}
    )
    connection.register("suspects", suspects)
    places = connection.sql(_REPEATED_KEYS).to_arrow_table().column("place")
    connection.unregister("suspects")
    if len(places) == 0:
        return None
    repeated = requests.take(places)
    bodies: list[str] = []
    for body in repeated.column("body").to_pylist():
        try:
            bodies.append(orjson.dumps(orjson.loads(body)).decode())
        except orjson.JSONDecodeError:  # stricter than DuckDB: it refuses NaN, for example
            bodies.append(body)
    column = repeated.schema.get_field_index("body")
    return repeated.set_column(column, "body", pa.array(bodies, pa.string()))


def _typed(events: pa.Table, context: PluginContext) -> pa.Table:
    columns = {name: events.column(name).combine_chunks() for name in events.column_names}
    columns |= _from_attributes(KeyValues(columns.pop("attributes")), columns["app_info"])
    columns |= _from_user(KeyValues(columns.pop("user")))
    dimensions = KeyValues(columns.pop("event_dimensions"))
    columns["event_dimensions"] = dimensions.structs(
        value_fields(dimensions.values), np.full(len(dimensions.row), True)
    )
    columns["project_id"] = pa.repeat(context.project_id, events.num_rows)
    columns["is_bot"] = pa.repeat(False, events.num_rows)
    for name in ("bad_reason", "bad_detail", "place"):
        del columns[name]
    return conform(pa.table(columns), EVENT)


def _from_attributes(entries: KeyValues, app_info: pa.StructArray) -> dict[str, pa.Array]:
    fields = value_fields(entries.values)
    special = entries.is_key(*_PRIVACY, *_TRAFFIC_SOURCE.values(), _CHANNEL)
    privacy = entries.is_key(*_PRIVACY)
    app_fields = dict(zip(app_info.type.names, app_info.flatten(), strict=True))
    app_fields["install_source"] = _text_of(entries, _CHANNEL, fields)
    return {
        "event_params": entries.structs(fields, ~special),
        "privacy_info": _renamed(entries.structs(fields, privacy), _PRIVACY),
        "traffic_source": pa.StructArray.from_arrays(
            [_text_of(entries, key, fields) for key in _TRAFFIC_SOURCE.values()],
            list(_TRAFFIC_SOURCE),
        ),
        "app_info": pa.StructArray.from_arrays(list(app_fields.values()), list(app_fields)),
    }


def _renamed(lists: pa.ListArray, names: dict[str, str]) -> pa.ListArray:
    """Give the lists with other keys; a row without entries becomes null."""
    keys, values = lists.values.flatten()
    encoded = keys.dictionary_encode()
    new_names = [names[key] for key in encoded.dictionary.to_pylist()]
    new_keys = pa.array(new_names, pa.string()).take(encoded.indices)
    offsets = pc.if_else(
        pc.greater(pc.list_value_length(lists), 0), lists.offsets[:-1], pa.scalar(None, pa.int32())
    )
    return pa.ListArray.from_arrays(
        pa.concat_arrays([offsets, lists.offsets[-1:]]),
        pa.StructArray.from_arrays([new_keys, values], ["key", "value"]),
    )


def _from_user(entries: KeyValues) -> dict[str, pa.Array]:
    json_values, set_timestamp = entries.values.flatten()
    fields = value_fields(json_values)
    revenue = _double_of(entries, "_user_ltv_revenue", fields)
    ltv = entries.is_key("_user_ltv_revenue", "_user_ltv_currency")
    has_revenue = np.asarray(revenue.is_valid())
    keep = ~(ltv & has_revenue[entries.row])
    plausible = pc.and_(
        pc.greater_equal(set_timestamp, 0), pc.less(set_timestamp, MAX_TIMESTAMP_MS)
    )
    set_timestamp = pc.if_else(plausible, set_timestamp, pa.scalar(None, pa.int64()))
    fields["set_timestamp_micros"] = pc.multiply(set_timestamp, 1000)
    return {
        "user_properties": entries.structs(fields, keep),
        "user_id": _text_of(entries, "_user_id", fields),
        "user_first_touch_timestamp": entries.pick(
            "_user_first_touch_timestamp", fields["int_value"]
        ),
        "user_ltv": pa.StructArray.from_arrays(
            [revenue, _text_of(entries, "_user_ltv_currency", fields)],
            ["revenue", "currency"],
            mask=pa.array(~has_revenue),
        ),
    }


def _text_of(entries: KeyValues, key: str, fields: dict[str, pa.Array]) -> pa.StringArray:
    """Give the value under a key as text: a number in a text column is not lost."""
    return pc.coalesce(
        entries.pick(key, fields["string_value"]),
        entries.pick(key, fields["int_value"]).cast(pa.string()),
        entries.pick(key, fields["double_value"]).cast(pa.string()),
    )


def _double_of(entries: KeyValues, key: str, fields: dict[str, pa.Array]) -> pa.DoubleArray:
    """Give the number under a key, also when it was sent as text."""
    text = _text_of(entries, key, fields)
    is_number = pc.match_substring_regex(text, r"^-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$")
    number = pc.if_else(is_number, text, pa.scalar(None, pa.string())).cast(pa.float64())
    return pc.if_else(pc.is_finite(number), number, pa.scalar(None, pa.float64()))


def _bad_events(
    events: pa.Table, requests: pa.Table, context: PluginContext
) -> Iterator[pa.RecordBatch]:
    # What belongs to a request is looked up once, however many of its events are bad.
    encoded = events.column("place").combine_chunks().dictionary_encode()
    carriers = requests.take(encoded.dictionary)
    elements = [array_elements(body) for body in carriers.column("body").to_pylist()]
    envelopes = [envelope(record) for record in carriers.column("record").to_pylist()]
    payloads = [
        elements[carrier][position].encode() if position < len(elements[carrier]) else b""
        for carrier, position in zip(
            encoded.indices.to_pylist(), events.column("request_position").to_pylist(), strict=True
        )
    ]
    columns = {
        name: events.column(name)
        for name in (
            "event_id",
            "ingest_timestamp",
            "app_id",
            "request_id",
            "request_position",
            "source_object",
            "source_line",
            "bad_reason",
            "bad_detail",
        )
    }
    columns["envelope"] = pa.array(envelopes, pa.string()).take(encoded.indices)
    columns["payload"] = pa.array(payloads, pa.binary())
    yield from _bad_rows(columns, context)


def _bad_requests(
    requests: pa.Table,
    events: pa.Table,
    connection: duckdb.DuckDBPyConnection,
    context: PluginContext,
) -> Iterator[pa.RecordBatch]:
    unread = requests.filter(requests.column("bad_reason").is_valid())
    spoke = pc.is_in(requests.column("place"), events.column("place").combine_chunks())
    silent = requests.filter(pc.and_(requests.column("bad_reason").is_null(), pc.invert(spoke)))
    if silent.num_rows:
        connection.register("silent", silent.drop_columns(["bad_reason"]))
        reasons = connection.sql(_SILENT).to_arrow_table().rename_columns({"reason": "bad_reason"})
        connection.unregister("silent")
        bad = reasons.filter(reasons.column("bad_reason").is_valid()).select(requests.column_names)
        unread = pa.concat_tables([unread, bad.cast(requests.schema)])
    if unread.num_rows:
        lines = [line.strip() for line in unread.column("record").to_pylist()]
        columns = {
            ("app_id" if name == "request_app_id" else name): unread.column(name)
            for name in unread.column_names
            if name not in ("record", "body")
        }
        columns["envelope"] = pa.array([envelope(line) for line in lines], pa.string())
        columns["payload"] = pa.array(lines, pa.binary())
        yield from _bad_rows(columns, context)


def _bad_rows(columns: dict[str, pa.Array], context: PluginContext) -> Iterator[pa.RecordBatch]:
    size = len(columns["bad_reason"])
    project = pa.repeat(context.project_id, size)
    yield from conform(pa.table({**columns, "project_id": project}), EVENT).to_batches()


def array_elements(text: str) -> list[str]:
    """Give the exact text of every element of a JSON array.

    Where an element can't be read (it is nested too deeply), the rest of the text is the last one.
    """
    decoder = json.JSONDecoder()
    elements: list[str] = []
    place = start = text.index("[") + 1
    try:
        while True:
            while text[place] in " \t\r\n,":
                place += 1
            start = place
            if text[start] == "]":
                return elements
            _, place = decoder.raw_decode(text, start)
            elements.append(text[start:place])
    except (ValueError, RecursionError, IndexError):
        return [*elements, text[start:]]
