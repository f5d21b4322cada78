"""Maintenance changes files, never rows: whatever batches do before, meanwhile and afterwards."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clickstream_dagster.processing import maintenance
from clickstream_dagster.processing.compaction import ORDER
from clickstream_dagster.processing.lake import TABLES, Lake, LakeFile
from clickstream_dagster.processing.maintenance import MaintenanceSettings, maintain
from tests.processing.conftest import Pipeline
from tests.processing.records_input import NOW_MS, event, plain, record

HOUR = 3_600_000
DAY = 24 * HOUR


def batch(number: int, *, events: int = 6, first: int = 0) -> list[dict]:
    """Give the requests of a batch: events of two days, one broken body, one bad event."""
    made = [
        event(
            f"e{number}-{n}",
            timestamp=NOW_MS - DAY * (n % 2) + n * 1_000,
            unique_id=f"u{(n * 7 + number) % 5}",
            attributes={"n": n, "name": "x" * n},
        )
        for n in range(first, events)
    ]
    return [
        record(plain(*made), rid=f"r{number}", ingest_time=NOW_MS + number * 60_000 + HOUR),
        record("broken", rid=f"broken{number}", ingest_time=NOW_MS + number * 60_000 + HOUR),
        record(plain(event(None)), rid=f"bad{number}", ingest_time=NOW_MS + HOUR),
    ]


def rows(lake: Lake) -> dict[str, list[str]]:
    """Give the rows of both tables, in an order of their own."""
    return {
        name: sorted(
            json.dumps(row, default=str) for row in lake.table(name).scan().to_arrow().to_pylist()
        )
        for name in TABLES
    }


def by_partition(lake: Lake, name: str) -> dict[tuple, list[LakeFile]]:
    found: dict[tuple, list[LakeFile]] = {}
    for file in lake.files(name):
        found.setdefault(file.partition, []).append(file)
    return found


def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every partition for one that no batch writes to any more."""
    monkeypatch.setattr(maintenance, "_QUIET_MS", -HOUR)


@pytest.fixture
def twin(spark: object, tmp_path: Path) -> Pipeline:
    """Give a second lake, for what is never maintained."""
    return Pipeline(spark, tmp_path / "twin")


def test_small_files_become_one_sorted_file_with_the_same_rows(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    for number in range(4):
        pipeline.process(f"b{number}", batch(number))
    before = rows(pipeline.lake)
    written = {file.path: file for file in pipeline.lake.files("ods_event")}
    report = maintain(pipeline.lake, MaintenanceSettings())
    assert rows(pipeline.lake) == before
    assert (report.files_before, report.files_after) == (12 + 0, 3)
    for name in TABLES:
        for files in by_partition(pipeline.lake, name).values():
            (file,) = files
            assert (file.first_batch, file.last_batch) == ("b0", "b3")
            table = pq.ParquetFile(file.path).read()
            assert table.equals(table.sort_by([(key, "ascending") for key in ORDER[name]]))
    (new, _) = (pq.ParquetFile(file.path) for file in pipeline.lake.files("ods_event"))
    (old, *_) = (pq.ParquetFile(path) for path in written)
    # Names, types and field ids; and the codec.
    assert new.schema_arrow.equals(old.schema_arrow, check_metadata=True)
    assert new.metadata.row_group(0).column(0).compression == "ZSTD"
    assert maintain(pipeline.lake, MaintenanceSettings()).compacted_files == 0
