"""A warehouse for the tests of the models, built by dbt in this process."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from clickstream_dagster.resources.dbt import Warehouse, run_dbt
from clickstream_dagster.resources.definitions import Definitions
from tests.dbt.model_input import PROJECT, write
from tests.views import DAILY_REPORTS, REPORT_VIEWS, VIEWS

QUICK = ("--quiet", "--log-level-file", "none", "--no-write-json")


class Models:
    """The models of one lake: run them, read them.

    dbt parses the project anew when the path of the warehouse is another one, so the file of each
    lake is moved to one place, `slot`, for the length of a run.
    """

    def __init__(self, root: Path, slot: Path) -> None:
        self.sink = root / "lake"
        self.sink.mkdir(parents=True, exist_ok=True)
        self.file = root / slot.name
        self.slot = slot
        self.definitions = Definitions()
        self.check_everything = False

    def run(self, *arguments: str) -> None:
        """`dbt run`: the models without their tests."""
        self.dbt("run", *arguments)

    def follow(self, *models: str) -> None:
        """`dbt run` of base models, all of them if none is named: views need be made but once."""
        self.dbt("run", "--select", *(models or ["tag:base"]))

    def dbt(self, *arguments: str) -> None:
        """Run any command of dbt."""
        if self.file.exists():
            self.file.rename(self.slot)
        warehouse = Warehouse(
            self.sink,
            PROJECT,
            self.slot,
            definitions=self.definitions,
            check_everything=self.check_everything,
        )
        try:
            run_dbt([*arguments, *QUICK], warehouse)
        finally:
            if self.slot.exists():
                self.slot.rename(self.file)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query; tables are found in the project's schema."""
        with duckdb.connect(str(self.file)) as connection:
            connection.execute(f"set schema = '{PROJECT}'")
            return connection.execute(sql).fetchall()

    def rows(self, view: str, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        """Some columns of a view, sorted."""
        return self.query(f"select {columns} from {view} where {where} order by all")

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of the views and reports, sorted."""
        return {
            **{view: self.rows(view, "*") for view in (*VIEWS, *REPORT_VIEWS)},
            **{table: self.rows(table, "* exclude (load_id)") for table in DAILY_REPORTS},
        }


@pytest.fixture(scope="session")
def slot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where dbt finds the warehouse, and keeps what it has parsed, for the whole session."""
    return tmp_path_factory.mktemp("slot") / "warehouse.duckdb"


@pytest.fixture(scope="session")
def new_models(tmp_path_factory: pytest.TempPathFactory, slot: Path) -> Callable[[], Models]:
    """Make an empty lake with a warehouse that is not built yet."""
    return lambda: Models(tmp_path_factory.mktemp("models"), slot)


@pytest.fixture(scope="session")
def build(new_models: Callable[[], Models]) -> Callable[..., Models]:
    """Build the models of a lake with the given events, each argument in one snapshot."""

    def build(*batches: Iterable[dict[str, Any]]) -> Models:
        models = new_models()
        for batch in batches:
            write(models.sink, batch)
        models.run()
        return models

    return build
