"""What the models know of expired days is not lost by a run."""

from datetime import date
from typing import Any

import pytest

from clickstream_dagster.warehouses.redshift.expiry import bring_back, expire
from tests.dbt.model_input import PROJECT, event
from tests.redshift.conftest import Warehouse
from tests.redshift.traffic import traffic

pytestmark = pytest.mark.heavy

KNOWN = ("clickstream_session_base", "clickstream_user_day_base", "clickstream_user_base")
MODELS = ("run", "--select", "clickstream_event_base", *KNOWN, "clickstream_engagement_daily")


def known(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """What the models have of sessions, days and users."""
    return {name: warehouse.rows(name, "* exclude (load_id)") for name in KNOWN}


def test_other_definitions_after_an_expiry_need_a_full_refresh(warehouse: Warehouse) -> None:
    warehouse.write(traffic(1))
    warehouse.write(traffic(5))
    warehouse.load()
    warehouse.dbt(*MODELS)
    before = known(warehouse)
    expire(warehouse.sql, PROJECT, 1, date(2025, 1, 2), dry_run=False)

    for definition in ("session_idle_minutes: 45", "purchase_events: [buy]"):
        with pytest.raises(AssertionError, match="days before 2025-01-01 have expired") as error:
            warehouse.dbt(*MODELS, "--vars", f"{{{definition}}}")
        assert "--full-refresh" in str(error.value)
        assert known(warehouse) == before
    # Sessions are all there, and so is what is made of them alone.
    warehouse.dbt(*MODELS, "--vars", "{engaged_session_ms: 5000}")
    assert known(warehouse) == before

    other = ("--vars", "{session_idle_minutes: 45}")
    warehouse.dbt(*MODELS, *other, "--full-refresh")
    first_day = ("clickstream_user_day_base", "min(report_date)")
    assert warehouse.rows(*first_day) >= [(date(2025, 1, 1),)]
    bring_back(warehouse.sql, PROJECT)
    warehouse.load()
    warehouse.dbt(*MODELS, *other)
    assert warehouse.rows(*first_day) == [(min(row[2] for row in before[first_day[0]]),)]
    assert warehouse.rows(KNOWN[0], "sum(event_count)") == [(120,)]


def test_a_funnel_of_expired_days_keeps_its_numbers(warehouse: Warehouse) -> None:
    """A later event reaches back by the funnel's window, to days that have no events any more."""
    funnel = "{name: buy, window_minutes: 7200, steps: [{event: search}, {event: order}]}"
    options = ("--vars", f"{{funnels: [{funnel}]}}")
    bases = ("clickstream_event_base", "clickstream_path_base", *KNOWN)
    models = ("run", "--select", *bases, "clickstream_funnel_daily")
    first = [
        event("search", "2024-05-01 10:00", "a1", user="a"),
        event("order", "2024-05-01 10:01", "a2", user="a"),
        event("search", "2024-05-05 10:00", "b1", user="b"),
    ]
    warehouse.write(first)
    warehouse.load()
    warehouse.dbt(*models, *options)
    columns = "report_date, step, user_count"
    before = warehouse.rows("clickstream_funnel_daily", columns)
    expire(warehouse.sql, PROJECT, 1, date(2024, 5, 6), dry_run=False)
    assert warehouse.rows("clickstream_event_base", "count(*)") == [(1,)]

    warehouse.write([event("order", "2024-05-05 11:00", "b2", user="b")])
    warehouse.load()
    warehouse.dbt(*models, *options)

    after = warehouse.rows("clickstream_funnel_daily", columns)
    assert [row for row in after if row[0].day == 1] == [row for row in before if row[0].day == 1]
    assert len([row for row in before if row[0].day == 1]) == 2
    assert after != before
