"""Events that Snowplow has collected, in the lake's table, give the views their numbers.

snowplow_atomic.ndjson has rows in the shape of Snowplow's table of atomic events, as its loaders
write them to a warehouse, with the columns that are read here. The mapping is that of
docs/compatibility.md, "Events of other tools"; the numbers are counted by hand from the file. Such
events tell the session, but neither its start nor its duration, and no first visit.
"""

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.dbt.conftest import Models
from tests.dbt.model_input import event, ms

EXPORT = Path(__file__).with_name("snowplow_atomic.ndjson")
NAMES = {
    "page_view": "_page_view",
    "page_ping": "_user_engagement",
    "screen_view": "_screen_view",
    "transaction": "purchase",
}
PLATFORMS = {"web": "Web", "mob": "Android", "srv": None}
HEARTBEAT_MS = 10_000
SCREEN = "unstruct_event_com_snowplowanalytics_mobile_screen_view_1"
CLIENT_SESSION = "contexts_com_snowplowanalytics_snowplow_client_session_1"


def mapped(row: dict[str, Any]) -> dict[str, Any]:
    """One row of atomic events as a row of ods_event."""
    (mobile,) = row[CLIENT_SESSION] or [{}]
    name = row["se_action"] if row["event"] == "struct" else row["event_name"]
    params = {
        "_page_title": row["page_title"],
        "_screen_name": (row[SCREEN] or {}).get("name"),
        "_engagement_time_msec": HEARTBEAT_MS if name == "page_ping" else None,
    }
    return event(
        NAMES.get(name, name),
        ms(row["derived_tstamp"]),
        row["event_id"],
        app=row["app_id"],
        user=row["domain_userid"] or mobile.get("userId"),
        session=row["domain_sessionid"] or mobile.get("sessionId"),
        params={key: value for key, value in params.items() if value is not None},
        ingest_timestamp=ms(row["collector_tstamp"]),
        user_id=row["user_id"],
        platform=PLATFORMS[row["platform"]],
        event_value_in_usd=row["tr_total_base"],
        device={
            "operating_system": row["os_name"],
            "screen_width": row["dvce_screenwidth"],
            "screen_height": row["dvce_screenheight"],
            "system_language": row["br_lang"],
            "ua_browser": row["br_name"],
            "ua_device_category": row["dvce_type"],
        },
        geo={"country": row["geo_country"], "city": row["geo_city"]},
        traffic_source={
            "source": row["mkt_source"],
            "medium": row["mkt_medium"],
            "name": row["mkt_campaign"],
        },
    )


@pytest.fixture(scope="module")
def models(build: Callable[..., Models]) -> Models:
    rows = [mapped(json.loads(line)) for line in EXPORT.read_text().splitlines()]
    days = sorted({row["event_date"] for row in rows})
    return build(*([row for row in rows if row["event_date"] == day] for day in days))


def test_sessions_last_from_their_first_to_their_last_event(models: Models) -> None:
    first, second, third = (datetime(2024, 3, day) for day in (1, 2, 3))
    assert models.rows(
        "clickstream_session_view",
        "app_id, user_pseudo_id, session_id, platform, session_duration, session_views,"
        " engaged_session, session_engagement_time, session_date, entry_view, exit_view",
    ) == [
        ("phone", "c", "c-1", "Android", 9_000, 1, 0, 0, second, "Start", "Start"),
        ("shop", "a", "a-1", "Web", 120_000, 2, 1, 20_000, first, "Home", "Shoes"),
        ("shop", "a", "a-2", "Web", 5_000, 1, 0, 0, third, "Home", "Home"),
        ("shop", "b", "b-1", "Web", 300_000, 2, 1, 0, first, "Home", "Sale"),
        ("shop", None, "#2024-03-02", None, 0, 0, 0, 0, second, None, None),
    ]


def test_users_are_described_by_their_first_event(models: Models) -> None:
    assert models.rows(
        "clickstream_user_dim_view",
        "app_id, user_pseudo_id, first_visit_date, first_platform, first_visit_country,"
        " first_visit_device_language, first_traffic_source_source, first_traffic_source_medium,"
        " is_registered",
    ) == [
        (
            *("phone", "c", date(2024, 3, 2), "Android", "DE", None, "(direct)", None),
            "Non-registered",
        ),
        ("shop", "a", date(2024, 3, 1), "Web", "DE", "de", "news", "email", "Registered"),
        ("shop", "b", date(2024, 3, 1), "Web", "FR", "fr", "(direct)", None, "Non-registered"),
    ]


def test_pages_are_followed_and_pings_part_no_two_of_them(models: Models) -> None:
    columns = "app_id, report_date, source, target, transition_count, user_count"
    where = "node_type = 'view'"
    assert models.rows("clickstream_path_transition_daily", columns, where) == [
        ("shop", date(2024, 3, 1), "Home", "Sale", 1, 1),
        ("shop", date(2024, 3, 1), "Home", "Shoes", 1, 1),
    ]


def test_purchases_days_and_devices_are_the_users(models: Models) -> None:
    assert models.rows(
        "clickstream_user_day_base",
        "user_pseudo_id, report_date, event_count, view_count, engagement_time, purchase_count,"
        " purchase_value_in_usd",
    ) == [
        ("a", date(2024, 3, 1), 5, 2, 20_000, 1, Decimal("59.5")),
        ("a", date(2024, 3, 3), 2, 1, 0, 0, 0),
        ("b", date(2024, 3, 1), 1, 1, 0, 0, 0),
        ("b", date(2024, 3, 2), 1, 1, 0, 0, 0),
        ("c", date(2024, 3, 2), 2, 1, 0, 0, 0),
    ]
    assert models.rows(
        "clickstream_device_usage",
        "user_pseudo_id, ua_browser, screen_resolution, sum(usage_num)",
        "user_pseudo_id is not null group by all",
    ) == [
        ("a", "Chrome", "1080 x 1920", 7),
        ("b", "Safari", "900 x 1440", 2),
        ("c", None, None, 2),
    ]
    returned = "app_id = 'shop' and day_diff > 0"
    assert models.rows("clickstream_retention_view", "*", returned) == [
        ("shop", date(2024, 3, 1), 1, 1, 2),
        ("shop", date(2024, 3, 1), 2, 1, 2),
    ]
