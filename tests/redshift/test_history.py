"""What the models know of expired days is not lost by a run."""

from datetime import date
from typing import Any

import pytest

from clickstream_dagster.warehouses.redshift.expiry import bring_back, expire
from tests.dbt.model_input import PROJECT
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
