"""What a commit names is on the disk before it: a loss of power leaves no table without files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.engine import Engine

from clickstream_dagster.durable_files import make_folders
from clickstream_dagster.processing.lake import Lake, files_of
from tests.processing.conftest import Pipeline
from tests.processing.records_input import event, plain, record

Identity = tuple[int, int]


def identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


@contextmanager
def synced(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[Identity]]:
    """Give what is forced to the disk within the block, growing."""
    found: set[Identity] = set()
    sync = os.fsync

    def noting(handle: int) -> None:
        sync(handle)
        found.add(identity(os.fstat(handle)))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", noting)
        yield found


@pytest.mark.parametrize("table", ["ods_event", "bad_event"])
def test_files_and_their_folders_are_synced_before_the_catalog_knows_them(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    at_commit: list[frozenset[Identity]] = []
    with synced(monkeypatch) as found:

        def commits(connection: object) -> None:
            at_commit.append(frozenset(found))

        sqlalchemy_event.listen(Engine, "commit", commits)
        try:
            pipeline.process("b1", [record(plain(event("e1"))), record("no json", rid="r2")])
        finally:
            sqlalchemy_event.remove(Engine, "commit", commits)
    needed = needed_by(pipeline.lake, table)
    assert any(path.suffix == ".parquet" for path in needed)
    missing = [path for path in needed if identity(path.stat()) not in at_commit[-1]]
    assert not missing


def needed_by(lake: Lake, name: str) -> set[Path]:
    """Give the files that the current state of a table needs, and all folders up to the lake."""
    table = lake.table(name)
    files = files_of(table, [table.current_snapshot()])
    paths = {
        Path(path)
        for path in (
            *files.data,
            *files.metadata,
            table.metadata_location.removeprefix("file://"),
        )
    }
    root = Path(lake.root)
    return paths | {
        folder for path in paths for folder in path.parents if folder.is_relative_to(root)
    }


def test_each_new_folder_is_made_known_in_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with synced(monkeypatch) as found:
        make_folders(tmp_path / "a" / "b" / "c")
        make_folders(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert found == {
        identity(path.stat()) for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")
    }
