"""The arrival sensor: windows that hold objects nobody has taken are asked for.

What a window holds is the ledger's decision, so the sensor can neither lose an object nor give it
away twice; it only has to come across it. A tick lists a bounded number of objects in two places:
the recent folders, and a sweep through all of them that goes on from tick to tick.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from clickstream_dagster.assets.project import Project, last_ended
from clickstream_dagster.batches.ledger import LOOKBACK_MS
from clickstream_dagster.batches.objects import RawObject, list_objects, relative_key
from clickstream_dagster.batches.windows import Window, hour_folder

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

SECONDS_BETWEEN_TICKS = 60
RECENT_OBJECTS = 2_000
SWEEP_OBJECTS = 1_000
REQUESTS_A_TICK = 10
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Cursor:
    """The keys after which the next tick lists on; None is the beginning."""

    recent: str | None = None
    sweep: str | None = None

    @classmethod
    def from_json(cls, text: str | None) -> "Cursor":
        return cls(**json.loads(text)) if text else cls()

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def windows_with_arrivals(
    project: Project, cursor: Cursor, now: datetime
) -> tuple[list[Window], Cursor]:
    """Give the windows to process, oldest first, and the cursor for the next tick.

    They are the windows that have ended and hold objects that no window has taken. Objects that
    came late for their window make the last window that has ended worth processing, if it has not
    been opened yet; else they wait for the next one.
    """
    last = last_ended(project, now - timedelta(minutes=project.grace_minutes))
    if last is None:
        return [], cursor
    start = cursor.recent or hour_folder(last.start_ms - LOOKBACK_MS)
    recent, next_recent = _page(project.raw, start, RECENT_OBJECTS)
    swept, next_sweep = _page(project.raw, cursor.sweep, SWEEP_OBJECTS)
    ledger = project.ledger()
    found: set[Window] = set()
    objects = {object_.uri: object_ for object_ in [*recent, *swept]}
    for window, _ in ledger.waiting(list(objects.values())):
        if window is not None and window <= last:
            found.add(window)
        elif window is None and not ledger.is_open(last):
            found.add(last)
    return sorted(found), Cursor(next_recent, next_sweep)


def arrival_sensor(project: Project, job: "UnresolvedAssetJobDefinition") -> dg.SensorDefinition:
    """Build the sensor that runs the job for windows with arrivals."""
    starts = project.trigger in ("arrivals", "both")

    @dg.sensor(
        name=project.name("arrivals"),
        job=job,
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING if starts else dg.DefaultSensorStatus.STOPPED,
        description="Processes windows that raw objects have arrived for, late ones included.",
        tags=project.tags,
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        windows, cursor = windows_with_arrivals(
            project, Cursor.from_json(context.cursor), datetime.now(UTC)
        )
        requests: list[dg.RunRequest] = []
        given_up: list[str] = []
        for window in windows:
            partition = project.partition_key(window)
            runs = context.instance.get_runs(
                dg.RunsFilter(job_name=job.name, tags={"dagster/partition": partition}),
                limit=ATTEMPTS,
            )
            if any(not run.is_finished for run in runs):
                continue
            if len(runs) == ATTEMPTS:
                given_up.append(partition)
                continue
            # A window without a manifest after a run is one whose run failed early.
            requests.append(
                dg.RunRequest(run_key=f"{partition}#{len(runs)}", partition_key=partition)
            )
        reason = "no window waits for processing"
        if given_up:
            reason = (
                f"{', '.join(given_up[:5])}: {ATTEMPTS} runs have ended without opening the "
                "window; mend what their logs say and run it by hand"
            )
        return dg.SensorResult(
            run_requests=requests[:REQUESTS_A_TICK],
            skip_reason=None if requests else reason,
            cursor=cursor.as_json(),
        )

    return look


def _page(source: str, after: str | None, limit: int) -> tuple[list[RawObject], str | None]:
    objects = list(list_objects(source, after, limit))
    full = len(objects) == limit
    return objects, relative_key(source, objects[-1].uri) if full else None
