"""A project that gets no events any more is told, by a check that runs by the clock."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
import yaml

from clickstream_dagster.assets.events import lake_events
from clickstream_dagster.assets.maintenance import lake_maintenance
from clickstream_dagster.assets.raw import raw_batch
from clickstream_dagster.automation.schedules import (
    freshness_job,
    freshness_schedule,
    pipeline_job,
)
from clickstream_dagster.checks.freshness import NAME, freshness_check
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.resources.dbt import dbt_project_dir
from clickstream_dagster.resources.spark import SparkEngine
from tests.dbt.model_input import arrow, event

HOUR = 3_600_000


def arrived(shop: Any, *hours_ago: float, happened: float | None = None) -> None:
    """Append an event for each number of hours; it happened then, or `happened` hours ago."""
    now = datetime.now(UTC).timestamp() * 1000
    rows = [
        event("a", round(now - (happened or hours) * HOUR), f"{hours}",
              ingest_timestamp=round(now - hours * HOUR))
        for hours in hours_ago
    ]  # fmt: skip
    Lake(shop.lake, shop.project_id).table("ods_event").append(arrow(rows))


def judged(shop: Any) -> dg.AssetCheckEvaluation:
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(shop.key("ods_event"))],
        asset_checks=[freshness_check(shop)],
        jobs=[freshness_job(shop)],
    )
    run = definitions.resolve_job_def("shop_freshness").execute_in_process()
    (found,) = run.get_asset_check_evaluations()
    return found


def test_events_that_arrived_lately_are_fresh_whenever_they_happened(project) -> None:
    shop = project()
    arrived(shop, 90)
    arrived(shop, 23, happened=70)
    found = judged(shop)
    assert (found.passed, found.check_name) == (True, NAME)
    assert found.metadata["hours"].value == pytest.approx(23, abs=0.1)


@pytest.mark.parametrize(
    ("hours", "severity"),
    [(25, dg.AssetCheckSeverity.WARN), (73, dg.AssetCheckSeverity.ERROR)],
)
def test_silence_is_told(project, hours: int, severity: dg.AssetCheckSeverity) -> None:
    shop = project()
    arrived(shop, hours, hours + 10)
    found = judged(shop)
    assert (found.passed, found.severity) == (False, severity)
    assert found.description == (
        "the newest event arrived 1 day, 1 hour ago" if hours == 25
        else "the newest event arrived 3 days, 1 hour ago"
    )  # fmt: skip


def test_how_long_it_may_be_silent_is_the_projects(project) -> None:
    shop = project(quality={"max_silence_hours": 2})
    arrived(shop, 3)
    assert not judged(shop).passed


def test_a_clock_that_is_ahead_is_no_arrival(project) -> None:
    shop = project()
    arrived(shop, 30, happened=-20_000)
    assert not judged(shop).passed


@pytest.mark.parametrize("hours", [(), (24 * 60,)])
def test_a_lake_without_recent_events_fails(project, hours: tuple[int, ...]) -> None:
    shop = project()
    arrived(shop, *hours)
    found = judged(shop)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.description == "no event has arrived in the last 10 days"


def test_the_bounds_of_dbt_are_the_defaults(project) -> None:
    file = dbt_project_dir() / "models" / "sources.yml"
    (events, *_) = yaml.safe_load(file.read_text())["sources"][0]["tables"]
    freshness = events["config"]["freshness"]
    silence = project().bounds.max_silence_hours
    assert freshness["warn_after"] == {"count": silence, "period": "hour"}
    assert freshness["error_after"] == {"count": 3 * silence, "period": "hour"}


def test_it_runs_each_hour_and_with_no_window(project) -> None:
    shop = project()
    job = freshness_job(shop)
    definitions = dg.Definitions(
        assets=[
            raw_batch(shop),
            lake_events(shop, SparkEngine(engine="sail")),
            lake_maintenance(shop),
        ],
        asset_checks=[freshness_check(shop)],
        jobs=[job, pipeline_job(shop)],
        schedules=[freshness_schedule(shop, job)],
    )
    checks = {
        name: definitions.resolve_job_def(name).asset_layer.asset_graph.asset_check_keys
        for name in ("shop_pipeline", "shop_freshness")
    }
    key = dg.AssetCheckKey(shop.key("ods_event"), NAME)
    assert checks["shop_freshness"] == {key}
    assert checks["shop_pipeline"]
    assert key not in checks["shop_pipeline"]
    assert definitions.resolve_schedule_def("shop_freshness").cron_schedule == "0 * * * *"
