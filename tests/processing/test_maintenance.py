"""Maintenance changes files, never rows: whatever batches do before, meanwhile and afterwards."""

import json
import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from clickstream_dagster.cli import app
from clickstream_dagster.errors import LakeError, SettingError
from clickstream_dagster.processing import compaction, maintenance, merge_pass
from clickstream_dagster.processing.attempt import Attempt
from clickstream_dagster.processing.compaction import (
    COMPACTED,
    MANY,
    ORDER,
    compact,
    former_files,
    plan,
)
from clickstream_dagster.processing.expiry import expired_snapshots
from clickstream_dagster.processing.lake import TABLES, Lake, LakeFile, file_schema, files_of
from clickstream_dagster.processing.maintenance import MaintenanceSettings, maintain
from clickstream_dagster.processing.schema import ODS_EVENT
from clickstream_dagster.processing.staging import Piece
from tests.processing.conftest import Pipeline
from tests.processing.records_input import NOW_MS, event, plain, record, write_object
from tests.processing.test_replay import BEFORE_FIX, replay, troubled

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


def test_a_compacted_file_knows_what_it_is_made_from(pipeline: Pipeline) -> None:
    for number in range(3):
        pipeline.process(f"b{number}", batch(number))
    a, b, c, *_ = by_partition(pipeline.lake, "ods_event").popitem()[1]
    folder = os.path.dirname(a.path)
    first, second = (f"{folder}/x{COMPACTED}{number}.parquet" for number in (1, 2))
    schema = file_schema(pipeline.lake.table("ods_event"))
    scratch = str(pipeline.directory / "scratch")
    storage = pipeline.lake.storage
    compact(storage, [a.path, b.path], first, schema, ORDER["ods_event"], scratch)
    size = compact(storage, [first, c.path], second, schema, ORDER["ods_event"], scratch)
    assert size == os.path.getsize(second)
    assert not os.path.exists(scratch)

    def former(*known: str) -> list[str] | None:
        return former_files(storage, second, {os.path.basename(path): path for path in known})

    assert former(a.path, b.path, c.path, "/else") == [a.path, b.path, c.path]
    assert former(first, c.path) == [first, c.path]
    assert former(a.path, c.path) is None
    assert former() is None
    assert former_files(storage, a.path, {}) is None


def test_row_groups_are_bounded_and_in_order(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    monkeypatch.setattr(compaction, "ROW_GROUP_ROWS", 7)
    for number in range(3):
        pipeline.process(f"b{number}", batch(number, events=20))
    before = rows(pipeline.lake)
    maintain(pipeline.lake, MaintenanceSettings())
    assert rows(pipeline.lake) == before
    file, _ = pipeline.lake.data_files("ods_event")
    source = pq.ParquetFile(file)
    assert [source.metadata.row_group(n).num_rows for n in range(5)] == [6] * 5
    table = source.read(columns=["user_pseudo_id", "event_timestamp"])
    assert table.equals(table.sort_by([(name, "ascending") for name in table.column_names]))


@pytest.mark.parametrize(
    "again", [batch(1), batch(1, events=3), batch(1, events=9, first=4)[:2], []]
)
def test_a_batch_that_runs_again_after_compaction_ends_as_if_there_had_been_none(
    pipeline: Pipeline, twin: Pipeline, monkeypatch: pytest.MonkeyPatch, again: list[dict]
) -> None:
    quiet(monkeypatch)
    for number in range(3):
        pipeline.process(f"b{number}", batch(number))
        twin.process(f"b{number}", batch(number))
    maintain(pipeline.lake, MaintenanceSettings())
    counters = []
    for one in (pipeline, twin):
        source = one.directory / "again"
        source.mkdir()
        if again:
            write_object(source / "a.log.gz", again)
        counters.append(one.run("b1", source).as_dict())
    # Files that are shared are written again.
    assert counters[0].pop("data_files") >= counters[1].pop("data_files")
    assert counters[0] == counters[1]
    assert comparable(pipeline) == comparable(twin)
    maintain(pipeline.lake, MaintenanceSettings())
    assert comparable(pipeline) == comparable(twin)


def comparable(pipeline: Pipeline) -> dict[str, list[str]]:
    """Give the rows of both tables but for the paths of their raw objects."""
    root = str(pipeline.directory)
    return {
        name: sorted(row.replace(root, "") for row in found)
        for name, found in rows(pipeline.lake).items()
    }


def test_an_earlier_copy_takes_a_row_out_of_a_compacted_file(
    pipeline: Pipeline, twin: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    for one in (pipeline, twin):
        for number in range(3):
            one.process(f"b{number}", batch(number))
        if one is pipeline:
            maintain(one.lake, MaintenanceSettings())
        copy = record(plain(event("e1-2", timestamp=NOW_MS + 2_000)), rid="r", ingest_time=NOW_MS)
        assert one.process("b9", [copy]).superseded == 1
    assert comparable(pipeline) == comparable(twin)


def test_a_new_batch_leaves_compacted_files_alone_whatever_its_name(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    for number in (1, 3):
        pipeline.process(f"b{number}", batch(number))
    maintain(pipeline.lake, MaintenanceSettings())
    before = {name: set(pipeline.lake.data_files(name)) for name in TABLES}
    pipeline.process("b2", batch(2))
    for name in TABLES:
        assert before[name] < set(pipeline.lake.data_files(name))


def during(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Let something happen when compacted files are written, before they are committed."""
    write = maintenance._written

    def written(*arguments: object) -> object:
        done = write(*arguments)
        if arguments[1] == "ods_event":
            action()
        return done

    monkeypatch.setattr(maintenance, "_written", written)


def test_a_batch_that_only_adds_meanwhile_costs_a_second_commit(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    for number in range(2):
        pipeline.process(f"b{number}", batch(number))
    commit, raced = Lake.commit, []

    def racing(lake: Lake, table: object, **change: object) -> None:
        if not raced and "clickstream.maintain" in change["properties"]:
            raced.append(table.name())
            pipeline.process("b2", batch(2))
        commit(lake, table, **change)

    monkeypatch.setattr(Lake, "commit", racing)
    report = maintain(pipeline.lake, MaintenanceSettings())
    assert raced
    assert report.conflicts == 0
    assert len(pipeline.rows("ods_event")) == 18
    assert len(pipeline.lake.data_files("ods_event")) == 4


def test_files_that_a_batch_replaces_meanwhile_are_left_to_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    for number in range(3):
        pipeline.process(f"b{number}", batch(number))
    during(monkeypatch, lambda: pipeline.process("b1", batch(1, events=2)))
    before = set(os.listdir(pipeline.sink / "demo" / "ods_event" / "data" / "app_id=shop"))
    report = maintain(pipeline.lake, MaintenanceSettings())
    assert report.conflicts == 2
    assert len(pipeline.rows("ods_event")) == 14
    assert set(os.listdir(pipeline.sink / "demo/ods_event/data/app_id=shop")) == before
    assert not list((pipeline.sink / "demo" / "ods_event").rglob(f"*{COMPACTED}*"))


def test_a_batch_that_meets_maintenance_merges_once_more(
    pipeline: Pipeline, twin: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    for one in (pipeline, twin):
        for number in range(3):
            one.process(f"b{number}", batch(number))
    commit, met = Lake.commit, []

    def meeting(lake: Lake, table: object, **change: object) -> None:
        if not met and change["properties"].get("clickstream.batch") == "b1":
            met.append(maintain(pipeline.lake, MaintenanceSettings()))
        commit(lake, table, **change)

    # Its merge has looked at files that are gone when it commits, by the places of rows in them.
    again = [record(plain(event("e0-2", timestamp=NOW_MS + 2_000)), rid="r", ingest_time=NOW_MS)]
    write_object(twin.directory / "again" / "a.log.gz", again)
    twin.run("b1", twin.directory / "again")
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "commit", meeting)
        write_object(pipeline.directory / "again" / "a.log.gz", again)
        counters = pipeline.run("b1", pipeline.directory / "again")
    assert met[0].compacted_files > 0
    assert counters.superseded == 1
    assert comparable(pipeline) == comparable(twin)


def test_partitions_that_batches_write_to_wait_for_more_files(pipeline: Pipeline) -> None:
    for number in range(MANY - 1):
        pipeline.process(f"b{number}", batch(number))
    assert maintain(pipeline.lake, MaintenanceSettings()).compacted_files == 0
    pipeline.process("last", batch(99))
    assert maintain(pipeline.lake, MaintenanceSettings()).compacted_files == 3 * MANY


def some_file(partition: tuple, size: int, number: int = 0) -> LakeFile:
    return LakeFile(f"{partition}-{number}", 1, size, partition, "b", "b", None)


def test_large_files_stay_and_no_group_is_over_the_target() -> None:
    sizes = [10, 49, 50, 90, 200, 20, 30, 40, 45, 5]
    files = [some_file(("shop", 1), size, number) for number, size in enumerate(sizes)]
    groups = plan(files, frozenset(), 100, 10_000)
    assert all(len(group.files) > 1 and group.bytes <= 100 for group in groups)
    assert sorted(file.bytes for group in groups for file in group.files) == sorted(
        size for size in sizes if size < 50
    )


def test_the_worst_and_oldest_come_first_within_the_bound_of_a_run() -> None:
    files = [
        some_file(("shop", day), 10, number)
        for day, count in ((1, 1), (2, 3), (3, 5), (4, 3))
        for number in range(count)
    ]
    chosen = plan(files, frozenset(), 100, 85)
    assert [group.partition[1] for group in chosen] == [3, 2]
    assert [group.partition[1] for group in plan(files, frozenset(), 100, 1)] == [3]
    assert plan(files, frozenset(file.partition for file in files), 100, 85) == []


def test_old_snapshots_go_with_the_files_that_only_they_need(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    for number in range(3):
        pipeline.process(f"b{number}", batch(number))
    before = rows(pipeline.lake)
    kept = pipeline.lake.kept_files("ods_event")
    report = maintain(pipeline.lake, MaintenanceSettings())
    assert (report.snapshots_expired, report.orphans) == (0, 0)
    assert {path for path in kept if os.path.exists(path)} == kept
    with monkeypatch.context() as patch:
        later = time.time() + 8 * 86_400
        patch.setattr(time, "time", lambda: later)
        dry = maintain(pipeline.lake, MaintenanceSettings(), dry_run=True)
        assert {path for path in kept if os.path.exists(path)} == kept
        report = maintain(pipeline.lake, MaintenanceSettings())
    for counter in ("snapshots_expired", "expired_files", "expired_bytes", "orphans"):
        assert getattr(dry, counter) == getattr(report, counter), counter
    assert report.snapshots_expired == 6
    assert report.expired_files > len(kept)
    assert rows(pipeline.lake) == before
    for name in TABLES:
        table = pipeline.lake.table(name)
        assert len(table.metadata.snapshots) == 1
        files = files_of(table, table.metadata.snapshots)
        folder = pipeline.sink / "demo" / name
        assert {str(path) for path in folder.rglob("*.parquet")} == files.data
        assert {str(path) for path in folder.rglob("*.avro")} == files.metadata
    pipeline.process("b1", batch(1))
    assert rows(pipeline.lake) == before


def test_a_snapshot_stays_as_long_as_someone_may_read_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.process("b1", batch(1))
    later = time.time() + 30 * 86_400
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: later)
        # It is a month old and current: a reader may have begun a minute ago.
        assert maintain(pipeline.lake, MaintenanceSettings()).snapshots_expired == 0
    pipeline.process("b1", batch(1))
    table = pipeline.lake.table("ods_event")
    replaced = table.current_snapshot().timestamp_ms
    first, _ = (snapshot.snapshot_id for snapshot in table.metadata.snapshots)
    assert expired_snapshots(table, replaced, 1) == []
    assert expired_snapshots(table, replaced + 1, 1) == [first]
    assert expired_snapshots(table, replaced + 1, 2) == []


def test_orphans_go_when_they_are_old_and_no_attempt_is_at_them(pipeline: Pipeline) -> None:
    pipeline.process("b1", batch(1))
    before = rows(pipeline.lake)
    folder = pipeline.sink / "demo" / "ods_event" / "data" / "app_id=shop"
    metadata = pipeline.sink / "demo" / "ods_event" / "metadata"
    week_ago = time.time() - 7 * 86_400
    for path in (pipeline.sink / "demo").rglob("*.*"):
        os.utime(path, (week_ago, week_ago))  # what snapshots need stays, however old
    with Attempt(pipeline.lake, "running") as attempt:
        attempt.will_write("ods_event", [str(folder)])
        old, young = folder / "dead-1.parquet", folder / "new-1.parquet"
        running, manifest = folder / f"{attempt.id}-1.parquet", metadata / "dead-m0.avro"
        for path in (old, young, running, manifest):
            path.write_bytes(b"12345")
            if path != young:
                os.utime(path, (week_ago, week_ago))
        report = maintain(pipeline.lake, MaintenanceSettings())
        assert (report.orphans, report.orphan_bytes) == (2, 10)
        assert [path.exists() for path in (old, young, running, manifest)] == [
            False,
            True,
            True,
            False,
        ]
    assert rows(pipeline.lake) == before


def test_what_a_killed_attempt_has_staged_goes_after_the_term(pipeline: Pipeline) -> None:
    pipeline.process("b1", batch(1))
    killed = Attempt(pipeline.lake, "killed")
    killed.__enter__()
    folder = pipeline.sink / "demo" / "ods_event" / "data" / "app_id=shop"
    killed.will_write("ods_event", [str(folder)])
    staged, data = Path(killed.directory, "x.good"), folder / f"{killed.id}-1.parquet"
    for path in (staged, data):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12345")
    left = [data, *(path for path in staged.parents[1].rglob("*") if path.is_file())]
    week_ago = time.time() - 7 * 86_400
    for path in left:
        os.utime(path, (week_ago, week_ago))
    size = sum(path.stat().st_size for path in left if path != data)
    assert maintain(pipeline.lake, MaintenanceSettings()).stale_attempts == 0  # it is at work
    assert all(path.exists() for path in left)
    killed._lock.release()
    report = maintain(pipeline.lake, MaintenanceSettings())
    assert (report.stale_attempts, report.stale_bytes) == (1, size)
    assert not any(path.exists() for path in left)


def test_many_manifests_become_few(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_MANY_MANIFESTS", 3)
    for number in range(4):
        pipeline.process(f"b{number}", batch(number))
    before = rows(pipeline.lake)
    files = pipeline.lake.files("ods_event")
    maintain(pipeline.lake, MaintenanceSettings())
    table = pipeline.lake.table("ods_event")
    assert len(table.current_snapshot().manifests(table.io)) == 1
    assert rows(pipeline.lake) == before
    assert {file.path for file in pipeline.lake.files("ods_event")} == {f.path for f in files}
    pipeline.process("b1", batch(1))
    assert rows(pipeline.lake) == before


def test_a_killed_maintenance_is_tidied_up_by_the_next(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    for number in range(3):
        pipeline.process(f"b{number}", batch(number))
    before = rows(pipeline.lake)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(maintenance, "_commit", die)
        patch.setattr(Attempt, "remove_uncommitted", lambda self: None)
        patch.setattr(Attempt, "_remove_directory", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            maintain(pipeline.lake, MaintenanceSettings())
    left = list((pipeline.sink / "demo").rglob(f"*{COMPACTED}*"))
    assert len(left) == 2
    assert rows(pipeline.lake) == before
    maintain(pipeline.lake, MaintenanceSettings())
    assert rows(pipeline.lake) == before
    assert not any(path.exists() for path in left)


def test_bad_records_in_compacted_files_are_replayed_as_from_others(
    pipeline: Pipeline, twin: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(monkeypatch)
    for one in (pipeline, twin):
        one.process("b1", troubled(), **BEFORE_FIX)
        one.process("b2", batch(2))
    assert maintain(pipeline.lake, MaintenanceSettings()).compacted_files > 0
    counters = [replay(one).as_dict() for one in (pipeline, twin)]
    for found in counters:
        # What was written and read: files differ.
        assert found.pop("data_files") * found.pop("bytes") > 0
    assert counters[0] == counters[1]
    assert counters[0]["mended"] == 4
    assert comparable(pipeline) == comparable(twin)
    maintain(pipeline.lake, MaintenanceSettings())
    assert comparable(pipeline) == comparable(twin)


def test_one_file_for_each_app_and_day_of_a_batch(pipeline: Pipeline) -> None:
    events = [event(f"e{n}", timestamp=NOW_MS - n * HOUR) for n in range(60)]
    pipeline.process("b1", *[[record(plain(*events[n::4]), rid=f"r{n}")] for n in range(4)])
    files = by_partition(pipeline.lake, "ods_event")
    assert {partition: len(found) for partition, found in files.items()} == {
        ("shop", 20_454 - day): 1 for day in range(4)
    }


def test_no_day_is_cut_into_small_files_for_idle_cores() -> None:
    def units(days: int, rows_of_day: int) -> list[int]:
        buckets = 30
        pieces = [
            Piece("p", 0, "shop", date(2026, 1, day + 1), bucket, rows, 1_000 * rows)
            for rows in (rows_of_day // buckets,)
            for day in range(days)
            for bucket in range(buckets)
        ]
        return [unit.rows for unit in merge_pass._units(pieces, [], [], [], tasks=64)]

    assert units(3, 600_000) == [600_000] * 3
    assert units(1, 3_000_000) == [3_000_000]
    # At 70 bytes a row these are 128 to 512 MB.
    assert all(1_830_000 < rows_of_unit < 7_300_000 for rows_of_unit in units(1, 30_000_000))
    assert len(units(1, 30_000_000)) > 8


def test_the_command_tells_what_it_would_do_and_does_it(tmp_path: Path) -> None:
    for number in range(MANY):
        append(tmp_path, number)
    arguments = ("maintain", "--sink", str(tmp_path), "--project-id", "demo")
    runner = CliRunner()
    dry = runner.invoke(app, [*arguments, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "Would be compacted" in dry.stderr
    assert json.loads(dry.stdout.splitlines()[-1])["files_after"] == 1
    lake = Lake(str(tmp_path), "demo")
    assert len(lake.data_files("ods_event")) == MANY
    done = json.loads(runner.invoke(app, arguments).stdout.splitlines()[-1])
    assert (done["compacted_files"], done["files_after"], done["partitions"]) == (MANY, 1, 1)
    assert done["bytes_after"] < done["bytes_before"]
    assert len(lake.data_files("ods_event")) == 1


def append(sink: Path, number: int) -> None:
    row = {"app_id": "shop", "event_date": date(2026, 1, 1), "event_id": f"e{number}"}
    Lake(str(sink), "demo").table("ods_event").append(pa.Table.from_pylist([row], ODS_EVENT))


def test_a_lake_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="holds no tables of demo"):
        maintain(Lake(str(tmp_path / "none"), "demo"), MaintenanceSettings())
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"target_mb": 0}, "target size 0 MB"),
        ({"keep_snapshots_days": 0}, "0 days of snapshots"),
        ({"keep_last": 0}, "last 0 snapshots"),
        ({"orphans_after_hours": 1}, "orphans after 1 hours"),
        ({"max_gb": 0}, "at most 0 GB"),
    ],
)
def test_a_setting_that_would_harm_is_refused(setting: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        MaintenanceSettings(**setting)
