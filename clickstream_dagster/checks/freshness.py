"""Whether events still arrive: a project that falls silent has no run that could tell.

`dbt source freshness` asks the same of a warehouse by hand.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol

import dagster as dg

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.checks.quality import Bounds
from clickstream_dagster.errors import ClickstreamError

NAME = "newest_event_arrived_lately"
_BAD_AFTER = 3
"""So many times as long as a warning takes, and silence is an error."""

_REACH = timedelta(days=7)
"""How much longer ago than its arrival an event may have happened to be looked for."""


class ListenedProject(Protocol):
    """What the check must know of a project."""

    def key(self, *path: str) -> dg.AssetKey: ...

    @property
    def project_id(self) -> str: ...

    @property
    def lake(self) -> str: ...

    @property
    def s3(self) -> S3Access | None: ...

    @property
    def bounds(self) -> Bounds: ...


def freshness_check(project: ListenedProject) -> dg.AssetChecksDefinition:
    """Build the check of `ods_event`. It reads the bounds in the lake's manifests, no event."""
    silence = timedelta(hours=project.bounds.max_silence_hours)

    @dg.asset_check(
        asset=project.key("ods_event"),
        name=NAME,
        description=f"The newest event arrived in the last {project.bounds.max_silence_hours} "
        f"hours; an error after {_BAD_AFTER} times as long.",
    )
    def newest_event_arrived_lately() -> dg.AssetCheckResult:
        from clickstream_dagster.processing.lake import Lake

        now = datetime.now(UTC)
        since = now - _BAD_AFTER * silence - _REACH
        try:
            lake = Lake(project.lake, project.project_id, project.s3)
            newest = lake.newest_arrival(since.date())
        except ClickstreamError as error:
            raise dg.Failure(description=str(error)) from error
        if newest is None:
            return dg.AssetCheckResult(
                passed=False,
                severity=dg.AssetCheckSeverity.ERROR,
                description=f"no event has arrived in the last {(now - since).days} days",
            )
        age = now - newest
        return dg.AssetCheckResult(
            passed=age <= silence,
            severity=dg.AssetCheckSeverity.WARN
            if age <= _BAD_AFTER * silence
            else dg.AssetCheckSeverity.ERROR,
            description=f"the newest event arrived {_words(age)} ago",
            metadata={
                "arrived": dg.MetadataValue.timestamp(newest),
                "hours": round(age / timedelta(hours=1), 2),
            },
        )

    return newest_event_arrived_lately


def _words(age: timedelta) -> str:
    days, hours = age.days, age.seconds // 3600
    return ", ".join(
        f"{number} {word}{'' if number == 1 else 's'}"
        for number, word in ((days, "day"), (hours, "hour"))
        if number or word == "hour"
    )
