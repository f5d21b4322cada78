"""What a question about some days reads: no table whole that grows with the days."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest

from clickstream_dagster.resources.definitions import Definitions
from clickstream_dagster.resources.funnels import funnels_of
from tests.dbt.conftest import Models
from tests.dbt.model_input import PROJECT, traffic, write

# Views and reports by day, the column of the day, and what they read whole: a row a user, or a row
# a day; stages alone need a row a user and day, since the last day before may be any one.
USERS = {"clickstream_user_base"}
DAYS = {
    "clickstream_ods_event_view": ("event_date", set()),
    "clickstream_ods_event_attr_view": ("event_date", set()),
    "clickstream_path_view": ("event_date", set()),
    "clickstream_device_view": ("event_date", set()),
    "clickstream_retention_view": ("first_date", set()),
    "clickstream_active_users": ("report_date", USERS),
    "clickstream_activity_events": ("event_date", USERS),
    "clickstream_device_usage": ("event_date", set()),
    "clickstream_active_users_daily": ("report_date", set()),
    "clickstream_activity_daily": ("report_date", set()),
    "clickstream_engagement_daily": ("report_date", set()),
    "clickstream_engagement_overall_daily": ("report_date", set()),
    "clickstream_funnel_daily": ("report_date", set()),
    "clickstream_path_transition_daily": ("report_date", set()),
    "clickstream_retention_daily": ("report_date", set()),
    "clickstream_retention_rate": ("first_date", {"clickstream_active_users_daily"}),
    "clickstream_acquisition_daily": ("report_date", set()),
    "clickstream_lifecycle_daily_view": ("time_period", {"clickstream_user_day_base"}),
}


@pytest.fixture(scope="module")
def models(new_models: Callable[[], Models]) -> Models:
    models = new_models()
    steps = ["_session_start", "_page_view"]
    models.definitions = Definitions(funnels=funnels_of([{"name": "f", "steps": steps}]))
    write(models.sink, [*traffic(1), *traffic(4)])
    models.run()
    return models


@pytest.fixture(scope="module")
def connection(models: Models) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(models.file)) as connection:
        connection.execute(f"set schema = '{PROJECT}'")
        yield connection


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The scans of tables below a node of a plan."""
    if "Table" in node.get("extra_info", {}):
        yield node
    for child in node.get("children", ()):
        yield from scans(child)


def read_whole(connection: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    """The tables that a query scans without a bound on a date."""
    (_, plan), *_ = connection.execute(f"explain (format json) {sql}").fetchall()
    found = [scan["extra_info"] for root in json.loads(plan) for scan in scans(root)]
    assert found, sql
    return {
        scan["Table"].split(".")[-1]
        for scan in found
        if "_date" not in str(scan.get("Filters", ""))
    }


@pytest.mark.parametrize("name", DAYS)
def test_a_question_about_some_days_does_not_read_the_others(
    connection: duckdb.DuckDBPyConnection, name: str
) -> None:
    day, whole = DAYS[name]
    sql = f"select * from {name} where app_id = 'web' and {day} between date '{{}}' and date '{{}}'"
    assert read_whole(connection, sql.format("2024-12-30", "2024-12-31")) == whole
    assert connection.execute(sql.format("2024-12-27", "2025-01-02")).fetchall()


def test_a_scan_without_bound_is_seen(connection: duckdb.DuckDBPyConnection) -> None:
    sql = "select count(distinct event_id) from clickstream_path_view where app_id = 'web'"
    assert read_whole(connection, sql) == {"clickstream_path_base"}
