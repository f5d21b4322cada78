"""The project `demo`, from raw files to views, through the assets that production runs."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.lake import Lake

WINDOWS = 14
EVENTS = dg.AssetKey(["demo", "ods_event"])
RAW = dg.AssetKey(["demo", "raw_batch"])
MODEL = dg.AssetKey(["demo", "duckdb", "clickstream_session_view"])


def materializations(demo, key, partition=None):
    """The events of an asset's materializations, the newest first."""
    partitions = [partition] if partition else None
    with demo.instance() as instance:
        return [
            record.asset_materialization
            for record in instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions), limit=500
            ).records
        ]


def told_as(materialization, name: str):
    return materialization.metadata[name].value


def rows(demo, query: str):
    with duckdb.connect(str(demo.data / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_every_asset_has_every_window(demo):
    with demo.instance() as instance:
        for key in (RAW, EVENTS, dg.AssetKey(["demo", "bad_event"]), MODEL):
            assert len(instance.get_materialized_partitions(key)) == WINDOWS


def test_a_window_tells_its_objects(demo):
    told = materializations(demo, RAW, "2026-01-03-00:00")[-1]
    day = demo.data / "raw" / "year=2026" / "month=01" / "day=03"
    files = sorted(path for hour in range(12) for path in day.glob(f"hour={hour:02}/*.log.gz"))
    assert told_as(told, "objects") == len(files) > 5
    assert told_as(told, "bytes") == sum(path.stat().st_size for path in files)
    assert told_as(told, "first_key") == files[0].relative_to(demo.data / "raw").as_posix()
    assert told_as(told, "last_key") == files[-1].relative_to(demo.data / "raw").as_posix()


def test_a_window_tells_its_rows_and_every_counter_balances(demo):
    written = 0
    for partition in _partitions(demo):
        told = materializations(demo, EVENTS, partition)[-1]
        counters = {
            name: value.value
            for name, value in told.metadata.items()
            if isinstance(value.value, int)
        }
        names = BatchCounters().as_dict()
        assert BatchCounters(**{name: counters[name] for name in names}).imbalance() is None
        assert counters["dagster/partition_row_count"] == counters["written"]
        written += counters["written"]
    assert counters["dagster/row_count"] == written  # of the whole table, after the run
    assert rows(demo, "select count(*) from demo.clickstream_ods_event_view") == [(written,)]


def _partitions(demo):
    with demo.instance() as instance:
        return sorted(instance.get_materialized_partitions(EVENTS))


def test_models_tell_their_rows_and_columns(demo):
    told = materializations(demo, MODEL)[0]
    assert rows(demo, "select count(*) from demo.clickstream_session_view") == [
        (told_as(told, "dagster/row_count"),)
    ]
    columns = [column.name for column in told.metadata["dagster/column_schema"].schema.columns]
    assert columns[:3] == ["app_id", "session_id", "user_pseudo_id"]


def test_nothing_is_recorded_of_assets_that_are_not_in_the_graph(demo):
    from clickstream_dagster.demo.run import demo_definitions

    with demo.instance() as instance:
        recorded = set(instance.get_asset_keys())
    # The lake is maintained by a job of its own.
    assert recorded | {dg.AssetKey(["demo", "lake_maintenance"])} == {
        spec.key for spec in demo_definitions().resolve_all_asset_specs()
    }


def test_checks_of_quality_and_of_dbt_are_recorded(demo):
    with demo.instance() as instance:
        runs = instance.get_runs()
        evaluations = [
            record.event_log_entry.dagster_event.asset_check_evaluation_data
            for record in instance.get_records_for_run(
                runs[-1].run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
            ).records
        ]
    by_asset = {}
    for evaluation in evaluations:
        by_asset.setdefault(evaluation.asset_key, set()).add(evaluation.check_name)
    assert by_asset[EVENTS] == {"every_record_accounted_for", "late_ratio", "user_agent_coverage"}
    assert by_asset[dg.AssetKey(["demo", "bad_event"])] == {"bad_ratio"}
    base = dg.AssetKey(["demo", "duckdb", "clickstream_event_base"])
    assert "every_event_is_in_each_base_model" in by_asset[base]
    assert len(evaluations) > 40
    assert [evaluation.check_name for evaluation in evaluations if not evaluation.passed] == []


def test_running_the_demo_again_changes_nothing_and_says_so(demo):
    before = {path: path.stat().st_mtime_ns for path in demo.data.rglob("*") if path.is_file()}
    printed = demo.run()
    assert "Nothing to do" in printed
    assert "Daily active users" in printed
    after = {path: path.stat().st_mtime_ns for path in demo.data.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.heavy
def test_running_windows_again_leaves_the_same_tables(demo):
    query = "select * from demo.clickstream_session_view order by all"
    before = rows(demo, query), Lake(str(demo.data / "lake"), "demo").data_files("ods_event")
    result = demo.pipeline("2026-01-02-00:00", "2026-01-02-12:00")
    assert result.success
    lake = Lake(str(demo.data / "lake"), "demo")
    assert rows(demo, query) == before[0]
    assert lake.data_files("ods_event") != before[1]


def test_the_lake_holds_rows_of_exactly_the_windows(demo):
    table = Lake(str(demo.data / "lake"), "demo").table("ods_event")
    batches = set(
        table.scan(selected_fields=("ingest_batch",)).to_arrow()["ingest_batch"].to_pylist()
    )
    assert batches == {
        partition.replace("-", "").replace(":", "").replace("2026", "2026", 1)[:8]
        + f"T{partition[-5:-3]}00Z"
        for partition in _partitions(demo)
    }


@pytest.mark.heavy
def test_a_warehouse_in_use_fails_the_models_with_its_name_and_the_next_run_goes_on(demo):
    warehouse = demo.data / "warehouse.duckdb"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import duckdb, sys; held = duckdb.connect({str(warehouse)!r});"
            " print('held', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        result = demo.pipeline("2026-01-02-00:00")
        assert not result.success
        failures = [event for event in result.all_events if event.is_step_failure]
        message = failures[0].step_failure_data.user_failure_data.description
        assert f"the warehouse {warehouse} is open in another process" in message
        assert "STEP_SUCCESS" in {
            event.event_type_value
            for event in result.all_events
            if event.step_key == "demo_lake_events"
        }
    finally:
        holder.communicate()
    assert demo.pipeline("2026-01-02-00:00").success


def test_a_demo_whose_process_was_killed_does_not_stop_the_next(demo):
    from dagster._core.test_utils import create_run_for_test

    from clickstream_dagster.demo.run import PROCESS_TAG

    ended = subprocess.run([sys.executable, "-c", ""], check=True)
    assert ended.returncode == 0
    with demo.instance() as instance:
        run = create_run_for_test(
            instance,
            job_name="demo_pipeline",
            status=dg.DagsterRunStatus.STARTED,
            tags={PROCESS_TAG: "4194305"},  # above the greatest process id of Linux
        )
    demo.run()
    with demo.instance() as instance:
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.CANCELED


@pytest.fixture
def shop(project):
    """A project of its own with its lake only, and a function that runs its first hours."""
    from clickstream_dagster.assets.events import lake_events
    from clickstream_dagster.assets.raw import raw_batch
    from clickstream_dagster.resources.spark import SparkEngine

    settings = project(project_id="shop", app_ids=["shop_web"])

    def run(*hours: int):
        partitions = settings.partitions.get_partition_keys()
        with dg.DagsterInstance.ephemeral() as instance:
            return dg.materialize(
                [raw_batch(settings), lake_events(settings, SparkEngine(engine="sail"))],
                instance=instance,
                raise_on_error=False,
                tags={
                    "dagster/asset_partition_range_start": partitions[hours[0]],
                    "dagster/asset_partition_range_end": partitions[hours[-1]],
                },
            )

    return settings, run


def test_windows_without_objects_are_correct_and_empty(shop):
    settings, run = shop
    result = run(0, 2)
    assert result.success
    told = [
        event.asset_materialization if hasattr(event, "asset_materialization") else event
        for event in result.asset_materializations_for_node("shop_lake_events")
    ]
    assert {one.metadata["dagster/row_count"].value for one in told} == {0}
    assert len({one.partition for one in told}) == 3
    checks = result.get_asset_check_evaluations()
    assert {check.check_name for check in checks if not check.passed} == set()
    assert Lake(settings.lake, "shop").data_files("ods_event") == []


def test_a_missing_raw_directory_fails_with_a_clear_message_and_no_manifest(shop):
    settings, run = shop
    Path(settings.raw).rmdir()
    result = run(0)
    failure = next(event for event in result.all_events if event.is_step_failure)
    message = failure.step_failure_data.user_failure_data.description
    assert message.startswith(f"the raw directory {settings.raw} does not exist; create it")
    assert not settings.ledger().is_open(settings.window("2026-01-01-00:00"))
    Path(settings.raw).mkdir()
    assert run(0).success


def test_windows_before_a_failure_are_recorded(shop, monkeypatch):
    from clickstream_dagster.errors import LakeError
    from clickstream_dagster.processing import job

    settings, run = shop
    real = job.process_batch

    def fail_at_two(spark, batch, objects, progress=None):
        if batch.batch == "20260101T0200Z":
            raise LakeError("the disk is full")
        return real(spark, batch, objects, progress)

    monkeypatch.setattr(job, "process_batch", fail_at_two)
    result = run(0, 3)
    assert not result.success
    recorded = {
        event.materialization.partition
        for event in result.all_events
        if event.event_type_value == "ASSET_MATERIALIZATION"
        and event.asset_key == dg.AssetKey(["shop", "ods_event"])
    }
    assert recorded == {"2026-01-01-00:00", "2026-01-01-01:00"}
    assert Lake(settings.lake, "shop").exists()


def test_a_batch_that_does_not_add_up_is_told():
    balanced = {
        "requests": 3,
        "decoded": 2,
        "with_events": 2,
        "bad_requests": 1,
        "events": 7,
        "written": 1,
        "duplicate": 1,
        "too_old": 1,
        "foreign_app": 2,
        "bad": 2,
    }
    assert BatchCounters(**balanced).imbalance() is None
    for change, problem in (
        ({"requests": 4}, "4 requests came in, 3 are accounted for"),
        ({"with_events": 1}, "2 requests were decoded, 1 have events"),
        ({"events": 8}, "8 events came in, 7 are accounted for"),
    ):
        assert BatchCounters(**balanced | change).imbalance() == problem
