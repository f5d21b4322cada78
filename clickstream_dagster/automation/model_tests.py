"""The job that tests the models of a warehouse over the whole history, and its weekly schedule.

A run of the pipeline tests what its load has written. This one tests all rows, and makes the tests
that need the whole history.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from clickstream_dagster.assets.failures import clear_failures
from clickstream_dagster.assets.manifest import prepared_manifest, run_directory
from clickstream_dagster.assets.models import ModelPlace, dbt_process, model_translator
from clickstream_dagster.assets.project import Project

FIRST_MODEL = "clickstream_event_base"


def model_tests(project: Project, place: ModelPlace, cron: str) -> dg.Definitions:
    """Build the job `<project>_<engine>_tests` and its schedule.

    It starts by itself when the project has a trigger.
    """
    job = tests_job(project, place)
    return dg.Definitions(jobs=[job], schedules=[tests_schedule(project, place, job, cron)])


def tests_job(project: Project, place: ModelPlace) -> dg.JobDefinition:
    """Build the job. Each test's result is that of its check; one that fails fails the run."""
    name = project.name(f"{place.engine}_tests")

    @dg.op(
        name=project.name(f"{place.engine}_all_rows"),
        description="Tests all rows of the models, and what needs the whole history.",
        pool=place.pool,
        out={},
    )
    def test_models(context: dg.OpExecutionContext) -> Iterator[Any]:
        from clickstream_dagster.resources.dbt import WITHOUT_UNIT_TESTS, dbt_environment, dbt_vars

        with clear_failures():
            settings = place.environment()
            manifest = prepared_manifest(place.warehouse, place.state, place.engine)
        with dbt_environment(settings):
            invocation = dbt_process(place.engine).cli(
                [
                    "test",
                    *WITHOUT_UNIT_TESTS,
                    *dbt_vars(place.warehouse.definitions, check_everything=True),
                ],
                manifest=manifest,
                dagster_dbt_translator=model_translator(project, place.engine, place.source),
                context=context,
                target_path=run_directory(place.state, context.run_id),
            )
        yield from invocation.stream()

    @dg.job(
        name=name,
        description=f"Tests the models in {place.engine} over the whole history.",
        tags=project.tags,
    )
    def test_everything() -> None:
        test_models()

    return test_everything


def tests_schedule(
    project: Project, place: ModelPlace, job: dg.JobDefinition, cron: str
) -> dg.ScheduleDefinition:
    """Build the schedule of that job. Before the first build there is nothing to test."""

    @dg.schedule(
        name=job.name,
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING
        if project.trigger
        else dg.DefaultScheduleStatus.STOPPED,
        description=f"Tests the models in {place.engine} over the whole history.",
        tags=project.tags,
    )
    def test_at_times(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        first = project.key(place.engine, FIRST_MODEL)
        if context.instance.get_latest_materialization_event(first) is None:
            return dg.SkipReason("the models have not been built yet")
        return dg.RunRequest()

    return test_at_times
