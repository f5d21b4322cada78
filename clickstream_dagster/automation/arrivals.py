"""The arrival sensor: windows that hold objects nobody has taken are asked for.

What a window holds is the ledger's decision, so the sensor can neither lose an object nor give it
away twice; it only has to come across it. It comes across them in one of two ways:

- a queue announces them: a tick takes a bounded number of messages and lists nothing;
- a tick lists a bounded number of objects in three places: the beginning of each of the last
  windows, the folders of the last days and all of the source, these two from tick to tick further.
"""

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

import dagster as dg

from clickstream_dagster.assets.project import Calendar, Project, last_ended
from clickstream_dagster.automation.requests import ATTEMPTS, requests_for
from clickstream_dagster.batches.ledger import LOOKBACK_MS, Ledger
from clickstream_dagster.batches.queue import Received, take_announcements
from clickstream_dagster.batches.windows import Window, hour_folder

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

SECONDS_BETWEEN_TICKS = 60
SECONDS_LISTING = 30  # Dagster ends a tick after 60
LAST_WINDOWS = 24
PROBED_OBJECTS = 100
RECENT_OBJECTS = 2_000
SWEEP_OBJECTS = 1_000
PAGE_OBJECTS = 500
REQUESTS_A_TICK = 10
_UNREADABLE_TOLD = 5

Waiting = set[Window | None]
"""Windows that objects wait for; None for the next one that is opened."""


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
    """Look for objects by listing; give the windows to process and the cursor for the next tick.

    They are the windows that have ended and hold objects that no window has taken, oldest first.
    Objects that came late for their window make the last window that has ended worth processing,
    if it has not been opened yet; else they wait for the next one.
    """
    last = _last_ended(project, now)
    if last is None:
        return [], cursor
    ledger = project.ledger()
    until = time.monotonic() + SECONDS_LISTING
    found: Waiting = set()
    for window in islice(Calendar(project).back_from(last), LAST_WINDOWS):
        found |= _probed(ledger, window)
    start = cursor.recent or hour_folder(last.start_ms - LOOKBACK_MS)
    recent, next_recent = _scanned(ledger, last, start, RECENT_OBJECTS, until)
    swept, next_sweep = _scanned(ledger, last, cursor.sweep, SWEEP_OBJECTS, until)
    windows = _to_process(ledger, last, found | recent | swept)
    return windows, Cursor(next_recent, next_sweep)


def windows_announced(project: Project, now: datetime) -> list[Window]:
    """Give the windows to process, as `windows_with_arrivals`, from what has been announced."""
    last = _last_ended(project, now)
    if last is None:
        return []
    ledger = project.ledger()
    return _to_process(ledger, last, ledger.announced())


def arrival_sensor(project: Project, job: "UnresolvedAssetJobDefinition") -> dg.SensorDefinition:
    """Build the sensor that runs the job for windows with arrivals."""
    starts = project.trigger in ("arrivals", "both")

    @dg.sensor(
        name=project.name("arrivals"),
        job=job,
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING if starts else dg.DefaultSensorStatus.STOPPED,
        description="Processes windows that raw objects have arrived for, late ones included. "
        + (
            f"Takes them from the queue {project.queue_url or 'of the infrastructure'}."
            if project.is_announced
            else "Finds them by listing."
        ),
        tags=project.tags,
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        if project.is_announced:
            received = take_announcements(project.queue(), project.ledger())
            _tell(context, received)
            windows, cursor = windows_announced(project, now), context.cursor
        else:
            windows, listed = windows_with_arrivals(project, Cursor.from_json(context.cursor), now)
            cursor = listed.as_json()
        requests, given_up = requests_for(
            windows, project, job.name, context.instance, REQUESTS_A_TICK
        )
        reason = "no window waits for processing"
        if given_up:
            reason = (
                f"{', '.join(given_up[:5])}: {ATTEMPTS} runs have ended without opening the "
                "window; mend what their logs say and run it by hand"
            )
        return dg.SensorResult(
            run_requests=requests, skip_reason=None if requests else reason, cursor=cursor
        )

    return look


def _last_ended(project: Project, now: datetime) -> Window | None:
    moment, end = now - timedelta(minutes=project.grace_minutes), project.partitions.end
    # Objects may still arrive when the project's last window is long over.
    return last_ended(project, min(moment, end) if end else moment)


def _probed(ledger: Ledger, window: Window) -> Waiting:
    """Give the window if it has not been opened and the beginning of its folders holds objects."""
    if ledger.is_open(window):
        return set()
    page = ledger.source.objects(hour_folder(window.start_ms), PROBED_OBJECTS)
    own = [object_ for object_ in page if ledger.owner(object_) == window]
    return {owner for owner, _ in ledger.waiting(own)} if own else set()


def _scanned(
    ledger: Ledger, last: Window, after: str | None, most: int, until: float
) -> tuple[Waiting, str | None]:
    """List from a key on; give what waits there and the key for the next time, None at the end.

    The rest of a window that is to be processed anyway is passed over, so that a long backlog is
    gone through by windows, not by objects.
    """
    found: Waiting = set()
    while most > 0 and len(found) < REQUESTS_A_TICK and time.monotonic() < until:
        size = min(most, PAGE_OBJECTS)
        page = list(ledger.source.objects(after, size))
        most -= len(page)
        waiting = [(owner, one) for owner, one in ledger.waiting(page) if _is_due(owner, last)]
        found.update(owner for owner, _ in waiting)
        if len(page) < size:
            return found, None
        after = ledger.source.key(page[-1].uri)
        if waiting and waiting[-1][1] is page[-1] and waiting[-1][0] is not None:
            after = max(after, hour_folder(waiting[-1][0].end_ms))
    return found, after


def _is_due(owner: Window | None, last: Window) -> bool:
    return owner is None or owner <= last


def _to_process(ledger: Ledger, last: Window, waiting: Waiting) -> list[Window]:
    windows = {owner for owner in waiting if owner is not None and owner <= last}
    if None in waiting and last not in windows and not ledger.is_open(last):
        windows.add(last)
    return sorted(windows)


def _tell(context: dg.SensorEvaluationContext, received: Received) -> None:
    if received.messages:
        context.log.info(
            f"{received.messages} messages: {received.announced.recorded} objects announced, "
            f"{received.announced.known} known, {received.announced.outside} outside the "
            f"project's dates, {received.foreign} of other places"
        )
    if received.kept:
        context.log.warning(f"{received.kept} messages could not be deleted and come again")
    if received.unreadable:
        told = "; ".join(received.unreadable[:_UNREADABLE_TOLD])
        context.log.warning(
            f"{len(received.unreadable)} messages can't be read and stay in the queue: {told}"
        )
