"""The weekly tests of the models: over the whole history, and red where it is damaged."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from clickstream_dagster.automation.model_tests import FIRST_MODEL
from tests.dbt.model_input import PROJECT, event, write
from tests.dbt.test_quality import DAMAGES_OF_THE_WHOLE

JOB = f"{PROJECT}_duckdb_tests"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where a lake with two days of events is, and what dbt has parsed for all tests here."""
    made = tmp_path_factory.mktemp("model_tests")
    (made / "lake").mkdir()
    for day in (1, 2):
        events = [
            event("_session_start", f"2024-05-0{day} 10:00", f"a{day}", session=f"s{day}"),
            event("_page_view", f"2024-05-0{day} 10:01", f"b{day}", session=f"s{day}"),
        ]
        write(made / "lake", events)
    return made


@pytest.fixture
def models(component, folder) -> Callable[..., dg.Definitions]:
    """Give what a project has in its DuckDB file."""

    def define(trigger: str | None = None, **warehouse: str) -> dg.Definitions:
        made = component(
            project_id=PROJECT,
            interval="1 day",
            start_date="2024-05-01",
            end_date="2024-05-31",
            lake=str(folder / "lake"),
            warehouses=[{"path": str(folder / "warehouse.duckdb"), **warehouse}],
            trigger=trigger,
        )
        return made.warehouses[0].defs(made.project(folder), folder)

    return define


def results(instance: dg.DagsterInstance, run: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Whether each check passed that a run has evaluated."""
    return {
        one.check_name: one.passed
        for event in instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        )
        for one in [event.dagster_event.asset_check_evaluation_data]
    }


@pytest.mark.heavy
def test_all_tests_run_over_the_whole_history_and_fail_on_damage(models, folder) -> None:
    definitions = models()
    job = definitions.resolve_job_def(JOB)
    (assets,) = definitions.assets
    with dg.instance_for_test() as instance:
        built = dg.materialize([assets], instance=instance, partition_key="2024-05-02")
        assert built.success
        sound = job.execute_in_process(instance=instance)
        found = results(instance, sound)
        assert set(found) == {spec.name for spec in assets.check_specs}
        assert set(found.values()) == {True}

        statement, table, test = DAMAGES_OF_THE_WHOLE[0]
        with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
            day = "report_date = date '2024-05-01'"
            connection.execute(statement.format(t=f"{PROJECT}.{table}", day=day))
        damaged = job.execute_in_process(instance=instance, raise_on_error=False)
        assert not damaged.success
        assert [name for name, passed in results(instance, damaged).items() if not passed] == [test]


@pytest.mark.parametrize(
    ("settings", "status", "cron"),
    [
        ({}, dg.DefaultScheduleStatus.STOPPED, "0 4 * * 0"),
        ({"trigger": "schedule"}, dg.DefaultScheduleStatus.RUNNING, "0 4 * * 0"),
        ({"tests_cron": "30 5 1 * *"}, dg.DefaultScheduleStatus.STOPPED, "30 5 1 * *"),
    ],
)
def test_they_are_weekly_and_start_with_the_trigger(models, settings, status, cron) -> None:
    schedule = models(**settings).resolve_schedule_def(JOB)
    assert (schedule.job_name, schedule.default_status) == (JOB, status)
    assert (schedule.cron_schedule, schedule.execution_timezone) == (cron, "UTC")


def test_before_the_models_are_built_nothing_is_tested(models) -> None:
    schedule = models().resolve_schedule_def(JOB)
    with (
        dg.instance_for_test() as instance,
        dg.build_schedule_context(
            instance, scheduled_execution_time=datetime(2024, 5, 5, 4, tzinfo=UTC)
        ) as context,
    ):
        assert "not been built yet" in schedule(context).skip_message
        key = dg.AssetKey([PROJECT, "duckdb", FIRST_MODEL])
        instance.report_runless_asset_event(dg.AssetMaterialization(key))
        assert isinstance(schedule(context), dg.RunRequest)
