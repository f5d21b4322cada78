"""Bad records are processed again after a fix: they move to the lake, once, and nothing else."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from clickstream_dagster.errors import LakeError, PluginError, SettingError
from clickstream_dagster.processing import bad_records, limits, requests
from clickstream_dagster.processing.bad_records import Selection
from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.json_transformer import JsonTransformer
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.processing.replay import ReplayCounters, preview, replay_bad_records
from clickstream_dagster.processing.settings import BatchSettings
from clickstream_plugins.sdk import SdkTransformer
from tests.processing.conftest import Pipeline
from tests.processing.records_input import NOW_MS, event, packed, plain, record

DAY = 86_400_000


class StrictTransformer(SdkTransformer):
    """The SDK transformer before a fix: it can read no request of Android, and no names with -."""

    def apply(self, batches: object) -> object:
        """Give the events, bad ones where they should not be."""

        def broken() -> object:
            for batch in batches:
                rows = batch.to_pylist()
                for row in rows:
                    if row["body"] and row["platform"] == "Android":
                        row |= {"body": None, "bad_reason": "not_json"}
                yield pa.RecordBatch.from_pylist(rows, schema=batch.schema)

        for batch in super().apply(broken()):
            rows = batch.to_pylist()
            for row in rows:
                if row["bad_reason"] is None and row["event_id"].startswith("fixable"):
                    row |= {
                        "bad_reason": "missing_user",
                        "payload": json.dumps(sent(row["event_id"])).encode(),
                        "envelope": row_envelope(row),
                    }
            yield pa.RecordBatch.from_pylist(rows, schema=batch.schema)


def sent(event_id: str) -> dict:
    return event(event_id, attributes={"kept": event_id})


def row_envelope(row: dict) -> str:
    fields = record(None, rid=row["request_id"], ingest_time=row["ingest_timestamp"])
    return json.dumps(fields, separators=(",", ":"))


BEFORE_FIX = {"transformer": "tests.processing.test_replay:StrictTransformer"}


def troubled() -> list[dict]:
    """Give 5 requests: with 3 fixable events, one fixable as a whole, 2 hopeless ones."""
    return [
        record(plain(event("a"), sent("fixable-1"), event("b"), sent("fixable-2")), rid="r1"),
        record(packed(event("c"), event("d")), rid="r2", platform="Android"),
        record("no body at all", rid="r3"),
        record(plain("text", sent("fixable-3")), rid="r4", ingest_time=NOW_MS + DAY),
        record(plain(event("e", attributes={"bad name": 1})), rid="r5"),
    ]


def replay(pipeline: Pipeline, selection: Selection | None = None, **change: object):
    chosen = {"project_id": "demo", "app_ids": ("shop",), "sink": str(pipeline.sink), **change}
    settings = BatchSettings(batch="unused", **chosen)
    counters = replay_bad_records(lambda: pipeline.spark, settings, selection or Selection())
    assert counters.imbalance() is None
    return counters


def content(pipeline: Pipeline, table: str) -> list[str]:
    return sorted(json.dumps(row, default=str) for row in pipeline.rows(table))


def both(pipeline: Pipeline) -> tuple[list[str], list[str]]:
    return content(pipeline, "ods_event"), content(pipeline, "bad_event")


def reasons(pipeline: Pipeline) -> Counter:
    return Counter(row["reason"] for row in pipeline.rows("bad_event"))


@pytest.fixture
def mended(spark: object, tmp_path: Path) -> Pipeline:
    """A lake of records that the fixed code has read from the start."""
    pipeline = Pipeline(spark, tmp_path / "mended")
    pipeline.process("b1", troubled())
    return pipeline


def test_a_replay_leaves_both_tables_as_if_the_code_had_been_right_from_the_start(
    pipeline: Pipeline, mended: Pipeline
) -> None:
    first = pipeline.process("b1", troubled(), **BEFORE_FIX)
    assert (first.written, first.bad) == (3, 6)
    counters = replay(pipeline)
    assert (counters.batch.written, counters.mended.total()) == (5, 4)
    assert counters.batch.duplicate == 0
    assert counters.chosen.total() == 7
    assert counters.left == {"invalid_attribute_name": 1}
    ours, theirs = ([json.loads(row) for row in both(one)[0]] for one in (pipeline, mended))
    assert [row["request_position"] for row in ours] == [row["request_position"] for row in theirs]
    assert both(pipeline)[0] == content(mended, "ods_event")
    told = [
        (row["reason"], row["request_id"], row["payload"]) for row in pipeline.rows("bad_event")
    ]
    assert told == [
        (row["reason"], row["request_id"], row["payload"]) for row in mended.rows("bad_event")
    ]


def test_a_replay_with_the_same_code_changes_nothing(pipeline: Pipeline) -> None:
    pipeline.process("b1", troubled())
    before = both(pipeline)
    snapshots = [
        pipeline.lake.table(name).current_snapshot().snapshot_id
        for name in ("ods_event", "bad_event")
    ]
    counters = replay(pipeline)
    assert (counters.batch.bad, counters.batch.bad_repeated, counters.mended) == (2, 2, Counter())
    assert both(pipeline) == before
    assert snapshots == [
        pipeline.lake.table(name).current_snapshot().snapshot_id
        for name in ("ods_event", "bad_event")
    ]


@pytest.mark.parametrize("rerun", ["fixed", "unfixed"])
def test_a_run_of_the_batch_after_a_replay_gives_what_it_gives_alone(
    pipeline: Pipeline, rerun: str
) -> None:
    change = {} if rerun == "fixed" else BEFORE_FIX
    pipeline.process("b1", troubled(), **change)
    alone = both(pipeline)
    pipeline.process("b1", troubled(), **BEFORE_FIX)
    replay(pipeline)
    counters = pipeline.process("b1", troubled(), **change)
    assert both(pipeline) == alone
    assert counters.duplicate == 0
    replay(pipeline)
    replay(pipeline)
    assert Counter(row["event_id"] for row in pipeline.rows("ods_event")).most_common(1)[0][1] == 1
    assert len(pipeline.rows("ods_event")) == 8


def test_a_run_of_the_batch_before_a_replay_leaves_nothing_to_mend(pipeline: Pipeline) -> None:
    pipeline.process("b1", troubled(), **BEFORE_FIX)
    pipeline.process("b1", troubled())
    before = both(pipeline)
    assert replay(pipeline).mended == Counter()
    assert both(pipeline) == before


def test_only_the_chosen_reasons_and_times_are_replayed(pipeline: Pipeline) -> None:
    pipeline.process("b1", troubled(), **BEFORE_FIX)
    late = Selection.of(["missing_user"], since="2026-01-02")
    found = preview(BatchSettings("demo", ("shop",), str(pipeline.sink), "b"), late)
    assert found.records == {"missing_user": 1}
    assert found.bytes["missing_user"] == len(json.dumps(sent("fixable-3")))
    assert replay(pipeline, late).mended == {"missing_user": 1}
    assert {"fixable-3"} == {
        row["event_id"]
        for row in pipeline.rows("ods_event")
        if row["event_id"].startswith("fixable")
    }
    assert replay(pipeline, Selection.of(until="2026-01-01T00:00:01")).replayed == Counter()
    assert replay(pipeline, Selection.of(["not_json"])).mended == {"not_json": 1}
    assert reasons(pipeline) == {
        "missing_user": 2,
        "undecodable_body": 1,
        "not_an_object": 1,
        "invalid_attribute_name": 1,
    }


def test_an_event_whose_copy_is_in_the_lake_is_a_duplicate_and_leaves_bad_event(
    pipeline: Pipeline,
) -> None:
    pipeline.process("b1", troubled(), **BEFORE_FIX)
    # A retry that came later, and another copy that came before.
    copies = [
        record(plain(sent("fixable-1")), rid="later", ingest_time=NOW_MS + 60_000),
        record(plain(sent("fixable-2")), rid="earlier", ingest_time=NOW_MS + 1),
    ]
    pipeline.process("b2", copies)
    counters = replay(pipeline)
    assert (counters.batch.duplicate, counters.batch.superseded) == (1, 1)
    kept = {row["event_id"]: row["request_id"] for row in pipeline.rows("ods_event")}
    assert (kept["fixable-1"], kept["fixable-2"]) == ("r1", "earlier")
    assert len(kept) == len(pipeline.rows("ods_event")) == 8
    assert "missing_user" not in reasons(pipeline)


def test_a_record_that_is_bad_for_another_reason_by_now_is_kept_once(pipeline: Pipeline) -> None:
    pipeline.process("b1", troubled(), **BEFORE_FIX)
    change = {"transformer": "tests.processing.test_replay:OtherReason"}
    assert replay(pipeline, **change).mended == {"missing_user": 3}
    assert replay(pipeline, **change).mended == {}
    assert reasons(pipeline)["missing_event_name"] == 3
    assert reasons(pipeline)["missing_user"] == 0
    # They are of their batch: it takes them back when it is run again.
    pipeline.process("b1", troubled())
    assert reasons(pipeline) == {
        "undecodable_body": 1,
        "not_an_object": 1,
        "invalid_attribute_name": 1,
    }


class OtherReason(StrictTransformer):
    """Finds something else to blame."""

    def apply(self, batches: object) -> object:
        """Give the events with another reason."""
        for batch in super().apply(batches):
            rows = batch.to_pylist()
            for row in rows:
                if row["bad_reason"] == "missing_user":
                    row["bad_reason"] = "missing_event_name"
            yield pa.RecordBatch.from_pylist(rows, schema=batch.schema)


def test_a_process_killed_between_the_commits_loses_nothing(
    pipeline: Pipeline, mended: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.process("b1", troubled(), **BEFORE_FIX)
    bad = content(pipeline, "bad_event")
    commit = Lake.commit

    def die(lake: Lake, table: object, **change: object) -> None:
        if table.name()[-1] == "bad_event":
            raise KeyboardInterrupt
        commit(lake, table, **change)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            replay(pipeline)
    assert content(pipeline, "ods_event") == content(mended, "ods_event")
    assert content(pipeline, "bad_event") == bad
    counters = replay(pipeline)
    assert (counters.batch.written, counters.batch.duplicate) == (0, 5)
    assert counters.mended.total() == 4
    assert content(pipeline, "ods_event") == content(mended, "ods_event")
    assert len(pipeline.rows("bad_event")) == len(mended.rows("bad_event"))


@pytest.mark.parametrize("table", ["ods_event", "bad_event"])
@pytest.mark.parametrize("batch", ["b1", "b2"])
def test_a_batch_that_commits_meanwhile_loses_nothing(
    pipeline: Pipeline,
    spark: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    batch: str,
) -> None:
    pipeline.process("b1", troubled(), **BEFORE_FIX)
    other = [record(plain(event("new"), "bad too"), rid="r9")]
    commit = Lake.commit
    waiting = [True]

    def interrupted(lake: Lake, changed: object, **change: object) -> None:
        if waiting and changed.name()[-1] == table:
            waiting.clear()
            # b1 runs with the old code once more: it takes back what the replay has written.
            records = troubled() if batch == "b1" else other
            pipeline.process(batch, records, **(BEFORE_FIX if batch == "b1" else {}))
        commit(lake, changed, **change)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "commit", interrupted)
        counters = replay(pipeline)
    assert (counters.batch.written, counters.batch.duplicate) == (5, 0)
    assert counters.mended.total() == 4
    if batch == "b1":
        pipeline.process("b2", other)
    replay(pipeline)

    expected = Pipeline(spark, tmp_path / "expected")
    expected.process("b1", troubled())
    expected.process("b2", other)
    assert [row["event_id"] for row in pipeline.rows("ods_event")] == [
        row["event_id"] for row in expected.rows("ods_event")
    ]
    assert reasons(pipeline) == reasons(expected)


def test_a_try_that_is_made_again_and_loses_leaves_no_file(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.process("b1", troubled(), **BEFORE_FIX)
    commit = Lake.commit
    copy = record(plain(sent("fixable-1"), event("f")), rid="later", ingest_time=NOW_MS + 60_000)
    new = record(plain(event("new")), rid="new")
    # b1 takes back what the replay has written, b2 has a later copy of it, so that the second try
    # writes the file of b2 again; b3 is quicker than that.
    meanwhile = [("bad_event", {"b1": troubled(), "b2": [copy]}), ("ods_event", {"b3": [new]})]

    def interrupted(lake: Lake, changed: object, **change: object) -> None:
        is_replay = change["properties"]["clickstream.batch"].startswith("replay-")
        if is_replay and meanwhile and changed.name()[-1] == meanwhile[0][0]:
            for batch, records in meanwhile.pop(0)[1].items():
                pipeline.process(batch, records, **(BEFORE_FIX if batch == "b1" else {}))
        commit(lake, changed, **change)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "commit", interrupted)
        assert replay(pipeline).batch.written == 5
    assert meanwhile == []
    known = {path for name in ("ods_event", "bad_event") for path in pipeline.lake.kept_files(name)}
    assert {str(path) for path in pipeline.sink.rglob("*.parquet")} == known


def test_large_tables_are_replayed_in_parts(
    pipeline: Pipeline, mended: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bad_records, "SLICE_ROWS", 1)
    pipeline.process("b1", troubled(), **BEFORE_FIX)
    pipeline.process("b2", [record("broken", rid=f"b{n}") for n in range(3)])
    counters = replay(pipeline)
    assert counters.mended.total() == 4
    assert counters.batch.requests == 9
    assert content(pipeline, "ods_event") == content(mended, "ods_event")


def test_a_limit_that_is_raised_lets_whole_requests_in(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = packed(*(event(f"e{n}") for n in range(50)))
    with monkeypatch.context() as patch:
        patch.setattr(requests, "MAX_BODY_BYTES", 1_000)
        pipeline.process("b1", [record(body, rid="large")])
    assert reasons(pipeline) == {"body_too_large": 1}
    assert replay(pipeline).batch.written == 50
    assert pipeline.rows("bad_event") == []


def test_what_holds_no_whole_event_is_left_alone(pipeline: Pipeline) -> None:
    long = {f"header-{n}": "x" * 4_000 for n in range(6)}
    pipeline.process("b1", [record(plain("cut"), rid="r1", **long), record(plain("ok"), rid="r2")])
    assert len(pipeline.rows("bad_event")[0]["envelope"]) == limits.MAX_ENVELOPE_CHARACTERS
    before = both(pipeline)
    counters = replay(pipeline)
    assert (counters.left.total(), counters.batch.requests) == (1, 1)
    assert both(pipeline) == before


class DroppingTransformer(JsonTransformer):
    """Reads nothing of arrays of one event."""

    def columns(self, json: object, events: object, requests: object) -> object:
        """Not called."""
        raise NotImplementedError

    def apply(self, batches: object) -> object:
        """Give nothing."""
        for _ in batches:
            yield from ()


def test_a_transformer_that_gives_no_event_back_ends_the_replay_before_anything_is_lost(
    pipeline: Pipeline,
) -> None:
    pipeline.process("b1", troubled(), **BEFORE_FIX)
    before = both(pipeline)
    with pytest.raises(PluginError, match="gave 0 events for 4 that are replayed apart"):
        replay(pipeline, transformer="tests.processing.test_replay:DroppingTransformer")
    assert both(pipeline) == before


def test_an_empty_lake_has_nothing_to_replay(pipeline: Pipeline) -> None:
    counters = replay(pipeline)
    assert counters.as_dict() == dict.fromkeys(ReplayCounters().as_dict(), 0)
    assert BatchCounters().as_dict().items() <= counters.as_dict().items()
    assert not pipeline.sink.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reasons": ["no_such"]}, r"reason 'no_such' is not known; write one of body_too_large, "),
        ({"reasons": ["field_too_long"]}, r"field_too_long can't be replayed.*run their batches"),
        ({"reasons": ["broken_object"]}, r"broken_object can't be replayed"),
        ({"since": "yesterday"}, r"since 'yesterday' is no time: write 2026-11-01"),
        ({"since": "2026-01-02", "until": "2026-01-02"}, "is not before until"),
    ],
)
def test_a_selection_that_can_not_be_is_refused(
    pipeline: Pipeline, given: dict, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        replay(pipeline, Selection.of(**given))


def test_two_replays_do_not_run_at_once(pipeline: Pipeline) -> None:
    from clickstream_dagster.processing.attempt import Attempt

    pipeline.process("b1", troubled(), **BEFORE_FIX)
    with (
        Attempt(pipeline.lake, "replay of bad records"),
        pytest.raises(LakeError, match="replay of bad records is being processed"),
    ):
        replay(pipeline)
