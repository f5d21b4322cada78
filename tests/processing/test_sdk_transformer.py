"""Requests of the SDKs become events with the columns of seed 000, "Data schema"."""

import json
from datetime import date

import pyarrow as pa
import pytest

from clickstream_dagster.processing.plugins import PluginContext
from clickstream_dagster.processing.requests import REQUEST
from clickstream_plugins.sdk import SdkTransformer
from tests.processing.records_input import NOW_MS, event, plain


def transform(*bodies: str) -> list[dict]:
    rows = [
        {
            "request_id": f"r{number}",
            "ingest_timestamp": NOW_MS + 1_000,
            "platform": "Web",
            "event_bundle_sequence_id": 7,
            "body": body,
            "source_object": "object",
            "source_line": number,
            "first_position": 0,
            "record": json.dumps({"rid": f"r{number}", "data": body}).encode(),
        }
        for number, body in enumerate(bodies)
    ]
    batch = pa.RecordBatch.from_pylist(rows, schema=REQUEST)
    plugin = SdkTransformer(PluginContext("demo", ("shop",)))
    return [row for out in plugin.apply(iter([batch])) for row in out.to_pylist()]


def values(pairs: list[dict]) -> dict[str, tuple[str, object]]:
    """Give parameters as name -> (the one field that is set, its value)."""
    found = {}
    for pair in pairs:
        given = [(name, value) for name, value in pair["value"].items() if value is not None]
        found[pair["key"]] = given[0] if given else None
    return found


def test_a_web_event_fills_the_columns() -> None:
    (row,) = transform(
        plain(
            event(
                app_version="1.2",
                app_package_name="com.shop",
                viewport_width=800,
                viewport_height=600,
                attributes={"_channel": "store", "_traffic_source_source": "google"},
            )
        )
    )
    assert row["bad_reason"] is None
    assert row["app_info"] == {
        "app_id": "shop",
        "id": "com.shop",
        "install_source": "store",
        "version": "1.2",
    }
    assert row["device"]["screen_width"] == 1920
    assert row["device"]["time_zone_offset_seconds"] == 3_600
    assert row["device"]["vendor_id"] == "device-1"
    assert row["device"]["host_name"] == "shop.example"
    assert row["device"]["operating_system"] is None
    assert row["geo"]["locale"] == "en-US"
    assert row["event_name"] == "_page_view"
    assert row["event_date"] == date(2026, 1, 1)
    assert row["event_timestamp"] == NOW_MS
    assert row["event_server_timestamp_offset"] == 1_000
    assert row["event_bundle_sequence_id"] == 7
    assert row["event_previous_timestamp"] == 0
    assert row["event_value_in_usd"] is None
    assert row["project_id"] == "demo"
    assert row["user_pseudo_id"] == "user-1"
    assert row["traffic_source"] == {"medium": None, "name": None, "source": "google"}
    assert row["event_params"] == []
    assert (row["request_position"], row["viewport_width"], row["country_code"]) == (0, 800, "US")


def test_parameters_are_typed_by_their_json_type() -> None:
    body = """[{"event_id": "e", "event_type": "x", "app_id": "shop", "unique_id": "u",
        "timestamp": 1767225600000, "user": {}, "attributes": {
        "digits": "007", "version": "1.2.3", "whole": 42, "negative": -5, "zero": 0,
        "price": 12.50, "exponent": 1e3, "longest": 9223372036854775807,
        "beyond": 12345678901234567890, "infinite": 1e999, "yes": true, "nothing": null,
        "list": [1, {"a": "b"}], "object": {"deep": {"deeper": 1}}, "empty": "",
        "quoted": "say \\"hi\\" \\\\ \\u00e9\\n", "emoji": "\\ud83d\\ude00"}}]"""
    (row,) = transform(body)
    assert values(row["event_params"]) == {
        "digits": ("string_value", "007"),
        "version": ("string_value", "1.2.3"),
        "whole": ("int_value", 42),
        "negative": ("int_value", -5),
        "zero": ("int_value", 0),
        "price": ("double_value", 12.5),
        "exponent": ("double_value", 1000.0),
        "longest": ("int_value", 9223372036854775807),
        "beyond": ("double_value", 12345678901234567890.0),
        "infinite": ("string_value", "1e999"),
        "yes": ("string_value", "true"),
        "nothing": None,
        "list": ("string_value", '[1,{"a":"b"}]'),
        "object": ("string_value", '{"deep":{"deeper":1}}'),
        "empty": ("string_value", ""),
        "quoted": ("string_value", 'say "hi" \\ é\n'),
        "emoji": ("string_value", "😀"),
    }


def test_parameters_stay_with_their_event() -> None:
    rows = transform(
        plain(event("a", attributes={"k": 1}), event("b", attributes={})),
        plain(event("c", attributes={"k": "x", "m": 2.5}), event("d", attributes={"m": "y"})),
    )
    assert {row["event_id"]: values(row["event_params"]) for row in rows} == {
        "a": {"k": ("int_value", 1)},
        "b": {},
        "c": {"k": ("string_value", "x"), "m": ("double_value", 2.5)},
        "d": {"m": ("string_value", "y")},
    }


def test_user_attributes_become_properties_id_first_touch_and_lifetime_value() -> None:
    (row,) = transform(
        plain(
            event(
                user={
                    "_user_id": {"value": 312121, "set_timestamp": 5},
                    "_user_first_touch_timestamp": {"value": 1_600_000_000_000},
                    "_user_ltv_revenue": {"value": 12, "set_timestamp": 5},
                    "_user_ltv_currency": {"value": "EUR", "set_timestamp": 5},
                    "age": {"value": 20.5, "set_timestamp": 1_667_877_566_697},
                }
            )
        )
    )
    assert row["user_id"] == "312121"
    assert row["user_first_touch_timestamp"] == 1_600_000_000_000
    assert row["user_ltv"] == {"revenue": 12.0, "currency": "EUR"}
    assert [pair["key"] for pair in row["user_properties"]] == [
        "_user_id",
        "_user_first_touch_timestamp",
        "age",
    ]
    age = row["user_properties"][2]["value"]
    assert (age["double_value"], age["set_timestamp_micros"]) == (20.5, 1_667_877_566_697_000)


def test_a_user_without_revenue_has_no_lifetime_value() -> None:
    (row,) = transform(plain(event(user={"_user_ltv_currency": {"value": "EUR"}})))
    assert row["user_ltv"] is None
    assert [pair["key"] for pair in row["user_properties"]] == ["_user_ltv_currency"]


def test_consent_items_purchase_and_dimensions_have_their_columns() -> None:
    (row,) = transform(
        plain(
            event(
                attributes={"_privacy_info_ads_storage": "yes", "other": 1},
                items=[{"id": "p1", "price": 9.5, "quantity": 2, "category5": "z", "own": 1}],
                ecommerce={"purchase_revenue": 19, "transaction_id": "t1", "unique_items": 1},
                event_dimensions={"theme": "dark"},
            )
        )
    )
    assert values(row["privacy_info"]) == {"ads_storage": ("string_value", "yes")}
    assert values(row["event_params"]) == {"other": ("int_value", 1)}
    (item,) = row["items"]
    assert (item["id"], item["price"], item["quantity"], item["category5"]) == ("p1", 9.5, 2, "z")
    assert row["ecommerce"]["purchase_revenue"] == 19.0
    assert row["ecommerce"]["transaction_id"] == "t1"
    assert values(row["event_dimensions"]) == {"theme": ("string_value", "dark")}


def test_the_last_of_repeated_keys_applies_and_no_other_event_is_touched() -> None:
    body = (
        '[{"event_id":"a","event_type":"x","app_id":"shop","unique_id":"u","timestamp":'
        f'{NOW_MS},"user":{{"n":{{"value":1}},"n":{{"value":2}}}},"attributes":{{"k":1,"k":2}}}}]'
    )
    rows = {row["event_id"]: row for row in transform(body, plain(event("b")))}
    assert set(rows) == {"a", "b"}
    assert values(rows["a"]["event_params"]) == {"k": ("int_value", 2)}
    assert rows["a"]["user_properties"][0]["value"]["int_value"] == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"event_id": None}, "missing_event_id"),
        ({"event_id": ""}, "missing_event_id"),
        ({"event_type": None}, "missing_event_name"),
        ({"app_id": None}, "missing_app_id"),
        ({"unique_id": None}, "missing_user"),
        ({"timestamp": None}, "missing_timestamp"),
        ({"timestamp": "yesterday"}, "timestamp_out_of_range"),
        ({"timestamp": -1}, "timestamp_out_of_range"),
        ({"timestamp": 10**20}, "timestamp_out_of_range"),
    ],
)
def test_an_event_without_what_it_needs_is_bad_and_costs_no_other(
    change: dict, reason: str
) -> None:
    bad = {**event("bad"), **change}
    rows = transform(plain(event("before"), bad, event("after")))
    assert {row["event_id"] for row in rows if row["bad_reason"] is None} == {"before", "after"}
    (row,) = [row for row in rows if row["bad_reason"] is not None]
    assert row["bad_reason"] == reason
    assert json.loads(row["payload"]) == bad
    assert json.loads(row["envelope"]) == {"rid": "r0"}
    assert row["request_position"] == 1


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        ('["text", 5, null, [], {"a": 1}]', ["not_an_object"] * 4 + ["missing_event_id"]),
        ('[{"event_id": ', ["not_json"]),
        ('[{"a": "\\ud800"}]', ["missing_event_id"]),
        ('[{"a": "\\u12x4"}]', ["not_json"]),
        ('[{"a": "\t"}]', ["not_json"]),
        ('[{"a": 01}]', ["not_json"]),
        ('[{"a": 1,}]', ["not_json"]),
        ('[{"a": 1] }', ["not_json"]),
        ("5", ["not_an_array"]),
        ("null", ["not_an_array"]),
        ("true", ["not_an_array"]),
        ("[1] and more", ["not_json"]),
        ("[]", []),
        (" [ ] \n", []),
        ("[" * 3_000 + "]" * 3_000, ["too_deep"]),
        ("[" * 200 + "]" * 200, ["not_an_object"]),
    ],
)
def test_hostile_bodies_are_bad_rows(body: str, reasons: list[str]) -> None:
    rows = transform(body, plain(event("good")))
    assert sorted(row["bad_reason"] for row in rows if row["bad_reason"]) == sorted(reasons)
    assert [row["event_id"] for row in rows if row["bad_reason"] is None] == ["good"]


def test_blanks_around_a_body_cost_no_event() -> None:
    assert [row["event_id"] for row in transform(plain(event()) + " \r\n\t")] == ["e1"]


def test_bad_elements_keep_their_very_bytes() -> None:
    rows = transform(' [ {"a": 1.50, "b": "\\u00e9"} ,\n[1, 2],"x\\n",null ]')
    assert [row["payload"].decode() for row in rows] == [
        '{"a": 1.50, "b": "\\u00e9"}',
        "[1, 2]",
        '"x\\n"',
        "null",
    ]


def test_half_a_surrogate_pair_costs_one_character() -> None:
    (row,) = transform(plain(event(attributes={"title": "cut \ud83d", "whole": "😀"})))
    assert values(row["event_params"]) == {
        "title": ("string_value", "cut \ufffd"),
        "whole": ("string_value", "😀"),
    }


def test_many_bad_events_of_one_request_cost_what_they_weigh() -> None:
    rows = transform("[" + ",".join(["1"] * 20_000) + "]")
    assert len(rows) == 20_000
    assert {(row["bad_reason"], row["payload"]) for row in rows} == {("not_an_object", b"1")}


def test_numbers_out_of_range_do_not_wrap() -> None:
    user = {
        "a": {"value": 1, "set_timestamp": 9 * 10**18},
        "_user_ltv_revenue": {"value": "1e999"},
    }
    row, *bad = transform(plain(event("e1", user=user)))
    assert row["user_properties"][0]["value"]["set_timestamp_micros"] is None
    assert row["user_ltv"] is None
    assert {(one["bad_reason"], one["payload"]) for one in bad} == {
        ("wrong_type", b'{"_user_ltv_revenue":{"value": "1e999"}}'),
        ("wrong_type", b'{"a":{"value": 1, "set_timestamp": 9000000000000000000}}'),
    }


@pytest.mark.parametrize("time", [10**30, 2**63, -1, 4_102_444_800_000, "soon", True, [1]])
def test_a_user_attribute_whose_time_can_not_be_stays_without_it_and_is_told(time: object) -> None:
    user = {
        "right": {"value": 1, "set_timestamp": str(NOW_MS)},
        "wrong": {"value": 2, "set_timestamp": time},
        "without": {"value": 3, "set_timestamp": None},
    }
    (row, _), bad = parted(plain(event("e1", user=user), event("e2")))
    assert [pair["value"]["int_value"] for pair in row["user_properties"]] == [1, 2, 3]
    times = [pair["value"]["set_timestamp_micros"] for pair in row["user_properties"]]
    assert times == [NOW_MS * 1_000, None, None]
    assert list(bad) == [("e1", "wrong_type")]
    assert json.loads(bad["e1", "wrong_type"]) == {"wrong": user["wrong"]}


@pytest.mark.parametrize(
    ("part", "payload"),
    [
        ({"attributes": 5}, b'{"attributes":5}'),
        ({"user": "x"}, b'{"user":"x"}'),
        ({"user": {"a": 5}}, b'{"a":5}'),
        ({"event_dimensions": [1]}, b'{"event_dimensions":[1]}'),
        ({"ecommerce": ["x"]}, b'{"ecommerce":["x"]}'),
        ({"ecommerce": {"refund_value": "much"}}, b'{"refund_value":"much"}'),
        ({"items": {"id": "1"}}, b'{"items":{"id": "1"}}'),
        ({"items": [{"price": "much", "id": "1"}]}, b'{"price":"much"}'),
        ({"screen_width": "wide"}, b'{"screen_width":"wide"}'),
        ({"screen_width": 10**30}, b'{"screen_width":1' + b"0" * 30 + b"}"),
        ({"zone_offset": True}, b'{"zone_offset":true}'),
        (
            {"user": {"_user_first_touch_timestamp": {"value": "x"}}},
            b'{"_user_first_touch_timestamp":{"value": "x"}}',
        ),
    ],
)
def test_a_part_that_does_not_fit_its_column_is_told(part: dict, payload: bytes) -> None:
    (row,), bad = parted(plain(event("e1", **part)))
    assert bad == {("e1", "wrong_type"): payload}
    assert row["event_id"] == "e1"


def test_items_that_are_no_objects_are_left_out_and_told() -> None:
    (row,), bad = parted(plain(event("e1", items=[1, {"id": "a"}, None, "x", {"id": "b"}])))
    assert [item["id"] for item in row["items"]] == ["a", "b"]
    assert json.loads(bad["e1", "wrong_type"]) == {
        "items": [1, {"id": "a"}, None, "x", {"id": "b"}]
    }


def test_what_is_not_there_is_no_wrong_type() -> None:
    parts = {
        "attributes": None,
        "user": {"a": {"value": None}, "b": None},
        "items": [],
        "brand": "",
    }
    _, bad = parted(plain(event("e1", **parts, screen_width="", ecommerce={}, zone_offset=None)))
    assert bad == {}


def parted(*bodies: str) -> tuple[list[dict], dict[tuple[str, str], bytes]]:
    """Give the events of bodies, and (event_id, reason) -> bytes of what is bad or discarded."""
    rows = transform(*bodies)
    bad = {(row["event_id"], row["bad_reason"]): row["payload"] for row in rows}
    return [row for row in rows if row["bad_reason"] is None], {
        key: payload for key, payload in bad.items() if key[1]
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"event_type": "e" * 51}, "event_name_too_long"),
        ({"event_type": "名" * 51}, "event_name_too_long"),
        ({"event_type": "add to cart"}, "invalid_event_name"),
        ({"event_type": "1st"}, "invalid_event_name"),
        ({"event_id": "i" * 256}, "id_too_long"),
        ({"unique_id": "i" * 256}, "id_too_long"),
        ({"app_id": "i" * 256}, "id_too_long"),
    ],
)
def test_a_name_or_id_over_its_limit_makes_a_bad_event(change: dict, reason: str) -> None:
    events, bad = parted(plain({**event("e1"), **change}, event("good")))
    assert [row["event_id"] for row in events] == ["good"]
    ((_, found), payload), *rest = bad.items()
    assert (found, rest) == (reason, [])
    assert json.loads(payload) == {**event("e1"), **change}


def test_names_and_ids_at_their_limits_are_taken() -> None:
    events, bad = parted(
        plain(event("i" * 255, event_type="e" * 50, unique_id="名" * 255, app_id="a" * 255))
    )
    assert len(events) == 1
    assert bad == {}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("n" * 51, 1, "attribute_name_too_long"),
        ("with space", 1, "invalid_attribute_name"),
        ("9lives", 1, "invalid_attribute_name"),
        ("big", "v" * 1_025, "attribute_value_too_long"),
        ("big", ["v" * 1_025], "attribute_value_too_long"),
        ("_page_url", "v" * 65_536, "attribute_value_too_long"),
    ],
)
def test_an_attribute_over_its_limit_is_discarded_with_its_bytes_and_its_event_goes_on(
    name: str, value: object, reason: str
) -> None:
    attributes = {"before": 1, name: value, "after": "x"}
    events, bad = parted(plain(event("e1", attributes=attributes), event("e2")))
    assert values(events[0]["event_params"]) == {
        "before": ("int_value", 1),
        "after": ("string_value", "x"),
    }
    assert len(events) == 2
    assert list(bad) == [("e1", reason)]
    assert json.loads(bad["e1", reason]) == {name: value}


def test_values_at_their_limits_are_kept() -> None:
    attributes = {"n" * 50: "名" * 1_024, "_page_url": "u" * 65_535}
    user = {"u" * 50: {"value": "名" * 256, "set_timestamp": 1}}
    events, bad = parted(plain(event("e1", attributes=attributes, user=user)))
    assert len(events[0]["event_params"]) == 2
    assert len(events[0]["user_properties"]) == 1
    assert bad == {}


def test_of_too_many_attributes_the_first_ones_stay() -> None:
    attributes = {f"a{n}": n for n in range(503)}
    user = {f"u{n}": {"value": n} for n in range(102)}
    rows = transform(plain(event("e1", attributes=attributes, user=user)))
    (good,) = [row for row in rows if row["bad_reason"] is None]
    assert [pair["key"] for pair in good["event_params"]] == [f"a{n}" for n in range(500)]
    assert [pair["key"] for pair in good["user_properties"]] == [f"u{n}" for n in range(100)]
    discarded = [(row["bad_reason"], row["payload"].decode()) for row in rows if row is not good]
    assert [(reason, json.loads(payload)) for reason, payload in discarded] == [
        ("too_many_attributes", {"attributes": attributes}),
        ("too_many_user_attributes", {"user": user}),
    ]
    columns = good["user_properties"]
    late = dict(user, _user_id={"value": "late"})
    (row,), _ = parted(plain(event("e1", user=late)))
    assert (row["user_id"], row["user_properties"]) == (None, columns)


def test_an_event_far_ahead_of_its_arrival_is_bad() -> None:
    day = 86_400_000
    (row,), bad = parted(
        plain(event("soon", timestamp=NOW_MS + day)),
        plain(event("far", timestamp=NOW_MS + 2 * day)),
    )
    assert row["event_id"] == "soon"
    assert list(bad) == [("far", "timestamp_in_future")]


def test_user_attributes_are_held_to_their_limits_whatever_they_serve() -> None:
    user = {
        "_user_id": {"value": "x" * 257, "set_timestamp": 1},
        "bad name": {"value": 1},
        "u" * 51: {"value": 1},
        "kept": {"value": "x" * 256},
    }
    events, bad = parted(plain(event("e1", user=user)))
    assert events[0]["user_id"] is None
    assert [pair["key"] for pair in events[0]["user_properties"]] == ["kept"]
    assert {reason for _, reason in bad} == {
        "user_attribute_value_too_long",
        "invalid_user_attribute_name",
        "user_attribute_name_too_long",
    }


@pytest.mark.parametrize(
    ("part", "payload"),
    [
        ({"items": [{"id": "a"}, {"id": "b", "name": "n" * 1_025}]}, {"name": "n" * 1_025}),
        ({"ecommerce": {"transaction_id": "t" * 1_025}}, {"transaction_id": "t" * 1_025}),
        ({"event_dimensions": {"kept": 1, "d": "d" * 1_025}}, {"d": "d" * 1_025}),
        ({"event_dimensions": {"kept": 1, "d" * 1_025: 1}}, {"d" * 1_025: 1}),
    ],
)
def test_a_text_within_a_part_is_held_to_the_limit_of_fields(part: dict, payload: dict) -> None:
    (_, row), bad = parted(plain(event("e0"), event("e1", **part)))
    assert list(bad) == [("e1", "field_too_long")]
    assert json.loads(bad["e1", "field_too_long"]) == payload
    assert row["event_id"] == "e1"
    assert [item["id"] for item in row["items"] or ()] == ["a", "b"][: 2 * ("items" in part)]
    assert list(values(row["event_dimensions"])) == ["kept"][: "event_dimensions" in part]


def test_texts_within_parts_at_their_limits_are_kept() -> None:
    text = "名" * 1_024
    items, dimensions = [{"name": text}], {text: text}
    (row,), bad = parted(plain(event("e1", items=items, event_dimensions=dimensions)))
    assert bad == {}
    assert row["items"][0]["name"] == text
    assert values(row["event_dimensions"]) == {text: ("string_value", text)}


def test_of_too_many_dimensions_the_first_ones_stay() -> None:
    dimensions = {f"d{n}": n for n in range(503)}
    (row,), bad = parted(plain(event("e1", event_dimensions=dimensions)))
    assert list(values(row["event_dimensions"])) == [f"d{n}" for n in range(500)]
    assert json.loads(bad["e1", "too_many_attributes"]) == {"event_dimensions": dimensions}


def test_a_field_of_a_megabyte_is_discarded() -> None:
    events, bad = parted(plain(event("e1", brand="b" * (1 << 20), carrier="kept")))
    assert (events[0]["device"]["mobile_brand_name"], events[0]["device"]["carrier"]) == (
        None,
        "kept",
    )
    assert len(bad["e1", "field_too_long"]) == (1 << 20) + len('{"brand":""}')
