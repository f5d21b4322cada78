"""Windows start by themselves: at the interval, or when objects arrive."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from clickstream_dagster.assets.project import Calendar, last_ended
from clickstream_dagster.automation import arrivals
from clickstream_dagster.automation.arrivals import (
    Cursor,
    arrival_sensor,
    windows_with_arrivals,
)
from clickstream_dagster.automation.schedules import (
    delayed,
    interval_schedule,
    maintenance_job,
    maintenance_schedule,
    pipeline_job,
)
from clickstream_dagster.batches.windows import hour_folder
from clickstream_dagster.errors import SettingError, SourceError

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("cron", "minutes", "later"),
    [
        ("0 * * * *", 10, "10 * * * *"),
        ("0 */12 * * *", 0, "0 */12 * * *"),
        ("0 0 * * 1", 59, "59 0 * * 1"),
        ("*/30 * * * *", 10, "10,40 * * * *"),
        ("*/30 * * * *", 40, "10,40 * * * *"),
        ("5-20/15,50 * * * *", 5, "10,25,55 * * * *"),
    ],
)
def test_the_schedule_ticks_after_the_grace(cron, minutes, later):
    assert delayed(cron, minutes) == later


def test_a_grace_that_leaves_the_hour_is_refused():
    with pytest.raises(SettingError, match="write 14 or less"):
        delayed("45 3 * * *", 20)


def ticked(schedule, moment):
    """Give the partitions that a tick asks for, in their order, or why there is none."""
    with (
        dg.instance_for_test() as instance,
        dg.build_schedule_context(instance, scheduled_execution_time=moment) as context,
    ):
        answer = schedule(context)
    if isinstance(answer, dg.SkipReason):
        return answer.skip_message
    return [request.partition_key for request in answer]


def test_each_tick_asks_for_the_window_that_has_just_ended(project):
    shop = project()
    schedule = interval_schedule(shop, pipeline_job(shop))
    assert schedule.cron_schedule == "10 * * * *"
    assert ticked(schedule, datetime(2026, 1, 2, 5, 10, tzinfo=UTC)) == ["2026-01-02-04:00"]


def test_a_tick_asks_for_the_windows_that_ended_while_nobody_was_up(project):
    shop = project()
    schedule = interval_schedule(shop, pipeline_job(shop))
    opened = datetime(2026, 1, 2, 1, tzinfo=UTC)
    shop.ledger().open(last_ended(shop, opened))
    at_five = datetime(2026, 1, 2, 5, 10, tzinfo=UTC)
    hours = [f"2026-01-02-0{hour}:00" for hour in (1, 2, 3, 4)]
    assert ticked(schedule, at_five) == hours
    shop.ledger().open(last_ended(shop, at_five - 2 * HOUR))
    assert ticked(schedule, at_five) == hours[2:]
    assert ticked(schedule, opened + 200 * HOUR) == ["2026-01-10-07:00"]  # a backfill's work


def test_before_the_first_window_has_ended_nothing_is_asked_for(project):
    shop = project()
    schedule = interval_schedule(shop, pipeline_job(shop))
    assert "no window" in ticked(schedule, datetime(2026, 1, 1, 0, 10, tzinfo=UTC))


def test_after_the_end_date_nothing_is_asked_for(project):
    shop = project(end_date="2026-01-02")
    schedule = interval_schedule(shop, pipeline_job(shop))
    assert ticked(schedule, datetime(2026, 1, 2, 0, 10, tzinfo=UTC)) == ["2026-01-01-23:00"]
    assert "no window" in ticked(schedule, datetime(2026, 1, 2, 1, 10, tzinfo=UTC))


@pytest.mark.parametrize(
    ("trigger", "schedule_runs", "sensor_runs"),
    [
        (None, False, False),
        ("schedule", True, False),
        ("arrivals", False, True),
        ("both", True, True),
    ],
)
def test_only_the_trigger_starts_by_itself(project, trigger, schedule_runs, sensor_runs):
    shop = project(trigger=trigger)
    job = pipeline_job(shop)
    running = dg.DefaultScheduleStatus.RUNNING
    assert (interval_schedule(shop, job).default_status == running) is schedule_runs
    maintenance = maintenance_schedule(shop, maintenance_job(shop))
    assert (maintenance.default_status == running) is (trigger is not None)
    sensor_running = dg.DefaultSensorStatus.RUNNING
    assert (arrival_sensor(shop, job).default_status == sensor_running) is sensor_runs


NOW = datetime(2026, 1, 2, 12, 30, tzinfo=UTC)


def put(shop, moment: datetime, name: str = "a") -> None:
    folder = Path(shop.raw) / hour_folder(round(moment.timestamp() * 1000))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{int(moment.timestamp())}-{name}.log.gz").write_bytes(b"x")


def open_window(shop, partition: str):
    return shop.ledger().open(shop.window(partition))


def asked(shop, cursor=None, now=NOW):
    windows, cursor = windows_with_arrivals(shop, cursor or Cursor(), now)
    return [shop.partition_key(window) for window in windows], cursor


def test_windows_with_objects_that_have_ended_are_asked_for(project):
    shop = project()
    put(shop, NOW - 3 * HOUR)
    put(shop, NOW - 1 * HOUR)
    put(shop, NOW)
    assert asked(shop)[0] == ["2026-01-02-09:00", "2026-01-02-11:00"]


def test_a_window_is_asked_for_only_after_the_grace(project):
    shop = project(grace_minutes=30)
    put(shop, NOW - 1 * HOUR)
    assert asked(shop, now=NOW - timedelta(minutes=1))[0] == []
    assert asked(shop, now=NOW)[0] == ["2026-01-02-11:00"]


@pytest.mark.parametrize("interval", ["1 hour", "0 0 1 * *"])
def test_an_object_of_a_time_behind_all_windows_stops_no_opening(project, interval):
    shop = project(interval=interval)
    put(shop, NOW)
    last = Path(shop.raw) / "year=9999" / "month=12" / "day=31" / "hour=23" / "a.log.gz"
    last.parent.mkdir(parents=True)
    last.write_bytes(b"x")
    window = Calendar(shop).window_of(round(NOW.timestamp() * 1000))
    manifest = shop.ledger().open(window)
    assert (len(manifest.objects), manifest.before_start) == (1, 1)


def test_taken_objects_ask_for_nothing(project):
    shop = project()
    put(shop, NOW - 1 * HOUR)
    open_window(shop, "2026-01-02-11:00")
    assert asked(shop)[0] == []


def test_a_late_object_asks_for_the_last_window_or_waits_for_the_next(project):
    shop = project()
    put(shop, NOW - 5 * HOUR)
    open_window(shop, "2026-01-02-07:00")
    put(shop, NOW - 5 * HOUR, "late")
    assert asked(shop)[0] == ["2026-01-02-11:00"]
    put(shop, NOW - 5 * HOUR, "later")
    open_window(shop, "2026-01-02-11:00")
    put(shop, NOW - 5 * HOUR, "latest")
    assert asked(shop)[0] == []
    assert asked(shop, now=NOW + HOUR)[0] == ["2026-01-02-12:00"]


def test_many_objects_are_found_over_several_ticks_with_a_small_cursor(project, monkeypatch):
    monkeypatch.setattr(arrivals, "RECENT_OBJECTS", 5)
    monkeypatch.setattr(arrivals, "SWEEP_OBJECTS", 5)
    shop = project()
    for hours in range(1, 36):
        put(shop, NOW - hours * HOUR)
    found: set[str] = set()
    cursor = Cursor()
    for _ in range(8):
        partitions, cursor = asked(shop, cursor)
        found.update(partitions)
        assert len(cursor.as_json()) < 300
    assert len(found) == 35


def test_the_windows_of_a_project_that_is_over_are_still_asked_for(project):
    shop = project(start_date="2026-01-01", end_date="2026-01-02")
    for hour in (3, 23, 24):  # the last is after the project's end
        put(shop, datetime(2026, 1, 1, tzinfo=UTC) + hour * HOUR)
    assert asked(shop)[0] == ["2026-01-01-03:00", "2026-01-01-23:00"]


def test_objects_far_in_the_past_are_found_by_the_sweep(project):
    shop = project(start_date="2025-01-01")
    put(shop, datetime(2025, 2, 1, tzinfo=UTC))
    assert asked(shop)[0] == ["2025-02-01-00:00"]


def evaluate(shop, instance, cursor=None):
    sensor = arrival_sensor(shop, pipeline_job(shop))
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    return sensor(context)


def test_the_sensor_asks_for_one_run_a_window_and_keeps_a_cursor(project):
    shop = project()
    window = last_ended(shop, datetime.now(UTC) - HOUR)
    put(shop, window.start)
    with dg.DagsterInstance.ephemeral() as instance:
        result = evaluate(shop, instance)
        (request,) = result.run_requests
        assert request.partition_key == shop.partition_key(window)
        assert request.run_key == f"{shop.partition_key(window)}#0"
        assert Cursor.from_json(result.cursor) == Cursor()


@pytest.mark.parametrize(
    ("statuses", "run_key"),
    [
        ([dg.DagsterRunStatus.STARTED], None),
        ([dg.DagsterRunStatus.FAILURE], "#1"),
        ([dg.DagsterRunStatus.FAILURE] * 2, "#2"),
        ([dg.DagsterRunStatus.FAILURE] * 3, None),
    ],
)
def test_a_window_whose_run_failed_early_is_asked_for_again_but_not_for_ever(
    project, statuses, run_key
):
    from dagster._core.test_utils import create_run_for_test

    shop = project()
    window = last_ended(shop, datetime.now(UTC) - HOUR)
    partition = shop.partition_key(window)
    put(shop, window.start)
    with dg.DagsterInstance.ephemeral() as instance:
        for status in statuses:
            create_run_for_test(
                instance,
                job_name="shop_pipeline",
                status=status,
                tags={"dagster/partition": partition},
            )
        result = evaluate(shop, instance)
        keys = [request.run_key for request in result.run_requests]
        assert keys == ([f"{partition}{run_key}"] if run_key else [])
        if len(statuses) == 3:
            assert "run it by hand" in result.skip_reason.skip_message


def test_a_missing_raw_directory_fails_the_tick_with_a_clear_message(project):
    shop = project()
    Path(shop.raw).rmdir()
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(SourceError, match="raw does not exist; create it"),
    ):
        evaluate(shop, instance)
