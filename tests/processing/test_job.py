"""A batch goes through Spark into the lake: counted, without duplicates, again and again."""

import base64
import gzip
import json
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.errors import (
    EngineError,
    LakeError,
    PluginError,
    SettingError,
    SourceError,
)
from clickstream_dagster.processing import (
    engines,
    job,
    merge_pass,
    merging,
    requests,
    stage_pass,
    staging,
)
from clickstream_dagster.processing.attempt import Attempt
from clickstream_dagster.processing.engines import spark_session
from clickstream_dagster.processing.job import process_batch
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.processing.limits import MAX_EVENTS_A_BODY
from clickstream_dagster.processing.plugins import Plugin
from clickstream_dagster.processing.schema import BAD_EVENT, ODS_EVENT
from clickstream_dagster.processing.settings import BatchSettings
from tests.processing.conftest import Pipeline
from tests.processing.records_input import NOW_MS, event, packed, plain, record, write_object

HOUR = 3_600_000
OWN = {"ingest_batch"}


def ids(pipeline: Pipeline) -> list[str]:
    return [row["event_id"] for row in pipeline.rows("ods_event")]


def content(pipeline: Pipeline, table: str = "ods_event") -> list[str]:
    """Give the rows of a table without the batch that wrote them."""
    rows = pipeline.rows(table)
    return sorted(
        json.dumps({k: v for k, v in row.items() if k not in OWN}, default=str, sort_keys=True)
        for row in rows
    )


def mixed_records() -> list[dict]:
    """Give requests of all kinds: 9 requests, 12 events as they are counted."""
    return [
        record(plain(event("e1"), event("e2", timestamp=NOW_MS - 24 * HOUR)), rid="r1"),
        record(packed(event("e3"), event("e4")), rid="r2"),
        record(packed(event("e3")), rid="r3", ingest_time=NOW_MS + 5_000),
        record(plain(event("foreign", app_id="other")), rid="r4"),
        record(plain(event("old", timestamp=NOW_MS - 80 * HOUR)), rid="r5"),
        record(
            plain(event("first", event_type="_first_open", timestamp=NOW_MS - 80 * HOUR)),
            rid="r6",
        ),
        record("no body at all", rid="r7"),
        record(plain("text", event(None)), rid="r8"),
        record(plain(event("bot")), rid="r9", ua="Googlebot/2.1"),
    ]


def test_a_large_batch_ends_in_workers_as_a_small_one_does_here(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = mixed_records()
    here = pipeline.process("b1", records[:5], records[5:])
    table = content(pipeline)
    monkeypatch.setattr(stage_pass, "SPREAD_BYTES", 0)
    staged: list[stage_pass.Staged] = []
    stage = stage_pass.stage
    monkeypatch.setattr(job, "stage", lambda *given: staged.append(stage(*given)) or staged[0])
    assert pipeline.process("b1", records[:5], records[5:]) == here
    assert content(pipeline) == table
    assert staged[0].spread


def test_every_record_is_accounted_for(pipeline: Pipeline) -> None:
    counters = pipeline.process("b1", mixed_records()[:5], mixed_records()[5:])
    assert counters.imbalance() is None
    expected = {
        "requests": 9,
        "decoded": 8,
        "bad_requests": 1,
        "events": 12,
        "written": 6,
        "duplicate": 1,
        "too_old": 1,
        "foreign_app": 1,
        "bad": 3,
        "bot": 1,
        "late": 2,
        "objects": 2,
    }
    assert {name: getattr(counters, name) for name in expected} == expected
    assert ids(pipeline) == ["first", "e2", "bot", "e1", "e3", "e4"]
    reasons = Counter(row["reason"] for row in pipeline.rows("bad_event"))
    assert reasons == {"undecodable_body": 1, "not_an_object": 1, "missing_event_id": 1}


def test_an_event_is_too_old_behind_the_hours_of_freshness_unless_it_tells_of_the_user(
    pipeline: Pipeline,
) -> None:
    arrival = NOW_MS + 100 * HOUR
    exempt = ("_first_open", "_first_visit", "_profile_set")
    events = [
        event("just in time", timestamp=arrival - 48 * HOUR),
        event("too late", timestamp=arrival - 48 * HOUR - 1),
        event("a start", event_type="_session_start", timestamp=NOW_MS),
        *(event(name, event_type=name, timestamp=NOW_MS - 365 * 24 * HOUR) for name in exempt),
    ]
    counters = pipeline.process(
        "b1", [record(plain(*events), ingest_time=arrival)], freshness_hours=48
    )
    assert (counters.written, counters.too_old) == (4, 2)
    assert set(ids(pipeline)) == {"just in time", *exempt}


def test_discarded_parts_are_counted_beside_their_events(pipeline: Pipeline) -> None:
    attributes = {"kept": 1, "bad name": 2, "long": "v" * 2_000}
    records = [
        record(plain(event("e1", attributes=attributes), "bad"), rid="r1"),
        record(plain(event("e2", attributes={"bad name": 3}, app_id="foreign")), rid="r2"),
        record("[]", rid="r3"),
    ]
    counters = pipeline.process("b1", records)
    assert counters.imbalance() is None
    expected = {
        "requests": 3,
        "decoded": 3,
        "with_events": 2,
        "empty": 1,
        "events": 3,
        "written": 1,
        "foreign_app": 1,
        "bad": 1,
        "discarded": 3,
    }
    assert {name: getattr(counters, name) for name in expected} == expected
    assert len(pipeline.rows("bad_event")) == 4
    (row,) = pipeline.rows("ods_event")
    assert [pair["key"] for pair in row["event_params"]] == ["kept"]


def test_bad_records_of_many_batches_of_rows_are_written_together(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_BATCH_BYTES", 1)  # a batch of rows for every object
    objects = [[record(plain(f"text {n}"), rid=f"r{n}")] for n in range(30)]
    assert pipeline.process("b1", *objects).bad == 30
    (path,) = pipeline.lake.data_files("bad_event")
    assert pq.ParquetFile(path).num_row_groups <= engines.cores()
    monkeypatch.setattr(staging, "_BAD_BUFFER_BYTES", 1)
    kept = pipeline.rows("bad_event")
    assert pipeline.process("b1", *objects).bad == 30
    assert pipeline.rows("bad_event") == kept


def test_files_tell_of_columns_outside_of_structs_and_lists_only(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """What sorts rows has bounds, for queries to skip files by; others are counted."""
    records = [record(plain(event("e1", attributes={"a": 1})))]
    pipeline.process("b1", records)
    table = pipeline.lake.table("ods_event")
    names = table.schema().find_column_name
    bounded = {
        *("ingest_batch", "app_id", "event_date", "event_timestamp", "ingest_timestamp"),
        "user_pseudo_id",
    }
    (file,) = pipeline.lake.files("ods_event")
    assert set(map(names, file.entry.lower_bounds)) == bounded
    flat = {field.name for field in ODS_EVENT if not pa.types.is_nested(field.type)}
    assert set(map(names, file.entry.null_value_counts)) == flat

    # An earlier version counted in structs, too; what an owner has chosen stays.
    chosen = "write.metadata.metrics.column.event_name"
    with table.transaction() as transaction:
        transaction.set_properties({"write.metadata.metrics.default": "counts", chosen: "full"})
    pipeline.process("b1", records)
    (file,) = pipeline.lake.files("ods_event")
    assert set(map(names, file.entry.lower_bounds)) == bounded | {"event_name"}
    # It warns of each column whose statistics it misses.
    assert not [told for told in caplog.records if told.name.startswith("pyiceberg")]


def test_bad_records_are_kept_once_however_many_batches_bring_them(pipeline: Pipeline) -> None:
    records = [
        record(plain("bad", event("e1", attributes={"bad name": 1})), rid="r1"),
        record("no body", rid="r2"),
    ]
    first = pipeline.process("b1", records, records)
    assert (first.bad, first.discarded, first.bad_repeated) == (4, 2, 3)
    before = [(row["request_id"], row["payload"]) for row in pipeline.rows("bad_event")]
    assert len(before) == 3
    second = pipeline.process("b2", records)
    assert (second.bad, second.discarded, second.bad_repeated) == (2, 1, 3)
    assert second.imbalance() is None
    pipeline.process("b1", records, records)
    after = [(row["request_id"], row["payload"]) for row in pipeline.rows("bad_event")]
    assert sorted(after) == sorted(before)


@pytest.mark.parametrize(("later", "stays"), [(0, "000"), (5, "000"), (-5, "001")])
def test_of_a_bad_record_that_came_twice_the_copy_that_arrived_first_stays(
    pipeline: Pipeline, later: int, stays: str
) -> None:
    arrival = NOW_MS + 1_000
    # The larger object is read first.
    more = [record(plain(event(f"e{number}")), rid=f"g{number}") for number in range(50)]
    copies = [record(plain("bad"), rid="r1", ingest_time=arrival + ms) for ms in (0, later)]
    counters = pipeline.process("b1", copies[:1], [*more, copies[1]])
    assert counters.bad_repeated == 1
    (row,) = pipeline.rows("bad_event")
    assert Path(row["source_object"]).name == f"{stays}.log.gz"
    assert row["ingest_timestamp"] == arrival + min(0, later)


def test_bad_records_of_many_days_need_few_open_files(pipeline: Pipeline) -> None:
    days = 120
    records = [
        record("no body", rid=f"r{number}", ingest_time=NOW_MS + number % days * 24 * HOUR)
        for number in range(2 * days)
    ]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + days // 2, hard))
    try:
        counters = pipeline.process("b1", records, records[:1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (counters.bad, counters.bad_repeated) == (2 * days + 1, 1)
    assert len(pipeline.lake.data_files("bad_event")) == days
    kept = Counter(row["request_id"] for row in pipeline.rows("bad_event"))
    assert kept == {f"r{number}": 1 for number in range(2 * days)}


def test_an_event_of_a_wrong_clock_is_put_where_it_belongs(pipeline: Pipeline) -> None:
    ahead = NOW_MS + 30 * 24 * HOUR
    sent = [
        record(
            plain(event("ahead", timestamp=ahead), event("later", timestamp=ahead + 1_000)),
            ingest_time=NOW_MS + 5_000,
            client_timestamp=ahead + 5_000,
        ),
        record(plain(event("right"))),
    ]
    counters = pipeline.process("b1", sent)
    assert (counters.written, counters.corrected) == (3, 2)
    times = {row["event_id"]: row["event_timestamp"] for row in pipeline.rows("ods_event")}
    assert times == {"ahead": NOW_MS, "later": NOW_MS + 1_000, "right": NOW_MS}
    as_sent = pipeline.process("b1", sent, correct_clocks=False)
    assert (as_sent.written, as_sent.corrected, as_sent.bad) == (1, 0, 2)
    assert {row["reason"] for row in pipeline.rows("bad_event")} == {"timestamp_in_future"}


def test_without_correction_a_wrong_clock_stays_as_it_was_sent(pipeline: Pipeline) -> None:
    ahead = NOW_MS + HOUR
    sent = [record(plain(event("ahead", timestamp=ahead)), client_timestamp=ahead)]
    assert pipeline.process("b1", sent, correct_clocks=False).corrected == 0
    (row,) = pipeline.rows("ods_event")
    assert row["event_timestamp"] == row["event_timestamp_original"] == ahead
    assert pipeline.process("b1", sent).corrected == 1


def test_a_plug_in_on_data_frames_that_loses_rows_is_named(pipeline: Pipeline) -> None:
    with pytest.raises(PluginError, match=r"EvensOnly got 12 rows and gave \d"):
        pipeline.process(
            "b1", mixed_records(), enrichments=("tests.processing.test_job:EvensOnly",)
        )
    assert pipeline.rows("ods_event") == []


def test_a_plug_in_on_data_frames_may_read_its_rows_twice(pipeline: Pipeline) -> None:
    chosen = ("tests.processing.own_plugin:CountsFirst",)
    objects = ([record(plain(event(f"e{n}"), event(f"f{n}")))] for n in range(5))
    assert pipeline.process("b1", *objects, enrichments=chosen).written == 10
    assert {row["platform"] for row in pipeline.rows("ods_event")} == {"10"}


def test_a_body_of_very_many_elements_is_one_bad_record(pipeline: Pipeline) -> None:
    def packed(elements: int) -> str:
        many = "[" + ",".join(["1"] * elements) + "]"
        return base64.b64encode(gzip.compress(many.encode())).decode()

    sent = [
        record(packed(MAX_EVENTS_A_BODY), rid="most", ua="u" * 4_000, uri="/" + "x" * 8_000),
        record(packed(MAX_EVENTS_A_BODY + 1), rid="more"),
        record(packed(8_000_000), rid="bomb"),
    ]
    counters = pipeline.process("b1", [*sent, record(plain(event("good")))])
    assert (counters.written, counters.bad, counters.requests) == (1, MAX_EVENTS_A_BODY + 2, 4)
    assert counters.imbalance() is None
    reasons = {row["request_id"]: row["reason"] for row in pipeline.rows("bad_event")}
    assert reasons == {
        "most": "not_an_object",
        "more": "too_many_events",
        "bomb": "too_many_events",
    }


def test_an_event_of_very_many_attributes_is_told_once(pipeline: Pipeline) -> None:
    attributes = {f"a{n}": n for n in range(300_000)}
    counters = pipeline.process("b1", [record(plain(event("many", attributes=attributes)))])
    assert (counters.written, counters.discarded) == (1, 1)


class EvensOnly(Plugin):
    """Loses the rows of bots and bad records."""

    def transform(self, data: object) -> object:
        """Give some of the rows."""
        return data.filter("bad_reason is null and not user_agent like '%bot%'")


def test_tables_have_the_columns_of_the_schema_and_each_file_one_partition(
    pipeline: Pipeline,
) -> None:
    pipeline.process("b1", mixed_records())
    for name, schema in (("ods_event", ODS_EVENT), ("bad_event", BAD_EVENT)):
        table = pipeline.lake.table(name)
        assert [field.name for field in table.schema().fields] == schema.names
        assert table.scan().to_arrow().num_rows == len(pipeline.rows(name))
    for path in pipeline.lake.data_files("ods_event"):
        assert "/app_id=shop/event_date=2" in path


def test_a_second_run_of_a_batch_leaves_the_same_table(pipeline: Pipeline) -> None:
    pipeline.process("b0", [record(plain(event("other")), rid="r0")])
    first = pipeline.process("b1", mixed_records())
    before = content(pipeline), len(pipeline.rows("bad_event"))
    second = pipeline.process("b1", mixed_records())
    assert (content(pipeline), len(pipeline.rows("bad_event"))) == before
    assert first == second


def test_a_batch_that_lost_its_objects_takes_its_rows_back(pipeline: Pipeline) -> None:
    pipeline.process("b0", [record(plain(event("other")), rid="r0")])
    pipeline.process("b1", mixed_records())
    shutil.rmtree(pipeline.directory / "raw" / "b1")
    counters = pipeline.process("b1")
    assert counters.as_dict() == dict.fromkeys(counters.as_dict(), 0)
    assert ids(pipeline) == ["other"]
    assert pipeline.rows("bad_event") == []


def test_an_empty_source_is_an_empty_batch(pipeline: Pipeline) -> None:
    assert pipeline.process("b1").requests == 0
    assert pipeline.rows("ods_event") == []


def test_the_copy_that_arrived_first_stays_whatever_the_order_of_batches(
    pipeline: Pipeline, spark: object, tmp_path: Path
) -> None:
    early = [
        record(plain(event("e1"), event("e2")), rid="r1", ingest_time=NOW_MS + 1),
        record(plain(event("e3")), rid="r3", ingest_time=NOW_MS + 1),
    ]
    late = [
        record(plain(event("e2"), event("e4")), rid="r2", ingest_time=NOW_MS + 900_000),
        record(plain(event("e3")), rid="r4", ingest_time=NOW_MS + 1),
    ]
    assert pipeline.process("b1", early).duplicate == 0
    assert pipeline.process("b2", late).duplicate == 2

    other = Pipeline(spark, tmp_path / "other")
    assert other.process("b2", late).duplicate == 0
    counters = other.process("b1", early)
    assert (counters.duplicate, counters.superseded) == (0, 2)
    assert content(other) == content(pipeline)

    together = Pipeline(spark, tmp_path / "together")
    assert together.process("all", late, early).duplicate == 2
    assert content(together) == content(pipeline)

    # Running either again changes nothing.
    other.process("b2", late)
    other.process("b1", early)
    assert content(other) == content(pipeline)


def test_a_batch_sent_twice_under_another_name_writes_nothing(pipeline: Pipeline) -> None:
    pipeline.process("b1", mixed_records())
    before = content(pipeline)
    counters = pipeline.process("b2", mixed_records())
    assert (counters.written, counters.duplicate) == (0, 7)
    assert content(pipeline) == before


def test_equal_ids_on_different_days_or_apps_are_different_events(pipeline: Pipeline) -> None:
    events = [
        event("e1"),
        event("e1", timestamp=NOW_MS - HOUR),
        event("e1", app_id="shop2"),
    ]
    counters = pipeline.process("b1", [record(plain(*events))], app_ids=("shop", "shop2"))
    assert (counters.written, counters.duplicate) == (3, 0)


def test_many_days_and_buckets_come_out_whole(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_pass, "BUCKET_RAW_BYTES", 500)
    monkeypatch.setattr(merge_pass, "MIN_UNIT_ROWS", 50)
    monkeypatch.setattr(merge_pass, "MAX_UNIT_ROWS", 50)
    events = [
        event(
            f"e{n:04d}", timestamp=NOW_MS - n * 60_000, unique_id=f"u{n % 7}", attributes={"n": n}
        )
        for n in range(3_000)
    ]
    objects = [
        [record(packed(*events[n : n + 50]), rid=f"r{n}")] for n in range(0, len(events), 50)
    ]
    counters = pipeline.process("b1", *objects, *objects[:10])
    assert (counters.written, counters.duplicate) == (3_000, 500)
    for row in pipeline.rows("ods_event"):
        assert row["event_params"][0]["value"]["int_value"] == int(row["event_id"][1:])


def test_a_bucket_that_is_too_large_for_memory_is_written_in_parts(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [
        record(
            plain(*(event(f"e{(n + k) % 40:02d}", unique_id=f"u{n}") for k in range(8))),
            rid=f"r{n:02d}",
            ingest_time=NOW_MS + (n * 7) % 20 * 1_000,
        )
        for n in range(20)
    ]
    counters = pipeline.process("b1", *([one] for one in records))
    whole = content(pipeline)
    monkeypatch.setattr(merging, "GROUP_BYTES", 3_000)
    monkeypatch.setattr(staging, "_BUFFER_BYTES", 1_000)
    assert pipeline.process("b1", *([one] for one in records)).written == counters.written == 27
    assert content(pipeline) == whole
    assert pipeline.process("b0", records).duplicate == 160
    assert content(pipeline) == whole


@pytest.mark.heavy
def test_events_that_unpack_to_more_than_an_array_holds_are_written(pipeline: Pipeline) -> None:
    attributes = {f"name_{n}": "x" * 1_000 for n in range(500)}
    body = packed(*(event(f"e-{n:02d}", attributes=attributes) for n in range(60)))
    unpacked = gzip.decompress(base64.b64decode(body))
    requests = [
        record(base64.b64encode(gzip.compress(unpacked.replace(b"e-", b"%d-" % n))).decode())
        for n in range(75)
    ]
    counters = pipeline.process("b1", requests)
    assert (counters.written, counters.duplicate) == (75 * 60, 0)
    assert counters.bytes < 4 << 20
    files = pipeline.lake.data_files("ods_event")
    assert sum(pq.read_metadata(file).num_rows for file in files) == 75 * 60


def test_places_and_user_agents_are_counted(pipeline: Pipeline, city_database: str) -> None:
    counters = pipeline.process(
        "b1",
        [record(plain(event("a"), event("b")), ip="81.2.69.1"), record(plain(event("c")))],
        geo_database=city_database,
    )
    assert (counters.geo_found, counters.ua_found) == (2, 3)
    assert [row["geo"]["city"] for row in pipeline.rows("ods_event")] == ["London", "London", None]


def test_a_note_that_a_failing_disk_has_cut_costs_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = mixed_records()
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "commit", _die)
        patch.setattr(Attempt, "remove_uncommitted", lambda self: None)
        patch.setattr(Attempt, "_remove_directory", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            pipeline.process("b1", records)
    notes = list((pipeline.sink / "_staging").rglob("folders-*"))
    assert notes
    for note in notes:
        note.write_bytes(note.read_bytes()[:5])
    pipeline.process("b1", records)
    assert _unknown_files(pipeline) == set()
    assert list((pipeline.sink / "_staging").rglob("folders-*")) == []


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_what_a_killed_attempt_has_left_is_removed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = mixed_records()
    pipeline.process("b1", records)
    before = content(pipeline)
    with monkeypatch.context() as patch:
        # A killed process neither commits nor cleans up.
        patch.setattr(Lake, "commit", _die)
        patch.setattr(Attempt, "remove_uncommitted", lambda self: None)
        patch.setattr(Attempt, "_remove_directory", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            pipeline.process("b1", records)
    assert content(pipeline) == before
    assert _files_on_disk(pipeline) > set(pipeline.lake.data_files("ods_event"))
    pipeline.process("b1", records)
    assert content(pipeline) == before
    assert _unknown_files(pipeline) == _replaced_files(pipeline)
    assert list((pipeline.sink / "_staging").rglob("*.good")) == []


def _files_on_disk(pipeline: Pipeline) -> set[str]:
    return {str(path) for path in (pipeline.sink / "demo" / "ods_event").rglob("*.parquet")}


def _unknown_files(pipeline: Pipeline) -> set[str]:
    return _files_on_disk(pipeline) - set(pipeline.lake.data_files("ods_event"))


def _replaced_files(pipeline: Pipeline) -> set[str]:
    """Give the files that older snapshots still need."""
    table = pipeline.lake.table("ods_event")
    files: set[str] = set()
    for snapshot in table.metadata.snapshots:
        tasks = table.scan(snapshot_id=snapshot.snapshot_id).plan_files()
        files |= {task.file.file_path.removeprefix("file://") for task in tasks}
    return files - set(pipeline.lake.data_files("ods_event"))


def test_a_commit_of_another_batch_meanwhile_is_merged_with(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Lake.commit
    raced: list[str] = []

    def racing(lake: Lake, table: object, **change: object) -> None:
        if not raced and table.name()[-1] == "ods_event":
            raced.append("b2")
            pipeline.process("b2", [record(plain(event("e1"), event("own")), rid="r0")])
        commit(lake, table, **change)

    monkeypatch.setattr(Lake, "commit", racing)
    counters = pipeline.process("b1", [record(plain(event("e1"), event("e2")), rid="r1")])
    assert raced
    assert ids(pipeline) == ["e1", "e2", "own"]
    assert (counters.written, counters.duplicate) == (1, 1)
    assert _unknown_files(pipeline) <= _replaced_files(pipeline)


def test_a_full_disk_leaves_the_lake_as_it_was(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.process("b1", mixed_records())
    before = content(pipeline)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "commit", full)
        with pytest.raises(LakeError, match="No space left on device"):
            pipeline.process("b2", [record(plain(event("new")))])
    assert content(pipeline) == before
    pipeline.process("b2", [record(plain(event("new")))])
    assert len(content(pipeline)) == len(before) + 1


def test_a_catalog_that_others_hold_or_that_is_none_is_told_in_one_line(
    pipeline: Pipeline,
) -> None:
    pipeline.process("b1", mixed_records())
    before = content(pipeline)
    catalog = pipeline.sink / "catalog.db"
    commit = Lake.commit

    def held(lake: Lake, table: object, **change: object) -> None:
        with closing(sqlite3.connect(catalog, isolation_level=None)) as other:
            other.execute("begin immediate")
            commit(lake, table, **change)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lake, "commit", held)
        with pytest.raises(LakeError, match=r"catalog\.db can't be used: database is locked"):
            pipeline.process("b2", [record(plain(event("new")))])
    assert content(pipeline) == before
    pipeline.process("b2", [record(plain(event("new")))])
    assert len(content(pipeline)) == len(before) + 1
    assert _unknown_files(pipeline) <= _replaced_files(pipeline)

    catalog.write_bytes(b"no database" * 1_000)
    with pytest.raises(LakeError, match=r"can't be used as a lake: .*not a database"):
        Lake(str(pipeline.sink), "demo").table("ods_event")


@pytest.mark.parametrize("table", ["ods_event", "bad_event"])
def test_a_commit_that_fails_leaves_both_tables_whole_and_no_file_behind(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    pipeline.process("b1", mixed_records())
    commit = Lake.commit

    def fail(lake: Lake, changed: object, **change: object) -> None:
        if changed.name()[-1] == table:
            raise OSError(28, "No space left on device")
        commit(lake, changed, **change)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "commit", fail)
        with pytest.raises(LakeError, match="No space left"):
            pipeline.process("b2", [record(plain(event("new"), "bad"))])
    assert len(pipeline.rows("bad_event")) == 3
    assert _unknown_files(pipeline) <= _replaced_files(pipeline)
    pipeline.process("b2", [record(plain(event("new"), "bad"))])
    assert "new" in ids(pipeline)
    assert len(pipeline.rows("bad_event")) == 4
    assert list((pipeline.sink / "_staging").rglob("*.good")) == []


def test_a_batch_that_is_at_work_elsewhere_is_left_alone(pipeline: Pipeline) -> None:
    pipeline.process("b1", mixed_records())
    with (
        Attempt(pipeline.lake, "b1"),
        pytest.raises(LakeError, match="b1 is being processed by another process"),
    ):
        pipeline.process("b1", mixed_records())
    pipeline.process("b1", mixed_records())


@pytest.mark.parametrize("name", ["..", ".", "a/b", "x" * 300, "ümlaut ✓"])
def test_any_name_of_a_batch_stays_in_its_place(pipeline: Pipeline, name: str) -> None:
    keep = pipeline.sink / "_staging" / "other" / "keep"
    keep.parent.mkdir(parents=True)
    keep.touch()
    raw = write_object(pipeline.directory / "in" / "a.gz", mixed_records())
    assert pipeline.run(name, raw.parent).written == 6
    assert keep.exists()


def test_an_object_that_is_gone_is_named_by_the_batch(pipeline: Pipeline) -> None:
    raw = write_object(pipeline.directory / "in" / "a.gz", mixed_records())
    objects = list(list_objects(str(raw.parent)))
    raw.unlink()
    settings = BatchSettings("demo", ("shop",), str(pipeline.sink), "b1")
    with pytest.raises(SourceError, match=r"a\.gz can't be read"):
        process_batch(pipeline.spark, settings, objects)


def test_an_object_that_was_written_again_is_refused(pipeline: Pipeline) -> None:
    raw = write_object(pipeline.directory / "in" / "a.gz", mixed_records())
    objects = list(list_objects(str(raw.parent)))
    write_object(raw, [record(plain(event("other")))])
    settings = BatchSettings("demo", ("shop",), str(pipeline.sink), "b1")
    with pytest.raises(SourceError, match=r"a\.gz has been written again since"):
        process_batch(pipeline.spark, settings, objects)


class FailingPlugin(Plugin):
    """Fails in a task, as a full disk or a mistake in a plug-in does."""

    def transform(self, data: object) -> object:
        """Give nothing."""

        def fail(batches: object) -> object:
            raise OSError(28, "No space left on device")

        return data.mapInArrow(fail, data.schema)


def test_a_task_that_fails_is_one_line_and_the_next_run_goes_on(pipeline: Pipeline) -> None:
    with pytest.raises(PluginError, match=r"FailingPlugin failed in a.*No space left") as failed:
        pipeline.process(
            "b1", mixed_records(), enrichments=("tests.processing.test_job:FailingPlugin",)
        )
    assert "\n" not in str(failed.value)
    assert pipeline.process("b1", mixed_records()).written == 6


def test_a_hostile_clock_costs_one_record(pipeline: Pipeline) -> None:
    records = [
        record(plain(event("e1", timestamp=-(2**63)), event("e2"))),
        record(plain(event("e3")), ingest_time=-(2**63), rid="r2"),
        record(plain("bad"), ingest_time=10**18, rid="r3"),
    ]
    counters = pipeline.process("b1", records)
    assert counters.imbalance() is None
    # The second record is taken to have arrived with its object, months after its event.
    assert (counters.written, counters.too_old, counters.bad) == (1, 1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"project_id": "Demo"}, "project id 'Demo'"),
        ({"app_ids": ()}, "no app id"),
        ({"app_ids": ("1shop",)}, "app id '1shop'"),
        ({"freshness_hours": 0}, "freshness is 0 hours"),
        ({"batch": ""}, "name is empty"),
        ({"sink": "gs://bucket/lake"}, "write a directory or s3://bucket/prefix"),
    ],
)
def test_a_wrong_setting_fails_before_anything_starts(change: dict, message: str) -> None:
    given = {"project_id": "demo", "app_ids": ("shop",), "sink": "lake", "batch": "b", **change}
    with pytest.raises(SettingError, match=message):
        BatchSettings(**given)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nothing", r"no plug-in 'nothing'.*ip, traffic_source, ua"),
        ("no.such.module:Plugin", "can't be loaded"),
        ("json:JSONDecoder", "not a class derived from"),
    ],
)
def test_a_plugin_that_is_not_there_is_named(
    pipeline: Pipeline, reference: str, message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        pipeline.process("b1", mixed_records(), enrichments=(reference,))


def test_a_plugin_on_data_frames_runs_between_arrow_ones(pipeline: Pipeline) -> None:
    pipeline.process(
        "b1",
        [record(plain(event("e1"), event("e2")))],
        enrichments=("ua", "tests.processing.own_plugin:UpperCasePlatform", "ip"),
    )
    rows = pipeline.rows("ods_event")
    assert [row["platform"] for row in rows] == ["WEB", "WEB"]
    assert {row["device"]["ua_browser"] for row in rows} == {"Chrome"}


def test_an_engine_that_is_not_known_is_refused() -> None:
    with pytest.raises(EngineError, match="'flink' is not known; write one of sail, spark"):
        spark_session("flink").__enter__()


def test_an_address_without_a_server_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "CONNECT_SECONDS", 0.3)
    # The first one takes connections, and says nothing.
    with socket.create_server(("127.0.0.1", 0)) as server:
        for port in (server.getsockname()[1], 1):
            with pytest.raises(EngineError, match=f"answers at sc://127.0.0.1:{port} within 0.3 s"):
                spark_session(f"sc://127.0.0.1:{port}").__enter__()


@pytest.mark.parametrize("address", ["sc://host:port", "sc://host:1/path", "sc://"])
def test_an_address_that_can_be_none_is_told(address: str) -> None:
    with pytest.raises(EngineError, match=f"engine {address}: .*; write sc://host:port"):
        spark_session(address).__enter__()


def test_spark_without_java_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(EngineError, match="needs a Java runtime"):
        spark_session("spark").__enter__()


def run_command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "clickstream"), "process", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        # This process has spoken with Sail, and pyspark notes that in the environment.
        env={name: value for name, value in os.environ.items() if not name.startswith("SPARK_")},
        check=False,
    )


def test_the_command_prints_its_counters_last(tmp_path: Path) -> None:
    write_object(tmp_path / "raw" / "a.log.gz", mixed_records())
    arguments = ("--source", "raw", "--sink", "lake", "--project-id", "demo", "--app-id", "shop")
    done = run_command(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    counters = json.loads(done.stdout.splitlines()[-1])
    assert (counters["written"], counters["bad"]) == (6, 3)
    assert done.stderr.count("no address database") == 1
    assert len(Lake(str(tmp_path / "lake"), "demo").data_files("ods_event")) == 3


def test_the_command_processes_on_a_server_at_an_address(tmp_path: Path) -> None:
    write_object(tmp_path / "raw" / "a.log.gz", mixed_records())
    arguments = ("--source", "raw", "--sink", "lake", "--project-id", "demo", "--app-id", "shop")
    with engines.sail_server() as address:
        assert address.startswith("sc://")
        done = run_command("--engine", address, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    here = run_command(*arguments, "--sink", "other", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == here.stdout.splitlines()[-1]
    there, own = (Lake(str(tmp_path / name), "demo") for name in ("lake", "other"))
    assert len(there.data_files("ods_event")) == len(own.data_files("ods_event")) == 3


def test_the_command_names_a_missing_directory(tmp_path: Path) -> None:
    arguments = ("--source", "nowhere", "--sink", "lake", "--project-id", "demo", "--app-id", "a")
    done = run_command(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lake").exists()


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("java") is None, reason="no Java runtime")
def test_a_jvm_spark_gives_the_same_tables(pipeline: Pipeline) -> None:
    attributes = {"bad name": 1, "long": "v" * 2_000}
    more = [
        record(plain(event("e5", attributes=attributes), "bad"), rid="r10"),
        record("\x00 no body \ud800 é", rid="r11", appId=None),
        b"no record \xff\x00",
    ]
    counters = pipeline.process("b1", mixed_records(), [*more, *mixed_records()])
    # One process can speak with one kind of Spark only.
    sink = pipeline.directory / "jvm"
    arguments = ("--sink", str(sink), "--project-id", "demo", "--app-id", "shop")
    source = str(pipeline.directory / "raw" / "b1")
    done = run_command("--engine", "spark", "--source", source, *arguments, cwd=pipeline.directory)
    assert done.returncode == 0, done.stderr
    other = Pipeline(pipeline.spark, pipeline.directory)
    other.lake = Lake(str(sink), "demo")
    assert content(other) == content(pipeline)
    assert content(other, "bad_event") == content(pipeline, "bad_event")
    assert json.loads(done.stdout.splitlines()[-1]) == counters.as_dict()
    assert counters.bad_repeated == 3
    assert Counter(row["reason"] for row in other.rows("bad_event")) == {
        "undecodable_body": 2,
        "not_an_object": 2,
        "not_a_record": 1,
        "missing_event_id": 1,
        "invalid_attribute_name": 1,
        "attribute_value_too_long": 1,
    }
