"""Maintenance of a lake on S3 changes files, never rows, and leaves no object behind."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
from typer.testing import CliRunner

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.cli import app
from clickstream_dagster.errors import LakeError, UnknownCommitError
from clickstream_dagster.processing import glue, locks, maintenance
from clickstream_dagster.processing.attempt import Attempt
from clickstream_dagster.processing.lake import TABLES, Lake, files_of
from clickstream_dagster.processing.maintenance import MaintenanceSettings, maintain
from tests.conftest import Bucket
from tests.processing.test_lake_on_s3 import KEY, Shop, killed
from tests.processing.test_maintenance import batch, quiet

DAY = 86_400


@pytest.fixture
def shop(
    spark: object, bucket: Bucket, aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shop:
    quiet(monkeypatch)
    return Shop(spark, bucket, S3Access(kms_key_id=KEY), tmp_path)


def process(shop: Shop, *numbers: int) -> None:
    for number in numbers:
        shop.process(f"b{number}", shop.put(f"b{number}", *batch(number)))


def days_later(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Let maintenance, and nothing else, take it for so many days later."""
    later = time.time() + days * DAY
    monkeypatch.setattr(maintenance, "time", SimpleNamespace(time=lambda: later))


def needed(lake: Lake) -> set[str]:
    """Give the addresses of all files that the tables need."""
    found: set[str] = set()
    for name in TABLES:
        table = lake.table(name)
        files = files_of(table, table.metadata.snapshots)
        log = {entry.metadata_file for entry in table.metadata.metadata_log}
        found |= files.data | files.metadata | log | {table.metadata_location}
    return found


@pytest.mark.heavy
def test_the_same_rows_and_no_object_that_nothing_needs(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(shop, 0, 1, 2, 1)
    before = shop.rows()
    orphans = ("ods_event/data/app_id=shop/dead-1.parquet", "bad_event/metadata/dead-m0.avro")
    for path in orphans:
        shop.bucket.put(f"lake/{shop.project}/{path}", b"12345")
    dry = maintain(shop.lake, MaintenanceSettings(), dry_run=True)
    report = maintain(shop.lake, MaintenanceSettings())
    assert dry.compacted_files == report.compacted_files == report.files_before == 9
    assert report.files_after == 3
    objects = {file.path: file.bytes for file in shop.lake.storage.files(shop.sink)}
    live = [path for name in TABLES for path in shop.lake.data_files(name)]
    assert report.bytes_after == sum(objects[path] for path in live)
    assert (report.snapshots_expired, report.orphans) == (0, 0)
    assert shop.rows() == before
    with monkeypatch.context() as patch:
        days_later(patch, 8)
        dry = maintain(shop.lake, MaintenanceSettings(), dry_run=True)
        report = maintain(shop.lake, MaintenanceSettings())
    for counter in ("snapshots_expired", "expired_files", "expired_bytes", "orphans"):
        assert getattr(dry, counter) == getattr(report, counter), counter
    assert report.snapshots_expired == 8
    assert report.expired_bytes > 9 * 1_000
    assert (report.orphans, report.orphan_bytes) == (2, 10)
    assert shop.rows() == before
    left = {shop.bucket.address(key) for key in shop.keys(f"lake/{shop.project}/")}
    assert left == needed(shop.lake)
    assert shop.left() == set()


def test_everything_that_maintenance_writes_is_encrypted_with_the_key(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_MANY_MANIFESTS", 2)
    process(shop, 0, 1)
    before = set(shop.keys())
    maintain(shop.lake, MaintenanceSettings())
    days_later(monkeypatch, 8)
    maintain(shop.lake, MaintenanceSettings())
    written = set(shop.keys()) - before
    for kind in ("-compacted-00000.parquet", ".avro", ".metadata.json", "/lock"):
        assert any(key.endswith(kind) for key in written), kind
    for key in written:
        told = shop.bucket.client.head_object(Bucket=shop.bucket.name, Key=key)
        assert told.get("SSEKMSKeyId") == KEY, key


@pytest.mark.heavy
def test_a_batch_that_runs_again_after_compaction_ends_as_if_there_had_been_none(
    shop: Shop,
) -> None:
    twin = str(shop.directory / "twin")
    for number in range(3):
        objects = shop.put(f"b{number}", *batch(number))
        for sink in (shop.sink, twin):
            shop.process(f"b{number}", objects, sink=sink)
    assert maintain(shop.lake, MaintenanceSettings()).files_after == 3
    objects = shop.put("b1", *batch(1, events=4))
    counters = [shop.process("b1", objects, sink=sink).as_dict() for sink in (shop.sink, twin)]
    # Files that are shared are written again.
    assert counters[0].pop("data_files") >= counters[1].pop("data_files")
    assert counters[0] == counters[1]
    expected = shop.rows(Lake(twin, shop.project))
    assert shop.rows() == expected
    maintain(shop.lake, MaintenanceSettings())
    assert shop.rows() == expected
    assert shop.left() == set()


@pytest.mark.heavy
def test_models_are_told_which_files_hold_the_rows_of_others(shop: Shop) -> None:
    from clickstream_dagster.resources.lake_views import LEDGER, read_s3, show_lake

    process(shop, 0, 1, 2)
    loaded = shop.lake.data_files("ods_event")
    maintain(shop.lake, MaintenanceSettings())
    with duckdb.connect() as conn:
        conn.execute(f"create schema {shop.project}")
        ledger = f"{shop.project}.{LEDGER}"
        conn.execute(f"create table {ledger} as select unnest(?) as lake_file", [loaded])
        read_s3(conn, shop.s3)
        show_lake(conn, shop.sink, shop.project, shop.s3)
        schema = f"{shop.project}_lake"
        moved = conn.execute(f"select * from {schema}.ods_event_moved").fetchall()
        ((count,),) = conn.execute(f"select count(*) from {schema}.ods_event").fetchall()
    assert sorted(former for _, former in moved) == loaded
    assert sorted({file for file, _ in moved}) == shop.lake.data_files("ods_event")
    assert count == len(shop.rows()["ods_event"])


@pytest.mark.heavy
def test_compacted_files_stay_while_nobody_knows_whether_they_were_committed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ReadTimeoutError

    process(shop, 0, 1)
    before = shop.rows()
    update = glue._Client.update_table
    held: list[tuple] = []

    def hold(client: glue._Client, **request: object) -> object:
        held.append((client, request))
        raise ReadTimeoutError(endpoint_url="glue")

    with monkeypatch.context() as patch:
        patch.setattr(glue._Client, "update_table", hold)
        with pytest.raises(UnknownCommitError):
            maintain(shop.lake, MaintenanceSettings())
    # The update arrives late: what it names is there.
    update(held[0][0], **held[0][1])
    assert len(shop.lake.data_files("ods_event")) == 2
    assert shop.rows() == before
    maintain(shop.lake, MaintenanceSettings())
    assert shop.rows() == before


@pytest.mark.heavy
def test_files_of_a_compaction_that_was_not_seen_to_fail_wait_for_the_next_commit(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ReadTimeoutError

    def lose(client: glue._Client, **request: object) -> object:
        raise ReadTimeoutError(endpoint_url="glue")

    process(shop, 0, 1)
    before = shop.rows()
    with monkeypatch.context() as patch:
        patch.setattr(glue._Client, "update_table", lose)
        with pytest.raises(UnknownCommitError):
            maintain(shop.lake, MaintenanceSettings())
    left = shop.left()
    assert len(left) == 3  # two compacted files and the note on their folders
    with monkeypatch.context() as patch:
        # A run that commits nothing: the update may still be on its way.
        patch.setattr(maintenance, "plan", lambda *_: [])
        maintain(shop.lake, MaintenanceSettings())
    assert shop.left() == left
    maintain(shop.lake, MaintenanceSettings())
    assert shop.rows() == before
    assert shop.left() == set()


def test_what_a_killed_attempt_has_left_goes_after_the_term_but_not_what_is_at_work(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("TERM_SECONDS", 4.0), ("RENEWAL_SECONDS", 0.3), ("_LOOK_SECONDS", 0.1)):
        monkeypatch.setattr(locks, name, seconds)
    process(shop, 0)
    before = shop.rows()
    killed(shop, "b1", shop.put("b1", *batch(1)), monkeypatch)
    left = shop.left()
    assert maintain(shop.lake, MaintenanceSettings()).stale_attempts == 0
    assert shop.left() == left
    with Attempt(shop.lake, "running") as attempt:
        folder = f"{shop.sink}/{shop.project}/ods_event/data"
        attempt.will_write("ods_event", [folder])
        at_work = f"{folder}/{attempt.id}-1.parquet"
        shop.lake.storage.write(at_work, b"12345")
        with monkeypatch.context() as patch:
            days_later(patch, 8)
            report = maintain(shop.lake, MaintenanceSettings())
        assert (report.stale_attempts, report.orphans) == (1, 0)
        assert at_work in shop.left()
        assert not left & shop.left()
    assert shop.rows() == before


@pytest.mark.heavy
def test_one_maintenance_at_a_time(shop: Shop) -> None:
    process(shop, 0)
    with (
        Attempt(shop.lake, maintenance.LOCK),
        pytest.raises(LakeError, match="maintenance of the lake is being processed by another"),
    ):
        maintain(shop.lake, MaintenanceSettings())


def test_the_command_reaches_s3_by_its_options(
    shop: Shop, aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(shop, 0, 1)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    options = ("--endpoint-url", aws, "--glue-endpoint-url", aws, "--kms-key-id", KEY)
    arguments = ("maintain", "--sink", shop.sink, "--project-id", shop.project, *options)
    result = CliRunner().invoke(app, [*arguments, "--region", "us-east-1"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert (told["compacted_files"], told["files_after"]) == (6, 3)
