"""Requests and events have the shapes that the real SDKs give them."""

import hashlib
import ipaddress
import re
from datetime import UTC, datetime
from itertools import pairwise
from random import Random
from urllib.parse import parse_qs, urlsplit

import pytest

from clickstream_dagster.sample.plan import TrafficPlan
from clickstream_dagster.sample.requests import bundles, stored
from clickstream_dagster.sample.trouble import Trouble

# fmt: off
WEB_FIELDS = [
    "event_type", "event_id", "device_id", "unique_id", "app_id", "timestamp", "host_name",
    "locale", "system_language", "country_code", "zone_offset", "make", "platform",
    "screen_height", "screen_width", "viewport_height", "viewport_width", "sdk_name",
    "sdk_version", "items", "user", "attributes",
]
APP_FIELDS = {
    "unique_id", "event_type", "event_id", "app_id", "timestamp", "device_id", "device_unique_id",
    "platform", "os_version", "make", "brand", "model", "locale", "carrier", "network_type",
    "screen_height", "screen_width", "zone_offset", "system_language", "country_code",
    "sdk_version", "sdk_name", "app_version", "app_package_name", "app_title", "items", "user",
    "attributes",
}
# fmt: on
SESSION_FIELDS = {
    "_session_id",
    "_session_start_timestamp",
    "_session_duration",
    "_session_number",
}


def by_platform(traffic, *platforms: str) -> list[dict]:
    return [event for event in traffic.events() if event["platform"] in platforms]


def test_the_web_sdk_sends_plain_arrays_with_its_fields_in_order(traffic) -> None:
    for request, events in zip(traffic.requests, traffic.decoded, strict=True):
        if request.platform != "Web" or events is None:
            continue
        assert request.body.startswith("[{")
        for event in events:
            assert [name for name in event if name != "ecommerce"] == WEB_FIELDS


def test_the_mobile_sdks_send_base64_of_gzip(traffic) -> None:
    for request in traffic.requests:
        if request.platform != "Web" and request.trouble is not Trouble.BROKEN:
            assert re.fullmatch(r"H4sI[A-Za-z0-9+/]+=*", request.body)
            assert request.compression == "gzip"
    for event in by_platform(traffic, "Android", "iOS"):
        assert set(event) - {"country", "ecommerce"} == APP_FIELDS


def test_a_mobile_request_holds_at_most_100_events() -> None:
    events = [{"timestamp": 1000 + number} for number in range(250)]
    offline = list(stored(events, upload_ms=9000))
    assert [(at, len(bundle)) for at, bundle in offline] == [(9000, 100), (9400, 100), (9800, 50)]
    online = [bundle for _, bundle in bundles(events, "Android", Random(1))]
    assert [len(bundle) for bundle in online] == [100, 100, 50]
    assert [event for bundle in online for event in bundle] == events


def test_the_query_names_platform_app_bundle_upload_time_and_hash(traffic) -> None:
    for request in traffic.requests:
        url = urlsplit(request.uri)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        assert url.path == "/collect"
        assert query["platform"] == request.platform
        assert query["appId"] == request.app_id
        assert int(query["event_bundle_sequence_id"]) >= 1
        assert int(query["upload_timestamp"]) == request.upload_ms or (
            request.trouble is Trouble.BROKEN
        )
        assert query.get("compression") == request.compression
        if request.trouble is not Trouble.BROKEN:
            assert query["hashCode"] == hashlib.sha256(request.body.encode()).hexdigest()[:8]


def test_an_event_has_the_size_that_real_ones_have(traffic) -> None:
    web = [r for r in traffic.requests if r.platform == "Web" and r.events]
    mean = sum(len(r.body) for r in web) / sum(r.events for r in web)
    assert 1000 < mean < 1500


@pytest.mark.parametrize("platform", ["Web", "Android", "iOS"])
def test_a_session_id_is_of_the_user_and_the_start(traffic, platform: str) -> None:
    for event in by_platform(traffic, platform):
        attributes = event["attributes"]
        assert set(attributes) >= SESSION_FIELDS
        start = attributes["_session_start_timestamp"]
        clock = datetime.fromtimestamp(start // 1000, UTC).strftime("%Y%m%d-%H%M%S")
        user = event["unique_id"][:8] if platform == "iOS" else event["unique_id"][-8:]
        assert attributes["_session_id"] == f"{user}-{clock}{start % 1000:03}"
        assert event["timestamp"] - start == attributes["_session_duration"]


def test_a_session_starts_once_and_has_one_entrance(traffic) -> None:
    for events in traffic.sessions().values():
        names = [event["event_type"] for event in events]
        entrances = [e for e in events if e["attributes"].get("_entrances") == 1]
        assert names.count("_session_start") == 1
        assert len(entrances) <= 1
        assert names.index("_session_start") < 5


def test_the_sessions_of_a_user_are_numbered_without_overlap(traffic) -> None:
    users: dict[str, list[tuple[int, int, int]]] = {}
    for events in traffic.sessions().values():
        number = events[0]["attributes"]["_session_number"]
        spans = users.setdefault(events[0]["unique_id"], [])
        spans.append((events[0]["timestamp"], events[-1]["timestamp"], number))
    assert any(len(spans) > 3 for spans in users.values())
    for spans in users.values():
        spans.sort()
        numbers = [number for _, _, number in spans]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        for (_, end, _), (start, _, _) in pairwise(spans):
            assert start - end > 30 * 60_000


def test_a_first_open_is_the_first_event_of_a_users_first_session(traffic) -> None:
    for events in traffic.sessions().values():
        names = [event["event_type"] for event in events]
        is_first = events[0]["attributes"]["_session_number"] == 1
        assert names.count("_first_open") == (1 if is_first else 0)
        if is_first:
            assert names[0] == "_first_open"
            touch = events[0]["user"]["_user_first_touch_timestamp"]["value"]
            assert touch == events[0]["timestamp"]


def test_a_user_id_stays_from_login_on(traffic) -> None:
    sessions = [
        s for s in traffic.sessions().values() if any(e["event_type"] == "login" for e in s)
    ]
    assert sessions
    for events in sessions:
        at = [event["event_type"] for event in events].index("login")
        assert all("_user_id" not in event["user"] for event in events[: at - 1])
        assert all("_user_id" in event["user"] for event in events[at - 1 :])
        assert events[at - 1]["event_type"] == "_profile_set"


def test_only_profile_set_carries_user_attributes(traffic) -> None:
    for event in traffic.events():
        extra = set(event["user"]) - {"_user_id", "_user_first_touch_timestamp"}
        assert bool(extra) == (event["event_type"] == "_profile_set")


def test_a_purchase_adds_up(traffic) -> None:
    purchases = [event for event in traffic.events() if event["event_type"] == "purchase"]
    assert len(purchases) > 20
    for event in purchases:
        values, items = event["ecommerce"], event["items"]
        assert values["total_item_quantity"] == sum(item["quantity"] for item in items)
        assert values["unique_items"] == len(items) > 0
        total = sum(item["price"] * item["quantity"] for item in items)
        assert values["purchase_revenue_in_usd"] == pytest.approx(total, abs=0.01)
        assert event["attributes"]["currency"]
        assert "_user_id" in event["user"]


def test_every_preset_event_turns_up(make_traffic) -> None:
    made = make_traffic(TrafficPlan(events=60_000, days=7))
    names = {(event["platform"], event["event_type"]) for event in made.events()}
    common = ("_first_open", "_session_start", "_user_engagement", "_profile_set", "purchase")
    assert names >= {(p, name) for p in ("Web", "Android", "iOS") for name in common}
    assert names >= {("Web", name) for name in ("_page_view", "_scroll", "_click", "_search")}
    apps = ("_screen_view", "_app_start", "_app_end", "_app_update", "_app_exception")
    assert names >= {(p, name) for p in ("Android", "iOS") for name in apps}
    assert ("iOS", "_os_update") in names


def test_addresses_are_public_and_of_both_kinds(traffic) -> None:
    versions = set()
    for request in traffic.requests:
        client = ipaddress.ip_address(request.address.split(", ")[-1])
        versions.add(client.version)
        assert client.is_global
    assert versions == {4, 6}
    assert any(", " in request.address for request in traffic.requests)


def test_more_people_come_in_the_evening_than_at_night(traffic) -> None:
    hours = [0] * 24
    for events in traffic.sessions().values():
        local = events[0]["timestamp"] + events[0]["zone_offset"]
        hours[local // 3_600_000 % 24] += 1
    assert sum(hours[18:22]) > 4 * sum(hours[1:5])
