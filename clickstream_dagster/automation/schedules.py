"""Schedules: each window is processed when it has ended, and the lake is maintained."""

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

import dagster as dg

from clickstream_dagster.assets.maintenance import NAME as MAINTENANCE
from clickstream_dagster.assets.models import UPKEEP
from clickstream_dagster.assets.project import Calendar, Project, last_ended
from clickstream_dagster.automation.requests import requests_for
from clickstream_dagster.batches.windows import Window
from clickstream_dagster.checks.freshness import NAME as FRESHNESS
from clickstream_dagster.errors import SettingError

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

MISSED_WINDOWS = 100


def pipeline_job(project: Project) -> "UnresolvedAssetJobDefinition":
    """Build the job from the raw files to the views: what schedule, sensor and backfills run."""
    return dg.define_asset_job(
        project.name("pipeline"),
        selection=dg.AssetSelection.key_prefixes([project.project_id])
        - dg.AssetSelection.assets(project.key(MAINTENANCE))
        - dg.AssetSelection.tag("clickstream/layer", UPKEEP)
        - dg.AssetSelection.checks(_freshness(project)),
        description="Raw files to views: opens windows, processes them, brings the models up to "
        "date.",
        tags=project.tags,
    )


def maintenance_job(project: Project) -> "UnresolvedAssetJobDefinition":
    """Build the job that maintains the lake."""
    return dg.define_asset_job(
        project.name("maintenance"),
        selection=dg.AssetSelection.assets(project.key(MAINTENANCE)),
        description="Compacts small files of the lake, expires old snapshots and removes what "
        "nothing needs.",
        tags=project.tags,
    )


def freshness_job(project: Project) -> "UnresolvedAssetJobDefinition":
    """Build the job that looks whether events still arrive."""
    return dg.define_asset_job(
        project.name("freshness"),
        selection=dg.AssetSelection.checks(_freshness(project)),
        description="Looks whether events still arrive.",
        tags=project.tags,
    )


def _freshness(project: Project) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(project.key("ods_event"), FRESHNESS)


def _status(starts: bool) -> dg.DefaultScheduleStatus:
    return dg.DefaultScheduleStatus.RUNNING if starts else dg.DefaultScheduleStatus.STOPPED


def freshness_schedule(
    project: Project, job: "UnresolvedAssetJobDefinition"
) -> dg.ScheduleDefinition:
    """Build the hourly schedule of that job. It starts by itself if the batches do."""
    return dg.ScheduleDefinition(
        name=project.name("freshness"),
        job=job,
        cron_schedule="0 * * * *",
        execution_timezone="UTC",
        default_status=_status(project.trigger is not None),
        description="Looks whether events still arrive.",
        tags=project.tags,
    )


def maintenance_schedule(
    project: Project, job: "UnresolvedAssetJobDefinition"
) -> dg.ScheduleDefinition:
    """Build the schedule of the maintenance. It starts by itself if the batches do."""
    return dg.ScheduleDefinition(
        name=project.name("maintenance"),
        job=job,
        cron_schedule=project.maintenance_cron,
        execution_timezone="UTC",
        default_status=_status(project.trigger is not None),
        description="Maintains the lake.",
        tags=project.tags,
    )


def interval_schedule(
    project: Project, job: "UnresolvedAssetJobDefinition"
) -> dg.ScheduleDefinition:
    """Build the schedule that runs the job for each window, `grace_minutes` after its end.

    The grace is for objects that the collector stores after the end of their hour; what comes
    later still goes to the next window. Windows that ended while nobody was up are run, too: those
    since the last one that was opened.
    """
    starts = project.trigger in ("schedule", "both")

    @dg.schedule(
        name=project.name("interval"),
        job=job,
        cron_schedule=delayed(project.partitions.cron_schedule, project.grace_minutes),
        execution_timezone="UTC",
        default_status=_status(starts),
        description="Processes each window when it has ended.",
        tags=project.tags,
    )
    def each_window(
        context: dg.ScheduleEvaluationContext,
    ) -> list[dg.RunRequest] | dg.SkipReason:
        ended_by = context.scheduled_execution_time - timedelta(minutes=project.grace_minutes)
        window = last_ended(project, ended_by)
        if window is None:
            return dg.SkipReason("no window of the project has just ended")
        partition = project.partition_key(window)
        missed, _ = requests_for(
            _missed(project, window), project, job.name, context.instance, MISSED_WINDOWS
        )
        return [*missed, dg.RunRequest(run_key=partition, partition_key=partition)]

    return each_window


def _missed(project: Project, window: Window) -> list[Window]:
    """Give the windows between one and the last before it that has been opened, oldest first.

    Dagster evaluates the last of several ticks that nobody was up for, and no other. Without an
    opened window among `MISSED_WINDOWS` nothing has been missed: the project has just begun.
    """
    ledger = project.ledger()
    missed: list[Window] = []
    for earlier in islice(Calendar(project).back_from(window), 1, MISSED_WINDOWS + 1):
        if ledger.is_open(earlier):
            return missed[::-1]
        missed.append(earlier)
    return []


def delayed(cron: str, minutes: int) -> str:
    """Shift the ticks of a cron schedule by some minutes.

    Raises SettingError when that would carry some of them into another hour, and hours or days
    differ.
    """
    if minutes == 0:
        return cron
    field, hours, *rest = cron.split()
    ticks = [tick + minutes for tick in _minutes(field)]
    if ticks[-1] > 59 and (hours, *rest) != ("*",) * 4:
        raise SettingError(
            f"grace_minutes {minutes} carries ticks of {cron!r} into the next hour; write "
            f"{59 - ticks[-1] + minutes} or less"
        )
    return " ".join(
        [",".join(str(tick) for tick in sorted(tick % 60 for tick in ticks)), hours, *rest]
    )


def _minutes(field: str) -> list[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        low = 0 if first == "*" else int(first)
        high = 59 if first == "*" else int(last or first)
        found.update(range(low, high + 1, int(step or 1)))
    return sorted(found)
