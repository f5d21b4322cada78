"""A lake on S3 holds what a lake in a directory holds, whatever happens on the way."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from clickstream_dagster.batches import s3
from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.cli import app
from clickstream_dagster.errors import LakeError, SourceError, UnknownCommitError
from clickstream_dagster.processing import glue, job, locks, records
from clickstream_dagster.processing.attempt import Attempt
from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.job import process_batch
from clickstream_dagster.processing.lake import TABLES, Lake
from clickstream_dagster.processing.settings import BatchSettings
from tests.batches.odd_server import odd_server
from tests.conftest import Bucket
from tests.processing.records_input import event, packed, plain, record, write_object

KEY = "alias/clickstream"
RECORDS = [
    record(plain(event("e1"), event("e2")), rid="r1"),
    record(packed(event("e2"), event("e3", app_id="shop_web")), rid="r2"),
    record(plain("bad"), rid="r3"),
]


class Shop:
    """Batches of raw objects in a bucket, processed into a lake in the same bucket."""

    def __init__(self, spark: object, bucket: Bucket, s3: S3Access, directory: Path) -> None:
        self.spark = spark
        self.bucket = bucket
        self.s3 = s3
        self.directory = directory
        self.sink = bucket.address("lake")
        self.project = f"shop_{uuid.uuid4().hex[:8]}"

    @property
    def lake(self) -> Lake:
        return Lake(self.sink, self.project, self.s3)

    def put(self, batch: str, *records: dict) -> list:
        """Store records as one raw object, and give the objects of the batch."""
        file = write_object(self.directory / batch / "1.log.gz", list(records))
        self.bucket.put(f"raw/{batch}/1.log.gz", file.read_bytes())
        return self.objects(batch)

    def objects(self, batch: str) -> list:
        return list(list_objects(self.bucket.address(f"raw/{batch}"), s3=self.s3))

    def process(self, batch: str, objects: list, **other: object) -> BatchCounters:
        settings = {"sink": self.sink, "s3": self.s3, **other}
        chosen = BatchSettings(self.project, ("shop", "shop_web"), batch=batch, **settings)
        return process_batch(self.spark, chosen, objects)

    def rows(self, lake: Lake | None = None) -> dict[str, list[str]]:
        """Give the rows of both tables, in an order of their own."""
        return {
            name: sorted(
                json.dumps(row, default=str, sort_keys=True)
                for row in (lake or self.lake).table(name).scan().to_arrow().to_pylist()
            )
            for name in TABLES
        }

    def keys(self, prefix: str = "lake/") -> list[str]:
        pages = self.bucket.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket.name, Prefix=prefix
        )
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def left(self) -> set[str]:
        """Give the data files that no snapshot knows, and what is left of staging."""
        known: set[str] = set()
        for name in TABLES:
            table = self.lake.table(name)
            for snapshot in table.metadata.snapshots:
                for task in table.scan(snapshot_id=snapshot.snapshot_id).plan_files():
                    known.add(task.file.file_path)
        data = {self.bucket.address(key) for key in self.keys() if key.endswith(".parquet")}
        return (data - known) | {
            key for key in self.keys("lake/_staging/") if not key.endswith("/lock")
        }


@pytest.fixture
def shop(spark: object, bucket: Bucket, aws: str, tmp_path: Path) -> Shop:
    return Shop(spark, bucket, S3Access(kms_key_id=KEY), tmp_path)


@pytest.fixture
def quick_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "TERM_SECONDS", 2.0)
    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.3)
    monkeypatch.setattr(locks, "_LOOK_SECONDS", 0.1)


def die(attempt: Attempt, *_: object) -> None:
    """End as a killed process does: nothing is cleaned up, the lease is renewed no more."""
    attempt._lock._released.set()
    attempt._lock._renewal.join()


def killed(shop: Shop, batch: str, objects: list, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """Process a batch up to its first commit, and die."""
    attempts: list[Attempt] = []

    def end(attempt: Attempt, *error: object) -> None:
        attempts.append(attempt)
        die(attempt)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Attempt, "__exit__", end)
        patch.setattr(Lake, "commit", stop)
        with pytest.raises(KeyboardInterrupt):
            shop.process(batch, objects)
    return attempts[0]


def test_both_places_hold_the_same_and_a_second_run_changes_nothing(
    shop: Shop, tmp_path: Path
) -> None:
    objects = shop.put("b1", *RECORDS)
    counters = shop.process("b1", objects)
    assert (counters.written, counters.duplicate, counters.bad) == (3, 1, 1)
    here = str(tmp_path / "lake")
    assert shop.process("b1", objects, sink=here) == counters
    expected = shop.rows(Lake(here, shop.project))
    assert shop.rows() == expected
    assert shop.process("b1", objects) == counters
    assert shop.rows() == expected
    assert shop.left() == set()


def test_a_replay_reaches_s3_by_its_options(
    shop: Shop, aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.process("b1", shop.put("b1", *RECORDS))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    where = ("--endpoint-url", aws, "--glue-endpoint-url", aws, "--region", "us-east-1")
    result = CliRunner().invoke(
        app, ["replay", shop.project, "--sink", shop.sink, "--app-id", "shop", "--dry-run", *where]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["chosen"] == 1


def test_a_later_batch_meets_the_rows_of_the_first(shop: Shop) -> None:
    shop.process("b1", shop.put("b1", *RECORDS))
    # An earlier copy of e1 comes with b2: the file of b1 is written again without it.
    early = record(plain(event("e1"), event("new")), rid="r0", ingest_time=1_767_225_600_500)
    counters = shop.process("b2", shop.put("b2", early, RECORDS[2]))
    assert (counters.written, counters.superseded, counters.bad_repeated) == (2, 1, 1)
    batches = {
        (row["event_id"], row["ingest_batch"])
        for row in shop.lake.table("ods_event").scan().to_arrow().to_pylist()
    }
    assert batches == {("e1", "b2"), ("new", "b2"), ("e2", "b1"), ("e3", "b1")}


def test_an_empty_batch_takes_away_what_it_had_written(shop: Shop) -> None:
    shop.process("b1", shop.put("b1", *RECORDS))
    assert shop.process("b1", []).written == 0
    assert shop.rows() == {"ods_event": [], "bad_event": []}


def test_every_object_of_the_lake_is_encrypted_with_the_key(shop: Shop) -> None:
    shop.process("b1", shop.put("b1", *RECORDS))
    shop.process("b2", shop.put("b2", *RECORDS))
    keys = shop.keys()
    assert len(keys) > 10
    told = {
        key: shop.bucket.client.head_object(Bucket=shop.bucket.name, Key=key).get("SSEKMSKeyId")
        for key in keys
    }
    assert set(told.values()) == {KEY}, told


def test_staged_files_are_encrypted_and_below_the_lake(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, quick_leases: None
) -> None:
    objects = shop.put("b1", *RECORDS)
    killed(shop, "b1", objects, monkeypatch)
    staged = [key for key in shop.keys(f"lake/_staging/{shop.project}/") if "/staged/" in key]
    assert len(staged) >= 3
    for key in staged:
        told = shop.bucket.client.head_object(Bucket=shop.bucket.name, Key=key)
        assert told["SSEKMSKeyId"] == KEY


def test_the_settings_reach_every_client(
    shop: Shop, aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = shop.put("b1", *RECORDS)
    (tmp_path / "config").write_text("[profile shop]\n")
    (tmp_path / "keys").write_text("[shop]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    shop.s3 = S3Access("eu-west-1", "shop", aws, KEY, glue_endpoint_url=aws)
    assert shop.process("b1", objects).written == 3
    assert len(shop.rows()["ods_event"]) == 3
    # Glue in moto keeps a catalog for each region.
    assert shop.lake.catalog.glue.meta.region_name == "eu-west-1"
    with pytest.raises(LakeError, match=r"Glue catalog .* can't be reached"):
        Lake(shop.sink, "p", replace(shop.s3, glue_endpoint_url="http://127.0.0.1:1")).table(
            "ods_event"
        )


def test_without_credentials_it_ends_at_once_with_what_to_do(
    aws: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    # Where an instance's role is asked for, nobody answers.
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
    access = S3Access(endpoint_url=aws, region="us-east-2")
    started = time.monotonic()
    with pytest.raises(LakeError, match="check the AWS credentials"):
        Lake("s3://bucket/lake", "demo", access).storage.open("s3://bucket/lake/x")
    with pytest.raises(LakeError, match="check the AWS credentials"):
        Lake("s3://bucket/lake", "demo", access).has("ods_event")
    assert time.monotonic() - started < 20


def test_a_second_lake_with_the_same_project_is_refused(
    shop: Shop, make_bucket: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.process("b1", shop.put("b1", *RECORDS))
    other = make_bucket().address("lake")
    monkeypatch.setattr(job, "stage", None)  # it is told before any event is read
    with pytest.raises(LakeError, match=r"is at s3://.*, not below s3://"):
        shop.process("b1", shop.objects("b1"), sink=other)


def test_a_missing_bucket_is_named(shop: Shop) -> None:
    message = r"^the bucket no-such-bucket of .* does not exist; create"
    with pytest.raises(LakeError, match=message):
        shop.process("b1", shop.put("b1", *RECORDS), sink="s3://no-such-bucket/lake")


def test_a_catalog_that_fails_is_told_by_its_status_before_any_event_is_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_ATTEMPTS", 1)
    monkeypatch.setattr(job, "stage", None)
    objects = shop.put("b1", *RECORDS)
    with odd_server() as address, pytest.raises(LakeError) as told:
        shop.process("b1", objects, s3=S3Access(glue_endpoint_url=address))
    assert str(told.value) == (
        f"the Glue catalog of {shop.sink} fails with the HTTP status 500, a mistake of the server:"
        " run it again later"
    )


def test_a_batch_that_is_at_work_elsewhere_is_left_alone(shop: Shop, quick_leases: None) -> None:
    objects = shop.put("b1", *RECORDS)
    with (
        Attempt(shop.lake, "b1"),
        pytest.raises(LakeError, match=r"b1 is being processed by another process.*2 s later"),
    ):
        shop.process("b1", objects)
    assert shop.process("b1", objects).written == 3


def test_a_killed_batch_is_taken_over_and_leaves_nothing_behind(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, quick_leases: None
) -> None:
    objects = shop.put("b1", *RECORDS)
    killed(shop, "b1", objects, monkeypatch)
    assert len(shop.left()) > 4
    listed: list[str] = []
    client = shop.s3.shared_client()
    client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2",
        lambda params, **_: listed.append(params["Prefix"]),
        unique_id="listed",
    )
    try:
        assert shop.process("b1", objects).written == 3
    finally:
        client.meta.events.unregister("provide-client-params.s3.ListObjectsV2", unique_id="listed")
    assert shop.left() == set()
    # Only the folders that the killed attempt wrote to were looked at.
    data = [prefix for prefix in listed if "/data/" in prefix]
    assert len(data) == 2
    assert all("/event_date=" in prefix for prefix in data)


def test_who_has_lost_its_lease_commits_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, quick_leases: None
) -> None:
    objects = shop.put("b1", *RECORDS)
    require = locks.Lease.require
    taken: list[str] = []

    def late(lease: locks.Lease) -> None:
        # A pause longer than the term, in which another process does the whole batch.
        if not taken:
            taken.append("b1")
            lease._released.set()
            lease._renewal.join()
            shop.process("b1", objects)
        require(lease)

    monkeypatch.setattr(locks.Lease, "require", late)
    with pytest.raises(LakeError, match="b1 has been taken over by another process"):
        shop.process("b1", objects)
    assert len(shop.rows()["ods_event"]) == 3
    assert len(shop.lake.table("ods_event").snapshots()) == 1
    assert shop.left() == set()


def test_an_update_by_another_writer_is_merged_with(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = glue._Client.update_table
    refused: list[object] = []

    def refuse(client: glue._Client, **request: object) -> object:
        # Glue knows the version of another writer's update that came between look and update.
        if not refused:
            refused.append(request["VersionId"])
            raise client.exceptions.ConcurrentModificationException(
                {"Error": {"Code": "ConcurrentModificationException"}}, "UpdateTable"
            )
        return update(client, **request)

    objects = shop.put("b1", *RECORDS)
    monkeypatch.setattr(glue._Client, "update_table", refuse)
    assert shop.process("b1", objects).written == 3
    assert refused
    assert len(shop.rows()["ods_event"]) == 3
    assert shop.left() == set()


def test_a_commit_whose_answer_is_lost_is_found_made(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ReadTimeoutError

    update = glue._Client.update_table

    def lose(client: glue._Client, **request: object) -> object:
        update(client, **request)
        raise ReadTimeoutError(endpoint_url="glue")

    objects = shop.put("b1", *RECORDS)
    monkeypatch.setattr(glue._Client, "update_table", lose)
    assert shop.process("b1", objects).written == 3
    assert len(shop.rows()["ods_event"]) == 3
    assert shop.left() == set()


def test_files_stay_while_nobody_knows_whether_they_were_committed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ReadTimeoutError

    update = glue._Client.update_table
    held: list[tuple] = []

    def hold(client: glue._Client, **request: object) -> object:
        held.append((client, request))
        raise ReadTimeoutError(endpoint_url="glue")

    objects = shop.put("b1", *RECORDS)
    with monkeypatch.context() as patch:
        patch.setattr(glue._Client, "update_table", hold)
        with pytest.raises(UnknownCommitError, match="run the batch again"):
            shop.process("b1", objects)
    assert shop.rows()["ods_event"] == []
    # The update arrives late: what it names is there.
    update(held[0][0], **held[0][1])
    assert len(shop.rows()["ods_event"]) == 3
    assert shop.process("b1", objects).written == 3
    assert len(shop.rows()["ods_event"]) == 3
    assert shop.left() == set()


def test_files_of_a_commit_that_never_came_go_with_the_next_run(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ReadTimeoutError

    def lose(client: glue._Client, **request: object) -> object:
        raise ReadTimeoutError(endpoint_url="glue")

    objects = shop.put("b1", *RECORDS)
    with monkeypatch.context() as patch:
        patch.setattr(glue._Client, "update_table", lose)
        with pytest.raises(UnknownCommitError):
            shop.process("b1", objects)
    assert len(shop.left()) == 3  # two data files and the note on their folders
    assert shop.process("b1", objects).written == 3
    assert shop.left() == set()


def test_an_object_that_was_written_again_is_refused(shop: Shop) -> None:
    objects = shop.put("b1", *RECORDS)
    shop.put("b1", record(plain(event("other"))))
    with pytest.raises(SourceError, match="has been written again since"):
        shop.process("b1", objects)
    shop.bucket.client.delete_object(Bucket=shop.bucket.name, Key="raw/b1/1.log.gz")
    with pytest.raises(SourceError, match="put it back before"):
        shop.process("b1", objects)


def test_a_damaged_and_an_empty_object_on_s3_give_what_they_hold(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_PART", 100)
    line = json.dumps(record(plain(event("e1")))).encode() + b"\n"
    body = bytearray(gzip.compress(line * 3))
    body[-8] ^= 0xFF  # the checksum
    shop.bucket.put("raw/b1/1.gz", bytes(body))
    shop.bucket.put("raw/b1/2.gz", b"")
    counters = shop.process("b1", shop.objects("b1"))
    assert (counters.requests, counters.written, counters.bad) == (4, 1, 1)


def command(shop: Shop, name: str, *options: str) -> subprocess.Popen[str]:
    """Start a command of `clickstream` in a process of its own."""
    return subprocess.Popen(
        [
            *(Path(sys.executable).parent / "clickstream", name, "--sink", shop.sink),
            *("--project-id", shop.project, *options),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("SPARK_")},
        start_new_session=True,
    )


def process_command(shop: Shop, *options: str) -> subprocess.Popen[str]:
    source = shop.bucket.address("raw/b1")
    apps = ("--app-id", "shop", "--app-id", "shop_web")
    chosen = ("--batch", "b1", "--kms-key-id", KEY, *options)
    return command(shop, "process", "--source", source, *apps, *chosen)


def last_line(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output.splitlines()[-1]


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("java") is None, reason="no Java runtime")
def test_the_jvm_writes_the_same(shop: Shop) -> None:
    counters = shop.process("b1", shop.put("b1", *RECORDS))
    expected = shop.rows()
    told = json.loads(last_line(process_command(shop, "--engine", "spark")))
    assert told == counters.as_dict()
    assert shop.rows() == expected
    assert len(shop.lake.table("ods_event").snapshots()) == 2


@pytest.mark.heavy
def test_a_process_that_was_killed_is_waited_out_and_the_models_see_the_rest(
    shop: Shop, tmp_path: Path
) -> None:
    shop.put("b1", *RECORDS)
    first = process_command(shop)
    while not shop.keys(f"lake/_staging/{shop.project}/"):
        assert first.poll() is None, first.communicate()
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert json.loads(last_line(process_command(shop)))["written"] == 3
    assert shop.left() == set()
    file = tmp_path / "warehouse.duckdb"
    last_line(command(shop, "model", "--warehouse", str(file)))
    shop.put("b1", *RECORDS, record(plain(event("later")), rid="r9"))
    last_line(process_command(shop))
    last_line(command(shop, "model", "--warehouse", str(file)))
    with duckdb.connect(str(file), read_only=True) as found:
        ((rows,),) = found.execute(
            f"select count(*) from {shop.project}.clickstream_ods_event_view"
        ).fetchall()
    assert rows == 4
