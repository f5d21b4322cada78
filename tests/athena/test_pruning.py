"""A question about an app and a day reads the files of that app and day, and no others."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.athena.conftest import TwoLakes
from tests.dbt.model_input import event
from tests.views import DAILY_REPORTS

MONTHS = ("2024-11", "2024-12", "2025-01")

COUNT = "select count(distinct event_id) from clickstream_ods_event_view"


@pytest.mark.parametrize("name", DAILY_REPORTS)
def test_a_report_over_a_month_reads_the_files_of_that_month(lakes: TwoLakes, name: str) -> None:
    files = sizes(lakes, name)
    month = "/app_id=web/report_date_month=2025-01/"
    chosen = [size for path, size in files.items() if month in path]
    assert 0 < len(chosen) < len(files)
    rows = f"select * from {name} where app_id = 'web' and report_date"
    one = lakes.edge.run(f"{rows} between date '2025-01-01' and date '2025-01-31'", lakes.project)
    everything = lakes.edge.run(f"{rows} > date '1970-01-01'", lakes.project)
    assert 0 < one.read_bytes <= sum(chosen) < everything.read_bytes


def test_cohorts_of_a_month_are_read_without_those_of_others(lakes: TwoLakes) -> None:
    sql = "select * from clickstream_retention_view where app_id = 'web' and first_date"
    one = lakes.edge.run(f"{sql} >= date '2025-01-01'", lakes.project)
    everything = lakes.edge.run(f"{sql} > date '1970-01-01'", lakes.project)
    assert (one.error, everything.error) == (None, None)
    assert one.read_bytes < everything.read_bytes  # no byte, if nobody is new then


def sizes(lakes: TwoLakes, table: str) -> dict[str, int]:
    """Size of each data file of a table, by path."""
    return dict(lakes.query(f'select file_path, file_size_in_bytes from "{table}$files"'))


def test_app_and_day_decide_what_is_read(lakes: TwoLakes) -> None:
    events = sizes(lakes, "ods_event")
    chosen = [size for path, size in events.items() if "/app_id=web/event_date=2025-01-01/" in path]
    assert 0 < len(chosen) < len(events) / 4
    # Beside the events the view reads the keys of sessions without id, from the ledger.
    keys = sum(sizes(lakes, "clickstream_load_session").values())
    one = lakes.edge.run(
        f"{COUNT} where app_id = 'web' and event_date = date '2025-01-01'", lakes.project
    )
    everything = lakes.edge.run(COUNT, lakes.project)
    assert 0 < one.read_bytes <= sum(chosen) + keys
    assert everything.read_bytes > sum(chosen) + keys


def visits(month: str) -> list[dict[str, Any]]:
    """A day of sessions in a month that go on in no other one."""
    return [
        event(
            name,
            f"{month}-05 10:{minute:02}",
            f"{month}-{number}-{minute}",
            app="web",
            user=f"u{number}",
            session=f"{month}-{number}",
            params={"_page_title": "A", "_session_start_timestamp": None},
        )
        for number in range(20)
        for minute, name in enumerate(("_session_start", "_page_view"))
    ]


@pytest.fixture(scope="module")
def months(new_lakes: Callable[[str], TwoLakes]) -> tuple[TwoLakes, list[str]]:
    """Two lakes with a load in each of three months, and the merges of the last load."""
    lakes = new_lakes("UTC")
    for month in MONTHS:
        lakes.write(visits(month))
        ran = lakes.run_athena("run", "--select", "+clickstream_session_view")
    return lakes, [statement.text for statement in ran if "merge into" in statement.text]


def days_read(lakes: TwoLakes, statement: str, table: str, column: str) -> list[tuple[str, str]]:
    """The ranges of days that each scan of a table is bound to, by the plan of a statement."""
    plan = lakes.edge.run(f"explain (type io, format json) {statement}", lakes.project)
    assert plan.error is None, plan.error
    scans = [
        one
        for one in json.loads(plan.rows[0][0])["inputTableColumnInfos"]
        if one["table"]["schemaTable"]["table"] == table
    ]
    assert scans, table
    return [
        (range_["low"]["value"], range_["high"]["value"])
        for scan in scans
        for constraint in scan["constraint"]["columnConstraints"]
        if constraint["columnName"] == column
        for range_ in constraint["domain"]["ranges"]
    ]


def test_a_load_merges_into_the_sessions_of_its_days(months: tuple[TwoLakes, list[str]]) -> None:
    lakes, merges = months
    (merge,) = [text for text in merges if '"clickstream_session_base" as former' in text]
    bounds = days_read(lakes, merge, "clickstream_session_base", "first_event_date")
    assert bounds == [("2025-01-05", "2025-01-05")]


def test_a_question_about_days_reads_their_sessions(months: tuple[TwoLakes, list[str]]) -> None:
    lakes, _ = months
    count = "select count(*), sum(session_views) from clickstream_session_view"
    chosen = (
        f"{count} where cast(session_date as date) between date '2024-12-01' and date '2024-12-31'"
    )
    files = sizes(lakes, "clickstream_session_base")
    of_month = [size for path, size in files.items() if "first_event_date_month=2024-12" in path]
    assert 0 < len(of_month) < len(files)
    one = lakes.edge.run(chosen, lakes.project)
    everything = lakes.edge.run(count, lakes.project)
    assert (one.rows, everything.rows) == ([[20, 20]], [[60, 60]])
    assert 0 < one.read_bytes <= sum(of_month) < everything.read_bytes
