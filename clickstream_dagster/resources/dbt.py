"""Runs dbt in this process: the models of a project, and their documentation.

dbt reads the lake, the project and the warehouse from the environment (see profiles.yml); these
functions set it for the length of a run. What dbt writes beside the warehouse goes to `dbt/` in the
warehouse's directory, since an installed package can't be written to.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.errors import ClickstreamError
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.resources.definitions import Definitions
from clickstream_dagster.resources.warehouse_name import require_own_name

WITHOUT_UNIT_TESTS = ("--exclude-resource-type", "unit_test")
"""Arguments of a build: unit tests try the SQL on rows of their own, which no load changes."""


class ModelError(ClickstreamError):
    """A run of dbt that can't start, or that did not pass."""


class Models(Protocol):
    """A project's models in one warehouse: what dbt is told about them."""

    @property
    def project_id(self) -> str:
        """The project, and the schema of its models."""

    @property
    def definitions(self) -> Definitions:
        """What the models go by."""

    def environment(self) -> dict[str, str]:
        """The environment that dbt needs."""


@dataclass(frozen=True, slots=True)
class Warehouse:
    """Where models come from and go to: a lake, a project in it, a DuckDB file.

    `s3` is how a lake on S3 is reached; `definitions` are what the models go by. Tests
    look at the days of the last load, with `check_everything` at the whole history.
    """

    sink: Path | str
    project_id: str
    file: Path
    s3: S3Access = field(default_factory=S3Access)
    definitions: Definitions = field(default_factory=Definitions)
    check_everything: bool = False

    @property
    def lake(self) -> Lake:
        """The lake; it may not be there."""
        return Lake(str(self.sink), self.project_id, self.s3)

    @property
    def scratch(self) -> Path:
        """Directory of dbt's target and logs."""
        return self.file.absolute().parent / "dbt"

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Give the rows of a query. Raises ModelError, such as while another process writes."""
        import duckdb

        try:
            with duckdb.connect(str(self.file), read_only=True) as connection:
                return connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise ModelError(f"{self.file} can't be queried: {error}") from error

    def environment(self) -> dict[str, str]:
        """The environment that a run of dbt on this warehouse needs."""
        return {
            "CLICKSTREAM_LAKE": self.lake.root,
            "CLICKSTREAM_S3": json.dumps(asdict(self.s3)),
            "CLICKSTREAM_PROJECT": self.project_id,
            "CLICKSTREAM_WAREHOUSE": str(self.file.absolute()),
            **dbt_settings(self.scratch),
        }


def dbt_vars(definitions: Definitions, *, check_everything: bool = False) -> list[str]:
    """Give the arguments that tell dbt the definitions, and how much its tests look at.

    Other ones than before make it parse all files again.
    """
    values = definitions.vars()
    if check_everything:
        values["test_everything"] = True
    return ["--vars", json.dumps(values, sort_keys=True)]


def dbt_settings(scratch: Path) -> dict[str, str]:
    """Give the environment of dbt itself; what it writes goes to `scratch`."""
    return {
        "DBT_PROJECT_DIR": str(dbt_project_dir()),
        "DBT_PROFILES_DIR": str(dbt_project_dir()),
        "DBT_TARGET_PATH": str(scratch / "target"),
        "DBT_LOG_PATH": str(scratch / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }


def dbt_project_dir() -> Path:
    """Give the dbt project: of the repository, else the one that the wheel carries."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / "dbt_project", package / "_dbt_project"):
        if (folder / "dbt_project.yml").is_file():
            return folder
    raise ModelError(f"no dbt project beside or inside {package}: install the package again")


def models_of_apps() -> list[str]:
    """Give the views and reports that have an app in each row, as the dbt project tells."""
    import yaml

    found = []
    for folder in ("views", "reports"):
        for file in (dbt_project_dir() / "models" / folder).rglob("*.yml"):
            for model in (yaml.safe_load(file.read_text()) or {}).get("models", ()):
                if "app_id" in {column["name"] for column in model.get("columns", ())}:
                    found.append(model["name"])
    return sorted(found)


def build_models(warehouse: Warehouse, *, full_refresh: bool = False) -> None:
    """Build and test the models. Raises ModelError when a model or a test fails.

    A lake that holds nothing of the project is a mistake here, not an empty result.
    """
    lake = warehouse.lake
    if lake.has_place() and not lake.has("ods_event"):
        raise ModelError(
            f"the lake {lake.root} holds no events of a project {warehouse.project_id}: check"
            " --sink and --project-id, or run `clickstream process` first"
        )
    run_dbt(
        ["build", *WITHOUT_UNIT_TESTS, *(["--full-refresh"] if full_refresh else [])],
        warehouse,
    )


def build_docs(warehouse: Warehouse, page: Path) -> None:
    """Write the documentation of the models, with the columns the warehouse has, as one page."""
    if not warehouse.file.is_file():
        raise ModelError(
            f"there is no warehouse {warehouse.file.absolute()}: build it with `clickstream model`"
            " (or `make demo`), or name another with --warehouse"
        )
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        run_dbt(["docs", "generate", "--static"], warehouse)
        shutil.copyfile(warehouse.scratch / "target" / "static_index.html", page)
    except OSError as error:
        raise ModelError(f"{page} can't be written: {error}; name another --out") from error


def run_dbt(arguments: Sequence[str], warehouse: Warehouse) -> None:
    """Run one dbt command on a warehouse.

    Raises ModelError when it does not pass, SettingError for a file that can't be its warehouse.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    if not warehouse.lake.has_place():
        raise ModelError(
            f"the lake {warehouse.lake.root} does not exist: --sink names the directory that"
            " `clickstream process --sink` has written to"
        )
    require_own_name(warehouse.project_id, warehouse.file)
    folder = warehouse.file.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"the warehouse's directory {folder} can't be made: {error}; name another --warehouse"
        ) from error
    try:
        invoke_dbt(
            [
                *arguments,
                *dbt_vars(warehouse.definitions, check_everything=warehouse.check_everything),
            ],
            "duckdb",
            warehouse.environment(),
            str(warehouse.file),
        )
    finally:
        # dbt-duckdb keeps the file open, and so locked, until the process ends.
        DuckDBConnectionManager.close_all_connections()


def invoke_dbt(
    arguments: Sequence[str], target: str, environment: Mapping[str, str], place: str
) -> None:
    """Run one dbt command on a target; `place` is where its warehouse is, for the message.

    Raises ModelError when it does not pass.
    """
    from dbt.cli.main import dbtRunner

    with dbt_environment(environment):
        result = dbtRunner().invoke([*arguments, "--target", target])
    if result.exception is not None:
        raise ModelError(str(result.exception).strip()) from result.exception
    if not result.success:
        failed = [
            f"{one.node.name}: {(one.message or one.status).strip()}"
            for one in result.result or ()
            if one.status in ("error", "fail", "runtime error")
        ]
        raise ModelError(
            f"dbt {arguments[0]} did not pass on {place}; {len(failed)} failed:\n  "
            + "\n  ".join(failed)
        )


@contextmanager
def dbt_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the length of a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
