"""Views and reports on Redshift equal DuckDB's on the same input, whatever came before."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.resources.dbt import WITHOUT_UNIT_TESTS, run_dbt
from clickstream_dagster.resources.dbt import Warehouse as Local
from clickstream_dagster.warehouses.redshift.expiry import expire
from tests.dbt.model_input import PROJECT, arrow
from tests.redshift.conftest import Warehouse
from tests.redshift.traffic import traffic
from tests.views import DAILY_REPORTS, REPORT_VIEWS, VIEWS

pytestmark = pytest.mark.heavy

COMPARED = {
    **dict.fromkeys((*VIEWS, *REPORT_VIEWS), "*"),
    **dict.fromkeys(DAILY_REPORTS, "* exclude (load_id)"),
}
"""Relations, and what of them."""

EMPTY = {"clickstream_funnels", "clickstream_funnel_daily"}  # the project declares none


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Give the ten views that DuckDB makes from nothing of the given batches."""

    def views(*batches: list[dict[str, Any]]) -> dict[str, Any]:
        root = tmp_path_factory.mktemp("duckdb")
        (root / "lake").mkdir()
        table = Lake(str(root / "lake"), PROJECT).table("ods_event")
        for batch in batches:
            table.append(arrow(batch))
        file = Path(root, "warehouse.duckdb")
        run_dbt(["run", "--quiet"], Local(root / "lake", PROJECT, file))
        with duckdb.connect(str(file)) as connection:
            return {
                relation: connection.execute(
                    f"select {columns} from {PROJECT}.{relation} order by all"
                ).fetchall()
                for relation, columns in COMPARED.items()
            }

    return views


def same(warehouse: Warehouse, wanted: dict[str, Any]) -> None:
    found = {name: warehouse.rows(name, columns) for name, columns in COMPARED.items()}
    assert {name: rows for name, rows in found.items() if rows != wanted[name]} == {}
    assert {name for name, rows in found.items() if not rows} <= EMPTY


def test_views_follow_loads_as_on_duckdb(
    warehouse: Warehouse, expected: Callable[..., dict[str, Any]]
) -> None:
    warehouse.write(traffic(1))
    warehouse.load()
    warehouse.dbt("build", *WITHOUT_UNIT_TESTS)
    same(warehouse, expected(traffic(1)))

    warehouse.write(traffic(2))
    warehouse.load()
    warehouse.dbt("run", "--select", "tag:base")
    both = expected(traffic(1), traffic(2))
    same(warehouse, both)

    # Nothing new, and a load that failed on the way.
    assert warehouse.load() == []
    warehouse.dbt("run", "--select", "tag:base")
    same(warehouse, both)

    # A batch that was processed again, with other events.
    warehouse.drop("b1")
    again = traffic(1)[:20] + traffic(1, seed=8)[20:]
    warehouse.write(again)
    warehouse.load()
    warehouse.dbt("run", "--select", "tag:base")
    same(warehouse, expected(again, traffic(2)))

    warehouse.dbt("run", "--full-refresh")
    same(warehouse, expected(again, traffic(2)))


OF_EVENTS = {
    "clickstream_activity_events": "event_date",
    "clickstream_ods_event_view": "event_date",
    "clickstream_path_view": "event_date",
    "clickstream_path_transition_daily": "report_date",
}
"""Relations that have a row for each event, or tell which event came next, and their day."""


def session_of(row: dict[str, Any]) -> object:
    """The session id that an event was sent with."""
    return {one["key"]: one["value"].get("string_value") for one in row["event_params"]}.get(
        "_session_id"
    )


def test_sessions_users_and_days_outlive_their_events(
    warehouse: Warehouse, expected: Callable[..., dict[str, Any]]
) -> None:
    first = date(2025, 1, 1)
    history = [traffic(batch) for batch in range(1, 6)]
    for batch in history:
        warehouse.write(batch)
        warehouse.load()
    warehouse.dbt("run", "--select", "tag:base", "tag:view", "tag:report")
    expire(warehouse.sql, PROJECT, 4, date(2025, 1, 5), dry_run=False)
    kept = warehouse.rows("clickstream_event_base", "session_key, event_date")
    assert {row[1] for row in kept if row[0] != "long"} >= {date(2024, 12, 31)}
    older = {row[0] for row in kept if row[1] < date(2024, 12, 30)}
    assert "long" in older
    assert "s0" not in older
    assert warehouse.rows("clickstream_path_base", "session_key, event_date") == kept

    # Events of the first kept day among them. No session goes on after days of silence.
    late = [
        {**row, "event_id": f"late-{row['event_id']}", "ingest_batch": "b7"}
        for row in traffic(5, seed=9)
        if row["event_date"] >= first
    ]
    for events in (late, traffic(6)):
        batch = [row for row in events if session_of(row) != "long"]
        history.append(batch)
        warehouse.write(batch)
        warehouse.load()
    everything = ("--vars", "{test_everything: true}")
    warehouse.dbt("run", *everything)
    warehouse.dbt("test", "--select", "test_type:singular", *everything)

    wanted = expected(*history)
    for name, columns in COMPARED.items():
        if name == "clickstream_ods_event_attr_view":
            continue
        found = warehouse.rows(name, columns)
        day = OF_EVENTS.get(name)
        if day is not None:
            place = warehouse.engine.query(f"describe {PROJECT}.{name}")
            nth = [column[0] for column in place if column[0] != "load_id"].index(day)
            found = [row for row in found if row[nth] >= first]
            wanted[name] = [row for row in wanted[name] if row[nth] >= first]
        assert found == wanted[name], name
