"""The dbt manifest is parsed when it is missing or its project has changed, and else only read."""

import shutil
from pathlib import Path

import pytest

from clickstream_dagster.assets import manifest
from clickstream_dagster.assets.manifest import ManifestError, prepared_manifest, run_directory
from clickstream_dagster.resources.dbt import Warehouse, dbt_project_dir


@pytest.fixture
def dbt_copy(tmp_path, monkeypatch):
    """A copy of the dbt project that a test may change, and its manifest's directory."""
    copy = tmp_path / "dbt_project"
    shutil.copytree(
        dbt_project_dir(), copy, ignore=shutil.ignore_patterns("target", "logs", ".user.yml")
    )
    for module in ("clickstream_dagster.assets.manifest", "clickstream_dagster.resources.dbt"):
        monkeypatch.setattr(f"{module}.dbt_project_dir", lambda: copy)
    return copy, tmp_path / "state"


def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", "shop", tmp_path / "warehouse.duckdb")


@pytest.mark.heavy
def test_it_is_parsed_once_and_again_after_a_change(dbt_copy, tmp_path, monkeypatch):
    copy, state = dbt_copy
    path = prepared_manifest(warehouse(tmp_path), state)
    first = path.stat().st_mtime_ns
    assert '"schema": "shop"' in path.read_text()

    with monkeypatch.context() as nothing_to_parse:
        nothing_to_parse.setattr(manifest, "_parse", lambda *_: pytest.fail("parsed again"))
        (copy / "target").mkdir()
        (copy / "target" / "run_results.json").write_text("{}")
        assert prepared_manifest(warehouse(tmp_path), state) == path

    view = copy / "models" / "views" / "clickstream_session_view.sql"
    view.write_text(view.read_text() + "\n-- changed\n")
    prepared_manifest(warehouse(tmp_path), state)
    assert path.stat().st_mtime_ns > first


def test_a_project_that_cannot_be_parsed_is_told_and_the_manifest_stays(dbt_copy, tmp_path):
    copy, state = dbt_copy
    (copy / "models" / "broken.sql").write_text("select {{ nothing")
    with pytest.raises(ManifestError, match="dbt can't parse"):
        prepared_manifest(warehouse(tmp_path), state)
    assert list(state.iterdir()) == []


def test_the_directories_of_the_last_runs_are_kept(tmp_path):
    (tmp_path / manifest.PARTIAL_PARSE).write_bytes(b"parsed")
    made = [run_directory(tmp_path, f"{number:08d}-run") for number in range(15)]
    assert (made[-1] / manifest.PARTIAL_PARSE).read_bytes() == b"parsed"
    assert len(list((tmp_path / "runs").iterdir())) == manifest.RUNS_KEPT
