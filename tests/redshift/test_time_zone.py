"""Days of the reporting time zone on Redshift are DuckDB's, and those that the clocks show."""

from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from clickstream_dagster.resources.dbt import Warehouse as Local
from clickstream_dagster.resources.dbt import dbt_vars, run_dbt
from clickstream_dagster.resources.definitions import Definitions
from tests.dbt.model_input import PROJECT, event, write
from tests.redshift.conftest import Warehouse
from tests.redshift.traffic import traffic

pytestmark = pytest.mark.heavy

NEW_YORK = Definitions(time_zone="America/New_York")
VIEWS = (
    "clickstream_session_view",
    "clickstream_lifecycle_daily_view",
    "clickstream_device_usage",
    "clickstream_device_view",
)
MODELS = ("run", "--select", *(f"+{view}" for view in VIEWS))
STARTS = {
    # The last minute of a day of 23 hours, and the first one behind it.
    "spring": ("2024-03-11 03:59", datetime(2024, 3, 10), datetime(2024, 3, 10, 23)),
    "after spring": ("2024-03-11 04:00", datetime(2024, 3, 11), datetime(2024, 3, 11)),
    # The same of a day of 25 hours.
    "autumn": ("2024-11-04 04:59", datetime(2024, 11, 3), datetime(2024, 11, 3, 23)),
    "after autumn": ("2024-11-04 05:00", datetime(2024, 11, 4), datetime(2024, 11, 4)),
}
"""Session, its time in UTC, its day and hour in New York."""


def test_days_are_those_of_the_time_zone(warehouse: Warehouse, tmp_path: Path) -> None:
    changes = [
        event("_session_start", utc, f"{session}-start", user=f"user of {session}", session=session)
        for session, (utc, _, _) in STARTS.items()
    ]
    batches = [traffic(1), [*traffic(2), *changes]]

    (tmp_path / "lake").mkdir()
    local = Local(tmp_path / "lake", PROJECT, tmp_path / "warehouse.duckdb", definitions=NEW_YORK)
    for batch in batches:
        write(tmp_path / "lake", batch)
        warehouse.write(batch)
        warehouse.load()
        warehouse.dbt(*MODELS, *dbt_vars(NEW_YORK))
    run_dbt([*MODELS, "--quiet"], local)

    with duckdb.connect(str(local.file)) as connection:
        for view in VIEWS:
            wanted = connection.execute(f"select * from {PROJECT}.{view} order by all").fetchall()
            assert wanted
            assert warehouse.rows(view) == wanted, view
    found = warehouse.rows(VIEWS[0], "session_id, session_date, session_date_hour")
    assert [row for row in found if row[0] in STARTS] == sorted(
        (session, day, hour) for session, (_, day, hour) in STARTS.items()
    )
    new = warehouse.engine.query(
        f"select time_period, sum from {PROJECT}.{VIEWS[1]} where app_id = 'shop'"
        " and this_day_value like '%NEW' order by all"
    )
    assert new == [(day.date(), 1) for _, day, _ in STARTS.values()]
