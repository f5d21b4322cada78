"""The built-in transformer: requests of the Web, Android and iOS SDKs to events.

Shapes are those of seed 000, "Sample event structure" and "Common attributes"; the target is
"Data schema". Bodies become columns a batch at a time; no Python runs per event.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickstream_dagster.processing import limits
from clickstream_dagster.processing.bad_reasons import BadReason
from clickstream_dagster.processing.events import EVENT, conform
from clickstream_dagster.processing.json_transformer import (
    CLOCK_COLUMNS,
    envelopes,
    event_slices,
    is_ahead,
    of_requests,
    plausible_ms,
    unread_requests,
)
from clickstream_dagster.processing.json_values import JsonBatch
from clickstream_dagster.processing.key_values import Discarded, KeyValues, MemberLimits
from clickstream_dagster.processing.plugins import ArrowPlugin
from clickstream_dagster.processing.schema import (
    APP_INFO,
    DEVICE,
    ECOMMERCE,
    GEO,
    ITEM,
    TRAFFIC_SOURCE,
    USER_LTV,
)

_DAY_MS = 86_400_000

_NEEDED = {
    "event_id": BadReason.MISSING_EVENT_ID,
    "event_type": BadReason.MISSING_EVENT_NAME,
    "app_id": BadReason.MISSING_APP_ID,
    "unique_id": BadReason.MISSING_USER,
    "timestamp": BadReason.MISSING_TIMESTAMP,
}
"""What an event can't do without, and the reason when it is missing; the first one counts."""

_NAMES_AND_IDS = {
    "app_id": (limits.MAX_ID_CHARACTERS, BadReason.ID_TOO_LONG),
    "unique_id": (limits.MAX_ID_CHARACTERS, BadReason.ID_TOO_LONG),
    "event_id": (limits.MAX_ID_CHARACTERS, BadReason.ID_TOO_LONG),
    "event_type": (limits.MAX_EVENT_NAME_CHARACTERS, BadReason.EVENT_NAME_TOO_LONG),
}
"""How long what identifies an event may be, and the reason when it is longer."""

_ATTRIBUTES = MemberLimits(
    members=limits.MAX_ATTRIBUTES,
    name=limits.NAME,
    name_characters=limits.MAX_ATTRIBUTE_NAME_CHARACTERS,
    value_characters=limits.MAX_ATTRIBUTE_VALUE_CHARACTERS,
    preset_value_characters=limits.MAX_PRESET_VALUE_CHARACTERS,
    too_many=BadReason.TOO_MANY_ATTRIBUTES.value,
    invalid_name=BadReason.INVALID_ATTRIBUTE_NAME.value,
    name_too_long=BadReason.ATTRIBUTE_NAME_TOO_LONG.value,
    value_too_long=BadReason.ATTRIBUTE_VALUE_TOO_LONG.value,
    no_value=BadReason.WRONG_TYPE.value,
)
_USER_ATTRIBUTES = MemberLimits(
    members=limits.MAX_USER_ATTRIBUTES,
    name=limits.NAME,
    name_characters=limits.MAX_USER_ATTRIBUTE_NAME_CHARACTERS,
    value_characters=limits.MAX_USER_ATTRIBUTE_VALUE_CHARACTERS,
    preset_value_characters=limits.MAX_USER_ATTRIBUTE_VALUE_CHARACTERS,
    too_many=BadReason.TOO_MANY_USER_ATTRIBUTES.value,
    invalid_name=BadReason.INVALID_USER_ATTRIBUTE_NAME.value,
    name_too_long=BadReason.USER_ATTRIBUTE_NAME_TOO_LONG.value,
    value_too_long=BadReason.USER_ATTRIBUTE_VALUE_TOO_LONG.value,
    no_value=BadReason.WRONG_TYPE.value,
)

# No SDK sends them and no seed limits them: what is bounded is what they may cost.
_DIMENSIONS = MemberLimits(
    members=limits.MAX_ATTRIBUTES,
    name="",
    name_characters=limits.MAX_FIELD_CHARACTERS,
    value_characters=limits.MAX_FIELD_CHARACTERS,
    preset_value_characters=limits.MAX_FIELD_CHARACTERS,
    too_many=BadReason.TOO_MANY_ATTRIBUTES.value,
    invalid_name=BadReason.INVALID_ATTRIBUTE_NAME.value,
    name_too_long=BadReason.FIELD_TOO_LONG.value,
    value_too_long=BadReason.FIELD_TOO_LONG.value,
    no_value=BadReason.WRONG_TYPE.value,
)

_DEVICE = {
    "mobile_brand_name": "brand",
    "mobile_model_name": "model",
    "manufacturer": "make",
    "screen_width": "screen_width",
    "screen_height": "screen_height",
    "carrier": "carrier",
    "network_type": "network_type",
    "operating_system_version": "os_version",
    "system_language": "system_language",
    "vendor_id": "device_id",
    "advertising_id": "device_unique_id",
    "host_name": "host_name",
}
_OWN_COLUMNS = ("sdk_name", "sdk_version", "country_code", "viewport_width", "viewport_height")
_SCALARS = (
    *_DEVICE.values(),
    *_OWN_COLUMNS,
    *("app_package_name", "app_version", "locale", "platform", "zone_offset"),
)
_OBJECTS = ("attributes", "user", "event_dimensions", "ecommerce")
_FIELDS = (*_NEEDED, *_SCALARS, *_OBJECTS, "items")
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

_USER_ID = "_user_id"
_FIRST_TOUCH = "_user_first_touch_timestamp"
_REVENUE = "_user_ltv_revenue"
_CURRENCY = "_user_ltv_currency"
_SPECIAL_USER = (_USER_ID, _FIRST_TOUCH, _REVENUE, _CURRENCY)

_OF_TIME = [BadReason.TIMESTAMP_OUT_OF_RANGE.value, BadReason.TIMESTAMP_IN_FUTURE.value]

Nodes = Mapping[str, np.ndarray]
Columns = dict[str, pa.Array]


class SdkTransformer(ArrowPlugin):
    """Turn REQUEST rows into EVENT rows; what can't be one becomes a bad row with its bytes."""

    output_schema = EVENT

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the events of each batch of requests, and its bad records."""
        for requests in batches:
            for columns in _transform(requests, self.context.correct_clocks):
                columns["project_id"] = pa.repeat(
                    self.context.project_id, len(columns["request_id"])
                )
                yield from conform(pa.table(columns), EVENT).to_batches()


def _transform(requests: pa.RecordBatch, correct_clocks: bool) -> Iterator[Columns]:
    json = JsonBatch(requests.column("body"))
    for events, request, position in event_slices(json):
        yield from _slice(requests, json, events, request, position, correct_clocks)
    unread = unread_requests(requests, json)
    if len(unread["request_id"]):
        yield unread


def _slice(
    requests: pa.RecordBatch,
    json: JsonBatch,
    events: np.ndarray,
    request: np.ndarray,
    position: np.ndarray,
    correct_clocks: bool,
) -> Iterator[Columns]:
    fields = json.fields(events, _FIELDS)
    event_ms = plausible_ms(json.integers(fields["timestamp"]))
    ahead = is_ahead(
        event_ms,
        {name: requests.column(name).take(pa.array(request)) for name in CLOCK_COLUMNS},
        correct_clocks=correct_clocks,
    )
    reason = _bad_reason(json, events, fields, event_ms, ahead)

    is_good = np.asarray(reason.is_null())
    if not is_good.all():
        bad = np.flatnonzero(~is_good)
        yield {
            **of_requests(requests, request[bad], position[bad]),
            **_bad_events(json, events[bad], fields["timestamp"][bad], reason.take(pa.array(bad))),
            "event_id": json.texts(fields["event_id"][bad]),
            "app_id": json.texts(fields["app_id"][bad]),
            "envelope": envelopes(requests, request[bad]),
        }
        good = np.flatnonzero(is_good)
        fields = {name: nodes[good] for name, nodes in fields.items()}
        request, position = request[good], position[good]
        event_ms = event_ms.take(pa.array(good))
    if len(request) == 0:
        return
    columns = of_requests(requests, request, position)
    parts = _Parts(json, fields)
    yield columns | _events(parts, event_ms, columns)
    for discarded in parts.discarded:
        for start in range(0, len(discarded.rows), limits.SLICE_EVENTS):
            part = slice(start, start + limits.SLICE_EVENTS)
            rows = discarded.rows[part]
            yield {
                **of_requests(requests, request[rows], position[rows]),
                "bad_reason": pa.array(discarded.reasons[part], pa.string()),
                "payload": pa.array(map(json.written_member, discarded.nodes[part]), pa.binary()),
                "event_id": json.texts(fields["event_id"][rows]),
                "app_id": json.texts(fields["app_id"][rows]),
                "envelope": envelopes(requests, request[rows]),
            }


class _Parts:
    """The parts of good events that keep the limits; `discarded` are the others."""

    def __init__(self, json: JsonBatch, fields: Nodes) -> None:
        self.json = json
        self.fields = dict(fields)
        self.discarded: list[Discarded] = []
        for name in _SCALARS:
            self.fields[name] = self._short(fields[name])
        for name in _OBJECTS:
            self.require(fields[name], json.is_object(fields[name]))
        self.require(fields["items"], self._all_objects(fields["items"]))
        self.attributes, broken = KeyValues.of(json, fields["attributes"]).within(_ATTRIBUTES)
        self.user, broken_user = KeyValues.of(json, fields["user"]).within(
            _USER_ATTRIBUTES, self.user_values
        )
        self.dimensions, broken_dimensions = KeyValues.of(json, fields["event_dimensions"]).within(
            _DIMENSIONS
        )
        self.discarded += [
            part for part in (broken, broken_user, broken_dimensions) if len(part.nodes)
        ]

    def scalar(
        self, nodes: np.ndarray, type_: pa.DataType, rows: np.ndarray | None = None
    ) -> pa.Array:
        """Give values with a type; one that does not fit it is discarded.

        `rows` are the events that they are of; without it there is one an event.
        """
        if pa.types.is_string(type_):
            # Whatever there is fits a text, if it is not too long.
            return self.json.texts(self._short(nodes, rows))
        values = _scalar(self.json, nodes, type_)
        if values.null_count:
            self.require(nodes, np.asarray(values.is_valid()), rows)
        return values

    def _short(self, nodes: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Discard the values that are too long for a field; give the nodes of the others."""
        longer = self.json.is_longer(nodes, limits.MAX_FIELD_CHARACTERS)
        if not longer.any():
            return nodes
        self._discard(nodes, longer, BadReason.FIELD_TOO_LONG, rows)
        return np.where(longer, -1, nodes)

    def require(self, nodes: np.ndarray, fits: np.ndarray, rows: np.ndarray | None = None) -> None:
        """Discard the parts of events that are there and do not fit."""
        wrong = ~fits & ~self.json.is_missing(nodes)
        if wrong.any():
            self._discard(nodes, wrong, BadReason.WRONG_TYPE, rows)

    def _discard(
        self,
        nodes: np.ndarray,
        broken: np.ndarray,
        reason: BadReason,
        rows: np.ndarray | None = None,
    ) -> None:
        self.discarded.append(Discarded.of(nodes, broken, reason.value, rows))

    def _all_objects(self, owners: np.ndarray) -> np.ndarray:
        elements, offsets = self.json.elements(owners)
        fits = self.json.is_array(owners)
        wrong = np.flatnonzero(~self.json.is_object(elements))
        fits[np.searchsorted(offsets, wrong, side="right") - 1] = False
        return fits

    def user_values(self, entries: np.ndarray) -> np.ndarray:
        """Give the values of user attributes, each sent as {value, set_timestamp}."""
        return self.json.fields(entries, ("value",))["value"]

    def members(self, owner: str, keys: tuple[str, ...]) -> Nodes:
        """Give the members under some keys of `attributes` or `user`, without those discarded."""
        found = self.json.fields(self.fields[owner], keys)
        if self.discarded:
            kept = self.attributes.nodes if owner == "attributes" else self.user.nodes
            found = {key: np.where(np.isin(at, kept), at, -1) for key, at in found.items()}
        return found

    def texts(self, field: str) -> pa.StringArray:
        return self.json.texts(self.fields[field])


def _bad_reason(
    json: JsonBatch,
    events: np.ndarray,
    fields: Nodes,
    event_ms: pa.Int64Array,
    ahead: np.ndarray,
) -> pa.StringArray:
    """Say why an event is bad, null for a good one."""
    reason = pa.nulls(len(events), pa.string())
    reasons = [
        (ahead, BadReason.TIMESTAMP_IN_FUTURE),
        (np.asarray(event_ms.is_null()), BadReason.TIMESTAMP_OUT_OF_RANGE),
        (_has_invalid_name(json, fields["event_type"]), BadReason.INVALID_EVENT_NAME),
        *(
            (json.is_longer(fields[name], characters), too_long)
            for name, (characters, too_long) in _NAMES_AND_IDS.items()
        ),
        *((json.is_missing(fields[name]), missing) for name, missing in reversed(_NEEDED.items())),
        (~json.is_object(events), BadReason.NOT_AN_OBJECT),
    ]
    for applies, why in reasons:
        if applies.any():
            reason = pc.if_else(pa.array(applies), why.value, reason)
    return reason


def _has_invalid_name(json: JsonBatch, nodes: np.ndarray) -> np.ndarray:
    names = json.texts(nodes).dictionary_encode()
    invalid = pc.invert(pc.match_substring_regex(names.dictionary, limits.NAME))
    return np.asarray(invalid.take(names.indices).fill_null(False))


def _events(parts: _Parts, event_ms: pa.Int64Array, of_request: Columns) -> Columns:
    json, fields = parts.json, parts.fields
    app_id = parts.texts("app_id")
    platform = parts.texts("platform")
    if platform.null_count:
        platform = pc.coalesce(platform, of_request["platform"])
    return {
        **{name: parts.scalar(fields[name], EVENT.field(name).type) for name in _OWN_COLUMNS},
        **_from_attributes(parts),
        **_from_user(parts),
        "app_info": _struct(
            APP_INFO,
            {
                "app_id": app_id,
                "id": parts.texts("app_package_name"),
                "install_source": json.texts(parts.members("attributes", (_CHANNEL,))[_CHANNEL]),
                "version": parts.texts("app_version"),
            },
        ),
        "device": _device(parts),
        "ecommerce": _record(parts, fields["ecommerce"], ECOMMERCE),
        "event_date": pa.array(np.asarray(event_ms) // _DAY_MS).cast(pa.int32()).cast(pa.date32()),
        "event_dimensions": parts.dimensions.structs(parts.dimensions.typed()),
        "event_id": parts.texts("event_id"),
        "event_name": parts.texts("event_type"),
        "event_previous_timestamp": pa.repeat(pa.scalar(0, pa.int64()), len(event_ms)),
        "event_server_timestamp_offset": pc.subtract(of_request["ingest_timestamp"], event_ms),
        "event_timestamp": event_ms,
        "geo": _struct(GEO, {"locale": parts.texts("locale")}),
        "items": _items(parts, fields["items"]),
        "platform": platform,
        "user_pseudo_id": parts.texts("unique_id"),
        "app_id": app_id,
        "is_bot": pa.repeat(False, len(event_ms)),
    }


def _device(parts: _Parts) -> pa.StructArray:
    json, fields = parts.json, parts.fields
    columns = {
        name: parts.scalar(fields[sent], DEVICE.field(name).type) for name, sent in _DEVICE.items()
    }
    platform = json.texts(fields["platform"])
    is_web = np.asarray(pc.fill_null(pc.equal(pc.utf8_lower(platform), "web"), False))
    columns["operating_system"] = json.texts(np.where(is_web, -1, fields["platform"]))
    columns["time_zone_offset_seconds"] = pc.divide(
        parts.scalar(fields["zone_offset"], pa.int64()), 1_000
    )
    return _struct(DEVICE, columns)


def _scalar(json: JsonBatch, nodes: np.ndarray, type_: pa.DataType) -> pa.Array:
    """Give numbers with a type; a value that does not fit it is null."""
    if pa.types.is_floating(type_):
        return json.numbers(nodes)
    whole = json.integers(nodes)
    if type_ == pa.int32():
        fits = pc.and_(pc.greater_equal(whole, -(2**31)), pc.less(whole, 2**31))
        whole = pc.if_else(fits, whole, pa.scalar(None, pa.int64()))
    return whole.cast(type_)


def _struct(
    type_: pa.StructType, columns: Columns, is_null: np.ndarray | None = None
) -> pa.StructArray:
    """Give a struct with the given fields, the others null."""
    size = len(next(iter(columns.values())))
    arrays = [
        columns[field.name] if field.name in columns else pa.nulls(size, field.type)
        for field in type_
    ]
    mask = pa.array(is_null) if is_null is not None and is_null.any() else None
    return pa.StructArray.from_arrays(arrays, fields=list(type_), mask=mask)


def _record(
    parts: _Parts, owners: np.ndarray, type_: pa.StructType, rows: np.ndarray | None = None
) -> pa.StructArray:
    """Give objects as a struct whose fields have their keys; what is no object is null."""
    json = parts.json
    is_object = json.is_object(owners)
    if not is_object.any():
        return pa.nulls(len(owners), type_)
    fields = json.fields(owners, type_.names)
    columns = {field.name: parts.scalar(fields[field.name], field.type, rows) for field in type_}
    return _struct(type_, columns, ~is_object)


def _items(parts: _Parts, owners: np.ndarray) -> pa.ListArray:
    """Give arrays of objects as lists of structs; elements that are none are left out."""
    json = parts.json
    items, offsets = json.elements(owners)
    keep = json.is_object(items)
    if not keep.all():
        offsets = np.concatenate([[0], np.cumsum(keep)])[offsets].astype(np.int32)
        items = items[keep]
    return pa.ListArray.from_arrays(
        pa.array(offsets, mask=np.append(~json.is_array(owners), False)),
        _record(parts, items, ITEM, np.repeat(np.arange(len(owners)), np.diff(offsets))),
    )


def _from_attributes(parts: _Parts) -> Columns:
    """Give the columns that hold attributes."""
    sources = tuple(_TRAFFIC_SOURCE.values())
    params = parts.attributes.without(*_PRIVACY, *sources, _CHANNEL)
    privacy = parts.attributes.only(*_PRIVACY)
    source = parts.members("attributes", sources)
    return {
        "event_params": params.structs(params.typed()),
        "privacy_info": privacy.structs(privacy.typed(), _PRIVACY),
        "traffic_source": _struct(
            TRAFFIC_SOURCE,
            {name: parts.json.texts(source[key]) for name, key in _TRAFFIC_SOURCE.items()},
        ),
    }


def _from_user(parts: _Parts) -> Columns:
    """Give the columns that hold user attributes."""
    json = parts.json
    sent_special = parts.members("user", _SPECIAL_USER)
    special = {name: parts.user_values(nodes) for name, nodes in sent_special.items()}
    revenue = json.numbers(special[_REVENUE])
    first_touch = json.integers(special[_FIRST_TOUCH])
    for name, numbers in ((_REVENUE, revenue), (_FIRST_TOUCH, first_touch)):
        fits = np.asarray(numbers.is_valid()) | json.is_missing(special[name])
        parts.require(sent_special[name], fits)
    has_revenue = np.asarray(revenue.is_valid())
    # A currency without revenue is an attribute like any other.
    entries = parts.user.without(_REVENUE, _CURRENCY, rows=has_revenue)
    sent = json.fields(entries.nodes, ("value", "set_timestamp"))
    fields = json.typed(sent["value"])
    set_timestamp = json.integers(sent["set_timestamp"])
    plausible = pc.and_(
        pc.greater_equal(set_timestamp, 0), pc.less(set_timestamp, limits.MAX_TIMESTAMP_MS)
    )
    set_timestamp = pc.if_else(plausible, set_timestamp, pa.scalar(None, pa.int64()))
    fields["set_timestamp_micros"] = pc.multiply(set_timestamp, 1_000)
    # The attribute stays, without a time; its bytes tell which one it was.
    fits = np.asarray(set_timestamp.is_valid()) | json.is_missing(sent["set_timestamp"])
    parts.require(entries.nodes, fits, entries.rows)
    return {
        "user_properties": entries.structs(fields),
        "user_id": json.texts(special[_USER_ID]),
        "user_first_touch_timestamp": first_touch,
        "user_ltv": _struct(
            USER_LTV,
            {"revenue": revenue, "currency": json.texts(special[_CURRENCY])},
            ~has_revenue,
        ),
    }


def _bad_events(
    json: JsonBatch, events: np.ndarray, timestamps: np.ndarray, reason: pa.StringArray
) -> Columns:
    time = pc.utf8_slice_codeunits(json.texts(timestamps), 0, 100)
    of_time = pc.is_in(reason, pa.array(_OF_TIME))
    detail = pc.binary_join_element_wise("timestamp is", time, " ")
    return {
        "bad_reason": reason,
        "bad_detail": pc.if_else(of_time, detail, pa.scalar(None, pa.string())),
        "payload": pa.array([json.written(node) for node in events], pa.binary()),
    }
