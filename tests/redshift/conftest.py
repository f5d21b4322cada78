"""A project's lake on S3 beside a double of Redshift: engine.py, wire.py, data_api.py."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.resources.dbt import dbt_environment, dbt_project_dir
from clickstream_dagster.warehouses.redshift.data_api import DataApi, Workgroup
from clickstream_dagster.warehouses.redshift.loading import CopySettings, Load, load
from clickstream_dagster.warehouses.redshift.tables import set_up
from tests.dbt.model_input import PROJECT, arrow
from tests.redshift import data_api, wire
from tests.redshift.engine import Engine


@dataclass
class Warehouse:
    """A Redshift database with the project's tables, and its lake."""

    lake: Lake
    engine: Engine
    api: data_api.DataApiDouble
    sql: DataApi
    copy: CopySettings
    port: int
    scratch: Path

    def write(self, events: Iterable[dict[str, Any]]) -> None:
        """Append events to the lake in one snapshot."""
        self.lake.table("ods_event").append(arrow(events))

    def drop(self, batch: str) -> None:
        """Take a batch out of the lake."""
        self.lake.table("ods_event").delete(f"ingest_batch == '{batch}'")

    def load(self) -> list[Load]:
        """Bring the warehouse up to the lake."""
        return load(self.sql, self.lake, self.copy).loads

    def events(self, columns: str = "event_id") -> list[tuple[Any, ...]]:
        """Some columns of the events."""
        return self.rows("ods_event", columns)

    def rows(self, relation: str, columns: str = "*") -> list[tuple[Any, ...]]:
        """Some columns of a relation, sorted."""
        return self.engine.query(f"select {columns} from {PROJECT}.{relation} order by all")

    def dbt(self, *arguments: str) -> None:
        """Run dbt with the adapter of Redshift on the server's port."""
        from dbt.cli.main import dbtRunner

        settings = {
            "CLICKSTREAM_PROJECT": PROJECT,
            "CLICKSTREAM_REDSHIFT_HOST": "127.0.0.1",
            "CLICKSTREAM_REDSHIFT_PORT": str(self.port),
            "CLICKSTREAM_REDSHIFT_DATABASE": self.engine.database,
            "CLICKSTREAM_REDSHIFT_USER": "dbt",
            "CLICKSTREAM_REDSHIFT_SSLMODE": "disable",
            "DBT_ENV_SECRET_REDSHIFT_PASSWORD": "secret",
            "DBT_PROJECT_DIR": str(dbt_project_dir()),
            "DBT_PROFILES_DIR": str(dbt_project_dir()),
            "DBT_TARGET_PATH": str(self.scratch / "target"),
            "DBT_LOG_PATH": str(self.scratch / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        with dbt_environment(settings):
            result = dbtRunner().invoke(
                [*arguments, "--target", "redshift", "--quiet", "--log-level-file", "none"]
            )
        assert result.exception is None, result.exception
        failed = [
            f"{one.node.name}: {one.message}"
            for one in result.result or ()
            if one.status not in ("success", "pass", "no-op")
        ]
        assert not failed, "\n".join(failed)


@pytest.fixture(scope="session")
def new_warehouse(
    make_bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Warehouse]]:
    """Make an empty lake, and a database with the tables of the project."""
    with ExitStack() as opened:
        scratch = tmp_path_factory.mktemp("redshift")

        def make() -> Warehouse:
            _forget_tables()
            bucket = make_bucket()
            engine = Engine("analytics")  # DuckDB takes no schema of the same name
            double = data_api.DataApiDouble(engine)
            address = opened.enter_context(data_api.serving(double))
            port = opened.enter_context(wire.serving(engine))
            sql = DataApi(
                Workgroup("team"), engine.database, endpoint_url=address, sleep=lambda seconds: None
            )
            set_up(sql, PROJECT)
            return Warehouse(
                Lake(bucket.address("lake"), PROJECT),
                engine,
                double,
                sql,
                CopySettings(bucket.address("manifests")),
                port,
                scratch,
            )

        yield make


def _forget_tables() -> None:
    """An account has one Glue catalog: a new lake with the same project begins with none."""
    import boto3

    glue = boto3.client("glue")
    for database in glue.get_databases()["DatabaseList"]:
        if database["Name"] == PROJECT:
            for table in glue.get_tables(DatabaseName=PROJECT)["TableList"]:
                glue.delete_table(DatabaseName=PROJECT, Name=table["Name"])


@pytest.fixture
def warehouse(new_warehouse: Callable[[], Warehouse]) -> Warehouse:
    return new_warehouse()
