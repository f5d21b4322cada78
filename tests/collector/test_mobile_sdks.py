"""Requests as the SDKs for Android and Swift form them, through the collector into the views."""

import base64
import gzip
import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.collector.pipeline import Pipeline
from tests.collector.running import RunningCollector, running_collector

pytestmark = pytest.mark.heavy

APP = "shop_mobile"
NOW_MS = time.time_ns() // 1_000_000
START_MS = NOW_MS - 60_000
LEFT_MS, SECOND_VIEW_MS = 11_900, 12_000


@dataclass(frozen=True)
class Sdk:
    """A version of an SDK: its query, in its order, and how it sends a body."""

    platform: str
    version: str
    user_agent: str
    query: str
    compression: str = "gzip"

    @property
    def user(self) -> str:
        """The one user who has an app with it."""
        text = f"{self.platform} {self.version} {self.compression}"
        return str(uuid.uuid5(uuid.NAMESPACE_URL, text))

    @property
    def session(self) -> str:
        """The id of the user's session; Swift takes the first letters of the user's id."""
        user = self.user[:8] if self.platform == "iOS" else self.user[-8:]
        start = datetime.fromtimestamp(START_MS // 1_000, UTC)
        return f"{user}-{start:%Y%m%d-%H%M%S}{START_MS % 1_000:03}"

    def event(self, name: str, after_ms: int, **attributes: Any) -> dict[str, Any]:
        is_ios = self.platform == "iOS"
        return {
            "unique_id": self.user,
            "event_type": name,
            "event_id": str(uuid.uuid5(uuid.UUID(self.user), f"{name} {after_ms}")),
            "app_id": APP,
            "timestamp": START_MS + after_ms,
            "device_id": f"device of {self.user}",
            "device_unique_id": "",
            "platform": self.platform,
            "os_version": "17.1" if is_ios else "14",
            "make": "apple" if is_ios else "Google",
            "brand": "apple" if is_ios else "google",
            "model": "iPhone 15" if is_ios else "Pixel 8",
            "locale": "de_DE",
            "carrier": "UNKNOWN",
            "network_type": "WIFI",
            "screen_height": 2_340,
            "screen_width": 1_080,
            "zone_offset": 3_600_000,
            "system_language": "de",
            "country_code": "DE",
            "sdk_version": self.version,
            "sdk_name": "aws-solution-clickstream-sdk",
            "app_version": "2.1",
            "app_package_name": "example.shop",
            "app_title": "Shop",
            "items": [],
            "user": {"_user_first_touch_timestamp": {"value": START_MS, "set_timestamp": START_MS}},
            "attributes": {
                "_session_id": self.session,
                "_session_start_timestamp": START_MS,
                "_session_duration": after_ms,
                "_session_number": 1,
                **attributes,
            },
        }

    def bundles(self) -> list[list[dict[str, Any]]]:
        """Give what it sends: two requests, the second one a second time."""
        profile = self.event("_profile_set", 3_000)
        for name, value in (("_user_id", "user-7"), ("_user_name", "Größe"), ("age", 41)):
            profile["user"][name] = {"value": value, "set_timestamp": START_MS + 3_000}
        second = [
            profile,
            self.event("_user_engagement", LEFT_MS, _engagement_time_msec=LEFT_MS - 500),
            self.event(
                "_screen_view",
                SECOND_VIEW_MS,
                _screen_name="Cart",
                _screen_id="example.shop.Cart",
                _previous_screen_name="Home",
                _entrances=0,
                _engagement_time_msec=LEFT_MS - 500,
            ),
        ]
        home = {"_screen_name": "Home", "_screen_id": "example.shop.Home", "_entrances": 1}
        first = [
            self.event("_first_open", 0),
            self.event("_session_start", 1),
            self.event("_screen_view", 500, **home),
        ]
        return [first, second, second]

    def send(self, collector: RunningCollector) -> None:
        for number, events in enumerate(self.bundles(), 1):
            body = json.dumps(events, ensure_ascii=False).encode()
            if self.compression:
                body = base64.b64encode(gzip.compress(body))
            query = self.query.format(
                app=APP,
                hash=hashlib.sha256(body).hexdigest()[:8],
                number=number,
                upload=NOW_MS,
                compression=self.compression,
            )
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                "User-Agent": self.user_agent,
            }
            answer = collector.send(body, query=query, headers=headers)
            assert (answer.status, answer.body) == (200, b"")


_LATER = (
    "appId={app}&hashCode={hash}&event_bundle_sequence_id={number}&upload_timestamp={upload}"
    "&compression={compression}"
)
_ANDROID = "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8)"
_SWIFT = "Shop/2.1 CFNetwork/1410.0.3 Darwin/22.6.0"
SDKS = [
    Sdk("Android", "0.14.0", _ANDROID, f"platform=Android&{_LATER}"),
    Sdk("Android", "0.14.0", _ANDROID, f"platform=Android&{_LATER}", compression=""),
    Sdk(
        "Android",
        "0.5.1",
        _ANDROID,
        "platform=Android&appId={app}&event_bundle_sequence_id={number}&compression={compression}",
    ),
    Sdk("iOS", "0.12.5", _SWIFT, f"platform=iOS&{_LATER}"),
    Sdk("iOS", "0.12.5", _SWIFT, f"platform=iOS&{_LATER}", compression=""),
    Sdk(
        "iOS",
        "0.4.1",
        _SWIFT,
        "platform=iOS&appId={app}&compression={compression}&event_bundle_sequence_id={number}",
    ),
]
by_sdk = pytest.mark.parametrize(
    "sdk", SDKS, ids=lambda sdk: f"{sdk.platform}-{sdk.version}-{sdk.compression or 'plain'}"
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Pipeline:
    """Lake and warehouse after each SDK has sent."""
    directory = tmp_path_factory.mktemp("mobile_sdks")
    with running_collector(directory, apps=(APP,)) as collector:
        for sdk in SDKS:
            sdk.send(collector)
        pipeline = Pipeline(directory)
        counters = pipeline.process(collector, APP)
    told = ("requests", "written", "duplicate", "bad")
    assert {name: counters[name] for name in told} == {
        "requests": 3 * len(SDKS),
        "written": 6 * len(SDKS),
        "duplicate": 3 * len(SDKS),
        "bad": 0,
    }
    pipeline.model()
    return pipeline


@by_sdk
def test_the_session_view_shows_the_use_of_the_app(shop: Pipeline, sdk: Sdk) -> None:
    (session,) = shop.query(
        f"select * from clickstream_session_view where user_pseudo_id = '{sdk.user}'"
    )

    del session["session_date"], session["session_date_hour"]
    assert session == {
        "app_id": APP,
        "session_id": sdk.session,
        "user_pseudo_id": sdk.user,
        "platform": sdk.platform,
        "session_duration": SECOND_VIEW_MS,
        "session_views": 2,
        "engaged_session": 1,
        "bounced_session": 0,
        "session_start_timestamp": START_MS,
        "session_engagement_time": LEFT_MS - 500,
        "entry_view": "Home",
        "exit_view": "Cart",
    }


@by_sdk
def test_the_event_view_shows_the_device(shop: Pipeline, sdk: Sdk) -> None:
    rows = shop.query(
        "select event_name, event_timestamp, device_mobile_model_name, device_operating_system,"
        " device_operating_system_version, app_info_version, app_info_package_id"
        f" from clickstream_ods_event_view where user_pseudo_id = '{sdk.user}'"
        " order by event_timestamp"
    )

    assert [(row["event_name"], row["event_timestamp"] - START_MS) for row in rows] == [
        ("_first_open", 0),
        ("_session_start", 1),
        ("_screen_view", 500),
        ("_profile_set", 3_000),
        ("_user_engagement", LEFT_MS),
        ("_screen_view", SECOND_VIEW_MS),
    ]
    is_ios = sdk.platform == "iOS"
    device = ("iPhone 15", "iOS", "17.1") if is_ios else ("Pixel 8", "Android", "14")
    assert {tuple(row.values())[2:] for row in rows} == {(*device, "2.1", "example.shop")}


@by_sdk
def test_the_user_views_show_the_user(shop: Pipeline, sdk: Sdk) -> None:
    where = f"where user_pseudo_id = '{sdk.user}'"
    (user,) = shop.query(f"select * from clickstream_user_dim_view {where}")
    attributes = shop.query(
        "select custom_attr_key as name, custom_attr_value as value"
        f" from clickstream_user_attr_view {where}"
    )

    assert (user["is_registered"], user["first_platform"]) == ("Registered", sdk.platform)
    assert user["first_visit_device_language"] == "de"
    assert {row["name"]: row["value"] for row in attributes} == {
        "_user_first_touch_timestamp": str(START_MS),
        "_user_id": "user-7",
        "_user_name": "Größe",
        "age": "41",
    }
