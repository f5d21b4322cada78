"""The ten views on Redshift equal DuckDB's on the same input, whatever came before."""

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
from tests.views import VIEWS

pytestmark = pytest.mark.heavy


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
                view: connection.execute(f"from {PROJECT}.{view} order by all").fetchall()
                for view in VIEWS
            }

    return views


def same(warehouse: Warehouse, wanted: dict[str, Any]) -> None:
    found = warehouse.views()
    for view in VIEWS:
        assert found[view] == wanted[view], view
        assert found[view], view


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
