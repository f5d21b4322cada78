"""Events that another tool has collected, in the lake's table, give the views their numbers.

ga4_export.ndjson has rows as Google Analytics 4 exports them to BigQuery, written as its JSON
export writes them: 64-bit integers are texts, times microseconds, a value has four typed fields.
The mapping is that of docs/compatibility.md, "Events of other tools"; the numbers are counted by
hand from the file.
"""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.dbt.conftest import Models
from tests.dbt.model_input import event

EXPORT = Path(__file__).with_name("ga4_export.ndjson")
NAMES = ("first_open", "first_visit", "page_view", "screen_view", "session_start")
PRESET = {name: f"_{name}" for name in (*NAMES, "user_engagement")}
PARAMETERS = {
    "engagement_time_msec": "_engagement_time_msec",
    "firebase_screen": "_screen_name",
    "page_title": "_page_title",
}
PLATFORMS = {"ANDROID": "Android", "IOS": "iOS", "WEB": "Web"}


def mapped(row: dict[str, Any]) -> dict[str, Any]:
    """One row of the export as a row of ods_event."""
    time = int(row["event_timestamp"]) // 1000
    params = {one["key"]: _plain(one["value"]) for one in row["event_params"]}
    session = params.pop("ga_session_id")
    user, device = row["user_pseudo_id"], row["device"]
    return event(
        PRESET.get(row["event_name"], row["event_name"]),
        time,
        f"{user}-{row['event_timestamp']}-{int(row['batch_event_index']):06}-{row['event_name']}",
        app=row["stream_id"],
        user=user,
        session=str(session),
        params={
            **{PARAMETERS.get(key, key): value for key, value in params.items()},
            "_session_start_timestamp": session * 1000,
            "_session_duration": time - session * 1000,
        },
        user_id=row["user_id"],
        platform=PLATFORMS[row["platform"]],
        user_first_touch_timestamp=int(row["user_first_touch_timestamp"]) // 1000,
        event_value_in_usd=row["event_value_in_usd"],
        device={
            "mobile_brand_name": device.get("mobile_brand_name"),
            "mobile_model_name": device.get("mobile_model_name"),
            "operating_system": device["operating_system"],
            "system_language": device["language"],
            "ua_browser": device.get("web_info", {}).get("browser"),
            "ua_browser_version": device.get("web_info", {}).get("browser_version"),
            "ua_device_category": device["category"],
        },
        geo={key: row["geo"][key] for key in ("continent", "country", "city")},
        traffic_source=row["traffic_source"],
    )


def _plain(value: dict[str, Any]) -> str | int | float:
    ((type_, plain),) = [(name, one) for name, one in value.items() if one is not None]
    return int(plain) if type_ == "int_value" else plain


@pytest.fixture(scope="module")
def models(build: Callable[..., Models]) -> Models:
    rows = [mapped(json.loads(line)) for line in EXPORT.read_text().splitlines()]
    # The export comes by days; a session that goes on over midnight is in two of them.
    days = sorted({row["event_date"] for row in rows})
    return build(*([row for row in rows if row["event_date"] == day] for day in days))


def test_sessions_are_of_a_user_though_ids_repeat(models: Models) -> None:
    first, second, third = (datetime(2024, 3, day) for day in (1, 1, 3))
    assert models.rows(
        "clickstream_session_view",
        "app_id, user_pseudo_id, session_id, platform, session_duration, session_views,"
        " engaged_session, session_engagement_time, session_date, entry_view, exit_view",
    ) == [
        ("111", "A.1", "1709287200", "Web", 60_000, 2, 1, 12_000, first, "Home", "Shoes"),
        ("111", "A.1", "1709456400", "Web", 5_000, 1, 0, 800, third, "Home", "Home"),
        ("111", "B.2", "1709337480", "Web", 420_000, 3, 1, 0, second, "Home", "Home"),
        ("222", "C.3", "1709287200", "Android", 9_000, 1, 0, 7_000, first, "Start", "Start"),
    ]


def test_users_have_their_first_visit_and_login(models: Models) -> None:
    day = date(2024, 3, 1)
    assert models.rows(
        "clickstream_user_dim_view",
        "app_id, user_pseudo_id, first_visit_date, first_platform, first_visit_country,"
        " first_visit_device_language, first_traffic_source_source, first_traffic_source_medium,"
        " first_traffic_source_name, is_registered",
    ) == [
        ("111", "A.1", day, "Web", "Germany", "de", "google", "cpc", "spring", "Registered"),
        (
            *("111", "B.2", day, "Web", "France", "fr", "(direct)", "(none)", "(direct)"),
            "Non-registered",
        ),
        (
            *("222", "C.3", day, "Android", "Germany", "de-de", "google-play", "organic", None),
            "Non-registered",
        ),
    ]


def test_pages_and_screens_are_counted_and_followed(models: Models) -> None:
    views = "event_name in ('_page_view', '_screen_view')"
    assert models.rows(
        "clickstream_path_view",
        "distinct current_screen, count(*) over (partition by current_screen)",
        views,
    ) == [("Home", 4), ("Sale", 1), ("Shoes", 1), ("Start", 1)]
    assert models.rows(
        "clickstream_path_view",
        "event_timestamp, current_screen, next_screen",
        f"user_pseudo_id = 'B.2' and {views}",
    ) == [
        (_ms(1, 23, 58), "Home", "Sale"),
        (_ms(2, 0, 3), "Sale", "Home"),
        (_ms(2, 0, 5), "Home", None),
    ]


def _ms(day: int, hour: int, minute: int) -> int:
    return round(datetime(2024, 3, day, hour, minute, tzinfo=UTC).timestamp() * 1000)


def test_purchases_and_days_are_the_users(models: Models) -> None:
    assert models.rows(
        "clickstream_user_day_base",
        "user_pseudo_id, report_date, event_count, view_count, purchase_count,"
        " purchase_value_in_usd",
    ) == [
        ("A.1", date(2024, 3, 1), 6, 2, 1, Decimal("59.5")),
        ("A.1", date(2024, 3, 3), 3, 1, 0, 0),
        ("B.2", date(2024, 3, 1), 3, 1, 0, 0),
        ("B.2", date(2024, 3, 2), 2, 2, 0, 0),
        ("C.3", date(2024, 3, 1), 4, 1, 0, 0),
    ]
    assert models.rows("clickstream_retention_view", "*", "app_id = '111' and day_diff > 0") == [
        ("111", date(2024, 3, 1), 1, 1, 2),
        ("111", date(2024, 3, 1), 2, 1, 2),
    ]
