"""The tables of the lake: `ods_event` and `bad_event`, column by column.

Names, nesting, types and order of the first 25 columns are the seed solution's (seed 000, "Data
schema"); the columns behind them are ours. This module is the only place that spells them out:
the job, the Iceberg tables, the Dagster metadata and the tests read them here.
"""

import pyarrow as pa

KEY_VALUE = pa.struct(
    [
        ("key", pa.string()),
        (
            "value",
            pa.struct(
                [
                    ("double_value", pa.float64()),
                    ("float_value", pa.float32()),
                    ("int_value", pa.int64()),
                    ("string_value", pa.string()),
                ]
            ),
        ),
    ]
)

USER_PROPERTY = pa.struct(
    [
        ("key", pa.string()),
        (
            "value",
            pa.struct(
                [
                    ("double_value", pa.float64()),
                    ("float_value", pa.float32()),
                    ("int_value", pa.int64()),
                    ("string_value", pa.string()),
                    ("set_timestamp_micros", pa.int64()),
                ]
            ),
        ),
    ]
)


def _strings(*names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, pa.string()) for name in names]


APP_INFO = pa.struct(_strings("app_id", "id", "install_source", "version"))

DEVICE = pa.struct(
    [
        *_strings("mobile_brand_name", "mobile_model_name", "manufacturer"),
        ("screen_width", pa.int64()),
        ("screen_height", pa.int64()),
        *_strings(
            "carrier",
            "network_type",
            "operating_system_version",
            "operating_system",
            "ua_browser",
            "ua_browser_version",
            "ua_os",
            "ua_os_version",
            "ua_device",
            "ua_device_category",
            "system_language",
        ),
        ("time_zone_offset_seconds", pa.int64()),
        *_strings("vendor_id", "advertising_id", "host_name"),
    ]
)

ECOMMERCE = pa.struct(
    [
        ("total_item_quantity", pa.int64()),
        ("purchase_revenue_in_usd", pa.float64()),
        ("purchase_revenue", pa.float64()),
        ("refund_value_in_usd", pa.float64()),
        ("refund_value", pa.float64()),
        ("shipping_value_in_usd", pa.float64()),
        ("shipping_value", pa.float64()),
        ("tax_value_in_usd", pa.float64()),
        ("tax_value", pa.float64()),
        ("transaction_id", pa.string()),
        ("unique_items", pa.int64()),
    ]
)

GEO = pa.struct(
    _strings("city", "continent", "country", "metro", "region", "sub_continent", "locale")
)

ITEM = pa.struct(
    [
        *_strings(
            "brand",
            "category",
            "category2",
            "category3",
            "category4",
            "category5",
            "creative_name",
            "creative_slot",
            "id",
            "location_id",
            "name",
        ),
        ("price", pa.float64()),
        ("quantity", pa.int32()),
    ]
)

TRAFFIC_SOURCE = pa.struct(_strings("medium", "name", "source"))

USER_LTV = pa.struct([("revenue", pa.float64()), ("currency", pa.string())])


def _field(name: str, type_: pa.DataType, doc: str) -> pa.Field:
    # PyIceberg takes the column comment from this metadata key.
    return pa.field(name, type_, metadata={"doc": doc})


ODS_EVENT = pa.schema(
    [
        _field("app_info", APP_INFO, "App the event names, its package, store and version."),
        _field("device", DEVICE, "Device as the SDK reports it and as its user agent reads."),
        _field("ecommerce", ECOMMERCE, "Purchase, refund, tax and shipping values of the event."),
        _field(
            "event_bundle_sequence_id",
            pa.int64(),
            "Sequence number of the upload that carried the event, 0 if the SDK sent none.",
        ),
        _field("event_date", pa.date32(), "UTC day of event_timestamp."),
        _field("event_dimensions", pa.list_(KEY_VALUE), "Further dimensions, typed as sent."),
        _field("event_id", pa.string(), "Id that the SDK gave the event; retries repeat it."),
        _field("event_name", pa.string(), "Name of the event; preset ones start with _."),
        _field("event_params", pa.list_(KEY_VALUE), "Attributes, typed by their JSON type."),
        _field("event_previous_timestamp", pa.int64(), "Always 0: no SDK sends it."),
        _field(
            "event_server_timestamp_offset",
            pa.int64(),
            "ingest_timestamp minus event_timestamp in ms.",
        ),
        _field("event_timestamp", pa.int64(), "Client time of the event, ms since 1970 UTC."),
        _field("event_value_in_usd", pa.float32(), "Always null: no SDK sends it."),
        _field("geo", GEO, "Place of the client address, and the device's locale."),
        _field("ingest_timestamp", pa.int64(), "Time the collector took the request, ms UTC."),
        _field("items", pa.list_(ITEM), "Products that the event is about."),
        _field("platform", pa.string(), "Web, Android or iOS."),
        _field("privacy_info", pa.list_(KEY_VALUE), "Consent values the SDK sent."),
        _field("project_id", pa.string(), "Project that collects the app."),
        _field("traffic_source", TRAFFIC_SOURCE, "Campaign that brought the user."),
        _field("user_first_touch_timestamp", pa.int64(), "First open or visit, ms UTC."),
        _field("user_id", pa.string(), "Id that the app gave the user, null until login."),
        _field("user_ltv", USER_LTV, "Lifetime value of the user."),
        _field("user_properties", pa.list_(USER_PROPERTY), "User attributes, typed as sent."),
        _field("user_pseudo_id", pa.string(), "Id that the SDK gave the device's user."),
        _field("app_id", pa.string(), "App that sent the event; partition of the lake."),
        _field("ingest_batch", pa.string(), "Batch whose attempt wrote the row."),
        _field("is_bot", pa.bool_(), "User agent belongs to a crawler or other program."),
        _field("request_id", pa.string(), "Request that carried the event."),
        _field("request_position", pa.int32(), "Place of the event in its request, from 0."),
        _field("upload_timestamp", pa.int64(), "Client time of the upload, ms UTC, if sent."),
        _field("sdk_name", pa.string(), "SDK that sent the event."),
        _field("sdk_version", pa.string(), "Version of that SDK."),
        _field("country_code", pa.string(), "Country in the device's settings."),
        _field("viewport_width", pa.int64(), "Width of the browser's viewport in CSS pixels."),
        _field("viewport_height", pa.int64(), "Height of the browser's viewport in CSS pixels."),
        _field(
            "event_timestamp_original",
            pa.int64(),
            "Client time as it was sent, ms; event_timestamp differs where its clock was wrong.",
        ),
        _field("traffic_source_campaign_id", pa.string(), "Id of the campaign (utm_id)."),
        _field("traffic_source_term", pa.string(), "Search term or keyword of the campaign."),
        _field("traffic_source_content", pa.string(), "Which of the campaign's advertisements."),
        _field("traffic_source_clid", pa.string(), "Click id that a network put on the address."),
        _field("traffic_source_clid_type", pa.string(), "Parameter of the click id, e.g. gclid."),
        _field("traffic_source_clid_platform", pa.string(), "Network that counts the click."),
        _field(
            "traffic_source_category",
            pa.string(),
            "Kind of the source: search, social, video, shopping, email or ai; null if unknown.",
        ),
        _field(
            "traffic_source_channel_group",
            pa.string(),
            "Channel of the visit, e.g. Organic Search; Direct without any source.",
        ),
    ]
)

BAD_EVENT = pa.schema(
    [
        _field("project_id", pa.string(), "Project that collected the record."),
        _field("app_id", pa.string(), "App that the event or its request names, if any."),
        _field("ingest_batch", pa.string(), "Batch whose attempt wrote the row."),
        _field("reason", pa.string(), "Why the record is bad: a value of BadReason."),
        _field("detail", pa.string(), "What exactly was wrong, for a person."),
        _field("event_id", pa.string(), "Id of the event, if it could be read."),
        _field("ingest_timestamp", pa.int64(), "Time the collector took the request, ms UTC."),
        _field("ingest_date", pa.date32(), "UTC day of ingest_timestamp; partition."),
        _field("request_id", pa.string(), "Request that carried the record."),
        _field("request_position", pa.int32(), "Place of the event in its request, from 0."),
        _field("source_object", pa.string(), "Raw object that holds the record."),
        _field("source_line", pa.int64(), "Line of the record in the raw object, from 1."),
        _field("envelope", pa.string(), "The sink record without its body, as JSON."),
        _field("payload", pa.binary(), "The bad bytes: an event's JSON, or the whole record."),
    ]
)
