"""A scaffolded plug-in passes its own tests and runs in a batch."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clickstream_dagster.cli import app
from clickstream_dagster.processing.plugins import PluginChoice
from tests.processing.conftest import Pipeline
from tests.processing.records_input import event, plain, record

PAGE = {"_page_url": "https://shop.example/sale/shoes"}


def new(name: str, kind: str, out: Path) -> Path:
    done = CliRunner().invoke(app, ["plugin", "new", name, "--kind", kind, "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out / name


@pytest.mark.parametrize(
    ("kind", "name"), [("enrichment", "page_area"), ("transformer", "kiosk_sdk")]
)
def test_the_tests_of_a_new_plugin_pass_and_it_is_well_kept(
    tmp_path: Path, kind: str, name: str
) -> None:
    folder = new(name, kind, tmp_path)
    for command in (
        ["pytest", "-q", str(folder)],
        ["ruff", "check", "--isolated", "--select", "E,F,I,UP,B", "--line-length", "100", folder],
        ["ruff", "format", "--check", str(folder)],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_enrichment_runs_in_a_batch_with_its_config(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(new("page_part", "enrichment", tmp_path / "a"))
    importlib.invalidate_caches()
    chosen = PluginChoice("page_part:PagePart", {"parameter": "area"})
    pipeline.process("b1", [record(plain(event("e1", attributes=PAGE)))], enrichments=(chosen,))
    (row,) = pipeline.rows("ods_event")
    assert {"key": "area", "text": "sale"} in [
        {"key": one["key"], "text": one["value"]["string_value"]} for one in row["event_params"]
    ]


def test_a_new_transformer_accounts_for_every_record_of_a_batch(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(new("till_sdk", "transformer", tmp_path / "a"))
    importlib.invalidate_caches()
    seen = {"id": "1", "name": "page", "at": 1_767_225_600_000, "visitor": "v", "site": "shop"}
    records = [
        record(plain(seen, {**seen, "id": "2", "properties": {"a": 1}}), rid="r1"),
        record(plain({**seen, "id": None}, "text"), rid="r2"),
        record("no body", rid="r3"),
        record("[", rid="r4"),
        record("[]", rid="r5"),
        record(plain({**seen, "id": "3", "at": -5}), rid="r6"),
    ]
    counters = pipeline.process("b1", records, transformer="till_sdk:TillSdk")
    assert counters.imbalance() is None
    assert (counters.written, counters.bad) == (2, 5)
    assert {row["reason"] for row in pipeline.rows("bad_event")} >= {
        "missing_event_id",
        "timestamp_out_of_range",
    }
    assert all(row["payload"] and row["envelope"] for row in pipeline.rows("bad_event"))
    assert [row["event_name"] for row in pipeline.rows("ods_event")] == ["_page_view"] * 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Page", "write a lower-case letter"),
        ("class", "can't be a Python module"),
        ("ua", "there is a plug-in ua"),
        ("json", "there is a Python module json already"),
    ],
)
def test_a_name_that_can_not_be_is_refused(tmp_path: Path, name: str, message: str) -> None:
    done = CliRunner().invoke(app, ["plugin", "new", name, "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert message in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine_own").mkdir()
    done = CliRunner().invoke(app, ["plugin", "new", "mine_own", "--out", str(tmp_path)])
    assert "exists already" in done.output
    assert list((tmp_path / "mine_own").iterdir()) == []


def test_the_installed_plugins_are_listed_with_their_keys() -> None:
    done = CliRunner().invoke(app, ["plugin", "list"])
    assert done.exit_code == 0
    for text in ("transformer  sdk:", "enrichment   traffic_source:", "internal_domains:"):
        assert text in done.output


def test_the_help_of_process_names_the_default_enrichments() -> None:
    from clickstream_dagster.processing.plugins import DEFAULT_ENRICHMENTS

    done = CliRunner().invoke(app, ["process", "--help"], env={"COLUMNS": "400"})
    assert f"Default: {', '.join(DEFAULT_ENRICHMENTS)}." in done.output
