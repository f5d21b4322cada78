"""A window on EMR Serverless ends in Dagster as it does on any engine, well or not."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import boto3
import dagster as dg
import pytest
from dagster_pipes import (
    PipesContext,
    PipesDefaultContextLoader,
    PipesMappingParamsLoader,
    PipesS3MessageWriter,
)

from clickstream_dagster.assets.events import lake_events
from clickstream_dagster.assets.raw import raw_batch
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.emr.artifacts import Artifacts
from clickstream_dagster.emr.capacity import Capacity
from clickstream_dagster.emr.job import BatchJob
from clickstream_dagster.processing.engines import spark_session
from clickstream_dagster.resources.emr_serverless import EmrServerlessEngine
from clickstream_dagster.resources.spark import SparkEngine
from tests.emr_edge import ROLE, Emr, JobRun, emr_application
from tests.processing.records_input import write_object
from tests.processing.test_job import mixed_records

WINDOW = "2026-01-01-00:00"


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch) -> None:
    # Messages that were lost are waited for: in production ten seconds.
    monkeypatch.setattr("dagster._core.pipes.utils.WAIT_FOR_LOGS_AFTER_EXECUTION_INTERVAL", 0)


@pytest.fixture
def emr(aws) -> Iterator[Emr]:
    with emr_application() as application:
        yield application


@pytest.fixture
def engine(emr, bucket, tmp_path) -> EmrServerlessEngine:
    """An engine with a package, whose content no test here runs."""
    artifacts = bucket.address("emr")
    for name in ("archive", "job.py"):
        (tmp_path / name).write_text(name)
    Artifacts(artifacts, S3Access()).put(
        tmp_path / "archive", tmp_path / "job.py", {"architecture": "x86_64", "python": "3.11"}
    )
    return EmrServerlessEngine(
        application_id=emr.application_id,
        execution_role_arn=ROLE,
        artifacts=artifacts,
        capacity=Capacity.of("medium", spark={"spark.task.maxFailures": "8"}),
        timeout_minutes=90,
        tags={"team": "growth"},
        poll_seconds=0.2,
    )


@pytest.fixture
def shop(project, tmp_path):
    write_object(tmp_path / "raw/year=2026/month=01/day=01/hour=00/a.log.gz", mixed_records())
    return project(app_ids=["shop"])


def run(project, engine) -> dg.ExecuteInProcessResult:
    assets = [raw_batch(project), lake_events(project, engine)]
    return dg.materialize(assets, partition_key=WINDOW, raise_on_error=False)


def messages_of(job_run: JobRun) -> PipesContext:
    """Open Pipes as the job does, with the environment of its driver."""
    return PipesContext(
        PipesMappingParamsLoader(job_run.environment),
        PipesDefaultContextLoader(),
        PipesS3MessageWriter(boto3.client("s3"), interval=0),
    )


def processed(job_run: JobRun) -> str:
    """Play a job run that processes its batch, on Sail."""
    with messages_of(job_run) as pipes, spark_session("sail") as spark:
        counters = BatchJob.from_extras(pipes.extras).run(spark, pipes.log.info)
        pipes.report_custom_message({"counters": counters.as_dict()})
    return "SUCCESS"


def saying(message: dict) -> Callable[[JobRun], str]:
    """Play a job run that fails with a message."""

    def play(job_run: JobRun) -> str:
        with messages_of(job_run) as pipes:
            pipes.report_custom_message(message)
        return "FAILED"

    return play


def facts(result: dg.ExecuteInProcessResult, *volatile: str) -> list[object]:
    """Give what a run tells of its assets and checks."""
    assets = [
        (one.asset_key, one.partition, {**one.metadata})
        for one in result.asset_materializations_for_node("shop_lake_events")
    ]
    checks = [
        (one.asset_key, one.check_name, one.passed, one.severity, {**one.metadata})
        for one in result.get_asset_check_evaluations()
    ]
    return sorted(assets, key=str) + sorted(checks, key=str)


def failure(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    (event,) = (one for one in result.all_events if one.is_step_failure)
    return event.event_specific_data.user_failure_data.description


def test_a_window_tells_the_same_as_in_this_process(shop, engine, emr, tmp_path) -> None:
    emr.play = processed
    result = run(shop, engine)
    assert result.success
    here = run(replace(shop, lake=str(tmp_path / "other")), SparkEngine(engine="sail"))
    assert facts(result) == facts(here)
    assert len(facts(result)) > 4
    (asset, *_) = [one for one in facts(result) if one[0].path[-1] == "ods_event"]
    assert asset[2]["written"].value == 6


def test_a_job_run_gets_what_the_yaml_says(shop, engine, emr, bucket) -> None:
    emr.play = processed
    assert run(shop, engine).success
    (job_run,) = emr.runs
    package = Artifacts(engine.artifacts, engine.s3).package()
    settings = job_run.settings
    assert job_run.spark_submit["entryPoint"] == package.entry_point
    assert settings["spark.archives"] == f"{package.archive}#environment"
    assert settings["spark.executorEnv.PYSPARK_PYTHON"] == "./environment/bin/python"
    assert settings["spark.task.maxFailures"] == "8"
    assert settings["spark.executor.cores"] == "8"
    assert settings["spark.default.parallelism"] == "24"
    assert job_run.run.name == "shop-20260101T0000Z"
    assert job_run.run.execution_timeout_minutes == 90
    assert job_run.run.tags["team"] == "growth"
    logs = job_run.run.configuration_overrides["monitoringConfiguration"]
    assert logs["s3MonitoringConfiguration"] == {"logUri": f"{engine.artifacts}/logs/"}
    keys = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    assert {one["Key"].split("/")[1] for one in keys} == {"package.json", "packages", "pipes"}


def test_the_log_lines_of_a_job_come_to_the_run(shop, engine, emr, capfd) -> None:
    emr.play = processed
    assert run(shop, engine).success
    told = capfd.readouterr().err
    assert "decoded 12 events of 9 requests" in told
    assert f"jobs/{emr.runs[0].id}/SPARK_DRIVER/" in told
    assert "not supported" not in told


def test_a_failed_job_is_told_by_its_own_message_and_its_logs(shop, engine, emr) -> None:
    emr.play = saying({"error": "the database x.mmdb is damaged", "kind": "SettingError"})
    told = failure(run(shop, engine))
    job_run = emr.runs[0].id
    assert told.startswith("the database x.mmdb is damaged (job run")
    assert f"ended as FAILED; logs of the driver: {engine.artifacts}/logs/applications/" in told
    assert f"/jobs/{job_run}/SPARK_DRIVER/" in told


def test_a_job_that_could_say_nothing_is_told_by_what_emr_says(shop, engine, emr) -> None:
    emr.play = lambda run: "FAILED"
    assert failure(run(shop, engine)).startswith("Job ended as FAILED (job run")


def test_a_job_whose_counters_are_lost_is_no_success(shop, engine, emr) -> None:
    emr.play = lambda run: "SUCCESS"
    told = failure(run(shop, engine))
    assert "its counters did not arrive" in told
    assert ROLE in told


def test_without_a_package_nothing_is_started(shop, engine, emr) -> None:
    told = failure(run(shop, replace(engine, package="0000000000000000")))
    assert "holds no package 0000000000000000: put one there with clickstream package" in told
    assert emr.runs == []


def test_an_application_that_is_not_there_is_told(shop, engine) -> None:
    told = failure(run(shop, replace(engine, application_id="00f1missing")))
    assert "the EMR Serverless application 00f1missing" in told


def test_a_cancelled_run_cancels_its_job_run(shop, engine, emr) -> None:
    ended = threading.Event()
    emr.play = lambda run: "SUCCESS" if ended.wait(30) else "FAILED"

    def interrupt() -> None:
        emr.started.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        dg.materialize([raw_batch(shop), lake_events(shop, engine)], partition_key=WINDOW)
    (job_run,) = emr.runs
    ended.set()
    assert job_run.state == "CANCELLED"


def test_a_job_run_that_was_left_behind_is_cancelled_before_its_batch_is_run_again(
    shop, engine, emr
) -> None:
    ended = threading.Event()
    emr.play = lambda run: "SUCCESS" if ended.wait(30) else "FAILED"
    request = {"applicationId": emr.application_id, "executionRoleArn": ROLE}
    emr.client.start_job_run(name="shop-20260101T0000Z", **request)
    emr.client.start_job_run(name="shop-20260101T0100Z", **request)
    emr.play = processed
    assert run(shop, engine).success
    ended.set()
    assert [one.run.name for one in emr.runs][2] == "shop-20260101T0000Z"
    assert emr.runs[0].state == "CANCELLED"
    assert emr.runs[1].state != "CANCELLED"
