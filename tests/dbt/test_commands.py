"""`clickstream model`, `clickstream docs` and dbt by hand: what they make, how they fail."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from typer.testing import CliRunner

from clickstream_dagster.cli import app
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.resources.dbt import Warehouse, dbt_project_dir
from clickstream_dagster.resources.lake_views import show_lake
from tests.dbt.model_input import PROJECT, event, write
from tests.views import REPORT_VIEWS, VIEWS


def clickstream(*arguments: object) -> tuple[int, str]:
    """Exit code and output of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a lake of one event and the warehouse that `clickstream model` built."""
    root = tmp_path_factory.mktemp("shop")
    write(root / "lake", [event("click", "2024-05-01 10:00", "e1")])
    code, output = clickstream("model", *options(root))
    assert code == 0, output
    return root


def options(root: Path) -> list[object]:
    lake, warehouse = root / "lake", root / "new" / "warehouse.duckdb"
    return ["--sink", lake, "--project-id", PROJECT, "--warehouse", warehouse]


@pytest.fixture
def by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of dbt run by hand in the project's directory, with everything set."""
    (tmp_path / "lake").mkdir()
    values = Warehouse(tmp_path / "lake", PROJECT, tmp_path / "w.duckdb").environment()
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    yield monkeypatch
    DuckDBConnectionManager.close_all_connections()


def test_model_makes_the_ten_views_and_reports_in_the_schema_of_the_project(shop: Path) -> None:
    with duckdb.connect(str(shop / "new" / "warehouse.duckdb")) as connection:
        views = connection.execute(
            f"select view_name from duckdb_views() where schema_name = '{PROJECT}'"
        ).fetchall()
    assert {view for (view,) in views} == {*VIEWS, *REPORT_VIEWS}


@pytest.mark.heavy
def test_model_goes_by_the_definitions_of_a_file(shop: Path, tmp_path: Path) -> None:
    file = tmp_path / "definitions.yaml"
    file.write_text("session_idle_minutes: 0")
    code, output = clickstream("model", *options(shop), "--definitions", file)
    assert (code, "session_idle_minutes 0: write a whole number" in output) == (1, True)
    file.write_text("time_zone: Asia/Tokyo")
    arguments = ["model", *options(shop), "--check-everything"]
    result = CliRunner().invoke(
        app, [str(one) for one in arguments], env={"CLICKSTREAM_DEFINITIONS": str(file)}
    )
    assert result.exit_code == 0, result.output
    with duckdb.connect(str(shop / "new" / "warehouse.duckdb")) as connection:
        hours = connection.execute(
            f"select session_date_hour from {PROJECT}.clickstream_session_view"
        ).fetchall()
    assert hours == [(datetime(2024, 5, 1, 19),)]


def test_docs_is_one_page_that_describes_every_view(shop: Path, tmp_path: Path) -> None:
    page = tmp_path / "site" / "models.html"
    code, output = clickstream("docs", *options(shop), "--out", page)
    assert code == 0, output
    text = page.read_text()
    assert all(view in text for view in VIEWS)
    assert "more than 10,000 ms or has more than 1 view" in text


def test_docs_without_a_warehouse_says_how_to_build_one(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    code, output = clickstream("docs", *options(tmp_path))
    assert code == 1
    assert "there is no warehouse" in output
    assert "clickstream model" in output


def test_a_lake_that_does_not_exist_is_named(tmp_path: Path) -> None:
    code, output = clickstream("model", *options(tmp_path))
    assert code == 1
    assert f"the lake {tmp_path / 'lake'} does not exist" in output
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("command", "option", "told"),
    [
        ("model", "--warehouse", "can't be made: "),
        ("docs", "--out", "it.duckdb can't be written: "),
    ],
)
def test_a_place_that_cant_be_written_is_named(
    shop: Path, tmp_path: Path, command: str, option: str, told: str
) -> None:
    (tmp_path / "file").touch()
    code, output = clickstream(
        command, *options(shop), option, tmp_path / "file" / "in" / "it.duckdb"
    )
    assert code == 1
    assert told in output
    assert f"name another {option}" in output


def test_a_warehouse_in_use_is_named_with_what_to_do(shop: Path) -> None:
    file = shop / "new" / "warehouse.duckdb"
    script = f"import duckdb; c = duckdb.connect({str(file)!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        code, output = clickstream("model", *options(shop))
        other.communicate(b"\n")
    assert code == 1
    assert f"the warehouse {file} is open in another process" in output
    assert "close that process" in output
    assert clickstream("model", *options(shop))[0] == 0


def test_a_warehouse_named_like_the_project_is_refused_before_it_is_made(
    shop: Path, by_hand: pytest.MonkeyPatch
) -> None:
    file = shop / f"{PROJECT.title()}.duckdb"
    code, output = clickstream("model", *options(shop)[:-1], str(file))
    assert code == 1
    assert f"Error: the warehouse {file} is named like a schema of the project {PROJECT}" in output
    by_hand.setenv("CLICKSTREAM_WAREHOUSE", str(file))
    result = dbtRunner().invoke(["run", "--quiet"])
    assert "named like a schema of the project" in str(result.exception)
    assert not file.exists()


@pytest.mark.parametrize(
    "name", ["CLICKSTREAM_LAKE", "CLICKSTREAM_PROJECT", "CLICKSTREAM_WAREHOUSE"]
)
def test_dbt_by_hand_names_the_variable_that_is_not_set(
    by_hand: pytest.MonkeyPatch, name: str
) -> None:
    by_hand.delenv(name)
    result = dbtRunner().invoke(["run", "--quiet"])
    assert not result.success
    assert f"the environment variable {name} is not set" in str(result.exception)


@pytest.mark.parametrize("target", ["duckdb", "athena", "redshift"])
def test_the_project_parses_for_every_engine_without_settings_or_warnings(
    by_hand: pytest.MonkeyPatch, target: str
) -> None:
    for name in [name for name in os.environ if name.startswith("CLICKSTREAM_")]:
        by_hand.delenv(name)
    result = dbtRunner().invoke(["--warn-error", "--quiet", "parse", "--target", target])
    assert result.success, result.exception


def test_every_column_of_every_model_is_described(shop: Path) -> None:
    with duckdb.connect(str(shop / "new" / "warehouse.duckdb")) as connection:
        columns = connection.execute(
            "select table_name, column_name from information_schema.columns"
            f" where table_schema = '{PROJECT}' and table_name not like 'clickstream_load_%'"
        ).fetchall()
    manifest = json.loads((shop / "new" / "dbt" / "target" / "manifest.json").read_text())
    described = {
        (node["name"], column["name"])
        for node in manifest["nodes"].values()
        for column in node["columns"].values()
        if column["description"]
    }
    assert set(columns) == described


def test_no_description_has_a_part_that_pages_take_for_a_tag(shop: Path) -> None:
    manifest = json.loads((shop / "new" / "dbt" / "target" / "manifest.json").read_text())
    texts = [
        (node["unique_id"], one["description"])
        for node in [*manifest["nodes"].values(), *manifest["sources"].values()]
        for one in [node, *node["columns"].values()]
    ]
    assert len(texts) > 100
    # Dagster and dbt docs show them as Markdown, where only code keeps its angle brackets.
    assert [text for text in texts if re.search(r"<\w", re.sub("`[^`]*`", "", text[1]))] == []


def test_files_from_before_a_column_was_added_are_read_without_it(tmp_path: Path) -> None:
    from pyiceberg.types import StringType

    sink = tmp_path / "lake"
    write(sink, [event("click", "2024-05-01 10:00", "e1")])
    with Lake(str(sink), PROJECT).table("ods_event").update_schema() as update:
        update.add_column("consent", StringType())
    write(sink, [event("click", "2024-05-02 10:00", "e2")])
    with duckdb.connect() as connection:
        show_lake(connection, str(sink), PROJECT)
        rows = connection.execute(
            f"select event_id, consent from {PROJECT}_lake.ods_event order by 1"
        ).fetchall()
    assert rows == [("e1", None), ("e2", None)]


def test_the_project_is_found_beside_the_package() -> None:
    assert (dbt_project_dir() / "dbt_project.yml").is_file()
