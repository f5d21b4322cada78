"""Bad records are processed again from the UI and from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from clickstream_dagster.automation.replay import replay_job
from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.processing import requests
from clickstream_dagster.processing.engines import spark_session
from clickstream_dagster.processing.job import process_batch
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.resources.spark import SparkEngine
from tests.processing.records_input import event, packed, record, write_object

CLICKSTREAM = Path(sys.executable).with_name("clickstream")


@pytest.fixture
def bad(project, tmp_path, monkeypatch):
    """A project with two bad requests: one was too large for a limit that is raised since."""
    shop = project()
    body = packed(*(event(f"e{n}", app_id="shop_web") for n in range(20)))
    write_object(tmp_path / "raw" / "a.log.gz", [record(body), record("no body", rid="r2")])
    with monkeypatch.context() as patch, spark_session("sail") as spark:
        patch.setattr(requests, "MAX_BODY_BYTES", 1_000)
        objects = list(list_objects(shop.raw))
        process_batch(spark, shop.batch_settings("b1"), objects)
    return shop


def rows(project, table: str) -> int:
    return Lake(project.lake, project.project_id).table(table).scan().to_arrow().num_rows


def run_job(project, **config) -> dg.ExecuteInProcessResult:
    job = replay_job(project, SparkEngine(engine=project.engine))
    return job.execute_in_process(
        run_config={"ops": {"shop_bad_records": {"config": config}}}, raise_on_error=False
    )


def test_the_job_mends_what_was_chosen_and_tells_so(bad):
    assert rows(bad, "bad_event") == 2
    missed = run_job(bad, since="2026-02-01")
    assert missed.success
    assert rows(bad, "bad_event") == 2
    result = run_job(bad, reasons=["body_too_large"], since="2026-01-01")
    assert result.success
    assert (rows(bad, "ods_event"), rows(bad, "bad_event")) == (20, 1)
    observed = {
        event.asset_observation_data.asset_observation.asset_key.path[-1]: event
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION
    }
    assert observed.keys() == {"ods_event", "bad_event"}
    told = observed["ods_event"].asset_observation_data.asset_observation.metadata
    assert (told["mended"].value, told["written"].value, told["chosen"].value) == (1, 20, 1)
    (record,) = told["by_reason"].value.records
    assert dict(record.data) == {
        "reason": "body_too_large",
        "chosen": 1,
        "mended": 1,
        "bad": 0,
        "left": 0,
    }


def test_a_wrong_reason_ends_the_job_with_its_message(bad):
    result = run_job(bad, reasons=["no_such_reason"])
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "write one of body_too_large" in failure.step_failure_data.user_failure_data.description


def run_command(project, *arguments: str) -> subprocess.CompletedProcess[str]:
    apps = [part for app in project.app_ids for part in ("--app-id", app)]
    return subprocess.run(
        [CLICKSTREAM, "replay", project.project_id, "--sink", project.lake, *apps, *arguments],
        capture_output=True,
        text=True,
        check=False,
        # This process has spoken with Sail, and pyspark notes that in the environment.
        env={name: value for name, value in os.environ.items() if not name.startswith("SPARK_")},
    )


def test_the_command_shows_a_table_and_prints_its_counters_last(bad):
    shown = run_command(bad, "--dry-run")
    assert "body_too_large" in shown.stdout
    assert json.loads(shown.stdout.splitlines()[-1])["chosen"] == 2
    assert rows(bad, "bad_event") == 2

    done = run_command(bad)
    assert done.returncode == 0, done.stderr
    counters = json.loads(done.stdout.splitlines()[-1])
    expected = {"chosen": 2, "mended": 1, "left": 0, "requests": 2, "written": 20, "bad": 1}
    assert {name: counters[name] for name in expected} == expected
    assert "undecodable_body" in done.stdout

    again = run_command(bad, "--reason", "body_too_large")
    assert again.returncode == 0
    assert "nothing to replay" in again.stdout
    wrong = run_command(bad, "--reason", "nonsense")
    assert wrong.returncode == 1
    assert "Error: reason 'nonsense' is not known; write one of body_too_large" in wrong.stderr


def test_a_project_is_found_by_the_yaml_of_the_deployment(tmp_path, monkeypatch):
    from clickstream_dagster.errors import SettingError
    from clickstream_dagster.projects import deployed_project

    monkeypatch.setenv("CLICKSTREAM_ROOT", str(tmp_path))
    demo = deployed_project("demo").batch_settings("replay")
    assert demo.sink == str(tmp_path / "data" / "demo" / "lake")
    assert demo.app_ids == ("demo_web", "demo_mobile")
    with pytest.raises(SettingError, match=r"no project 'shop' is deployed here \(demo\)"):
        deployed_project("shop")
