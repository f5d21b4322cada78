"""Views and reports on Redshift equal DuckDB's on the same input, whatever came before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.resources.dbt import WITHOUT_UNIT_TESTS, run_dbt
from clickstream_dagster.resources.dbt import Warehouse as Local
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
