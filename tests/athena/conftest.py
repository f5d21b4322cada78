"""The same events in a lake for Athena and in one for DuckDB, with the models of both."""

import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest

from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.resources.athena import AthenaWarehouse, run_dbt_on_athena
from clickstream_dagster.resources.dbt import ModelError, Warehouse, run_dbt
from clickstream_dagster.resources.definitions import Definitions
from clickstream_dagster.resources.funnels import funnels_of
from tests.athena.athena_edge import AthenaEdge, Killed, Statement
from tests.conftest import Bucket
from tests.dbt.model_input import arrow, traffic
from tests.views import DAILY_REPORTS, REPORT_VIEWS, VIEWS

QUICK = ("--quiet", "--log-level-file", "none", "--no-write-json")
FUNNELS = funnels_of(
    [
        {"name": "click", "by": "platform", "steps": ["_session_start", "_page_view", "click"]},
        {
            "name": "page",
            "window_minutes": 600,
            "steps": [
                {"event": "_page_view", "where": [{"parameter": "_page_title", "equals": "A"}]},
                {"event": "_page_view", "where": [{"parameter": "_page_title", "one_of": ["B"]}]},
            ],
        },
    ]
)
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts a Trino is heavy."""
    for item in items:
        if HERE in item.path.parents and "edge" in item.fixturenames:
            item.add_marker(pytest.mark.heavy)


class TwoLakes:
    """A lake on S3 with Glue and one in a directory that get the same events."""

    def __init__(
        self, bucket: Bucket, edge: AthenaEdge, root: Path, definitions: Definitions
    ) -> None:
        self.edge = edge
        self.glue = boto3.client("glue")
        self.project = f"shop_{uuid.uuid4().hex[:8]}"
        local = root / self.project / "lake"
        local.mkdir(parents=True)
        self.on_s3 = Lake(bucket.address("lake"), self.project)
        self.local = Lake(str(local), self.project)
        self.athena = AthenaWarehouse(
            self.project, bucket.address("models"), root / "athena", definitions=definitions
        )
        self.duckdb = Warehouse(
            local,
            self.project,
            root / self.project / "warehouse.duckdb",
            definitions=definitions,
        )

    def write(self, events: Iterable[dict[str, Any]]) -> None:
        """Append events in one snapshot."""
        rows = arrow(events)
        for lake in (self.on_s3, self.local):
            lake.table("ods_event").append(rows)

    def drop(self, batch: str) -> None:
        """Take the rows of a batch out: files that others share are written again."""
        for lake in (self.on_s3, self.local):
            lake.table("ods_event").delete(f"ingest_batch == '{batch}'")

    def run_athena(self, *arguments: str) -> list[Statement]:
        """`dbt run` on Athena; gives the statements that it ran."""
        before = len(self.edge.ran)
        run_dbt_on_athena([*(arguments or ["run"]), *QUICK], self.athena)
        return self.edge.ran[before:]

    def run_killed(self, counts: Callable[[str], bool], survive: int) -> bool:
        """`dbt run` of the base models that dies before the statement after `survive` counted ones.

        Tells whether it died; else it came to its end.
        """
        seen = 0

        def kill(text: str) -> None:
            nonlocal seen
            if seen >= survive:
                seen += 1
                raise Killed
            seen += counts(text)

        self.edge.before = kill
        try:
            self.run_athena("run", "--select", "tag:base", "--threads", "1", "--fail-fast")
        except ModelError:
            if seen <= survive:
                raise
        finally:
            self.edge.before = lambda _: None
        return seen > survive

    def run_duckdb(self) -> None:
        """`dbt run` on DuckDB."""
        run_dbt(["run", *QUICK], self.duckdb)

    def query(self, sql: str, parameters: list[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query on Athena, sorted."""
        statement = self.edge.run(sql, self.project, parameters)
        assert statement.error is None, statement.error
        return sorted((tuple(row) for row in statement.rows), key=repr)

    def query_duckdb(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query on DuckDB, sorted."""
        with duckdb.connect(str(self.duckdb.file)) as connection:
            connection.execute(f"set schema = '{self.project}'")
            return sorted(connection.execute(sql).fetchall(), key=repr)

    def must_be_equal(self) -> None:
        """Assert that views and reports have equal rows on both engines, and that they have rows.

        Numbers of loads are each engine's own.
        """
        for name in (*VIEWS, *REPORT_VIEWS, *DAILY_REPORTS):
            columns = [
                row[0] for row in self.query_duckdb(f"select column_name from (describe {name})")
            ]
            sql = f"select {', '.join(sorted({*columns} - {'load_id'}))} from {name}"
            expected = self.query_duckdb(sql)
            assert expected, name
            assert self.query(sql) == expected, name


@pytest.fixture(scope="session")
def new_lakes(
    make_bucket: Callable[[], Bucket], edge: AthenaEdge, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], TwoLakes]:
    """Make two empty lakes whose models are not built yet, for days in a time zone."""
    root = tmp_path_factory.mktemp("lakes")
    return lambda zone: TwoLakes(
        make_bucket(), edge, root, Definitions(time_zone=zone, funnels=FUNNELS)
    )


@pytest.fixture(scope="session")
def lakes(new_lakes: Callable[[str], TwoLakes]) -> TwoLakes:
    """Two lakes with two loads each, over the end of a year.

    Tests that change them are in test_views_equal.py, the last of their folder.
    """
    lakes = new_lakes("UTC")
    for number in (1, 4):
        lakes.write(traffic(number))
        lakes.run_athena()
    lakes.run_duckdb()
    return lakes
