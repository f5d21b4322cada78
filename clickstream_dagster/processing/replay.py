"""Bad records once more: what is good by now goes to `ods_event`, and leaves `bad_event`.

A replayed row is of the batch that brought its raw object, with its arrival and its place in the
request, as if it had been good from the start. So a later run of that batch replaces it by itself.
`ods_event` is committed before `bad_event`: a process that is killed between the two leaves an
event in both, which the next replay counts as a duplicate and takes out of `bad_event`.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from clickstream_dagster.errors import LakeError, PluginError
from clickstream_dagster.processing.attempt import Attempt
from clickstream_dagster.processing.bad_records import (
    BadReader,
    Found,
    Part,
    Selection,
    Slice,
    find_bad_records,
    replayed_records,
)
from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.engines import parallelism
from clickstream_dagster.processing.job import clear_errors, load_steps
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.processing.merge_pass import (
    COMMIT_TRIES,
    merge_events,
    rewrite,
    snapshot_properties,
    with_retries,
    write_rule,
)
from clickstream_dagster.processing.merging import (
    BAD_KEY,
    arrival_day,
    bad_keys,
    read_bad_rows,
    staged_bad_keys,
    write_bad_rows,
)
from clickstream_dagster.processing.plugins import Plugin
from clickstream_dagster.processing.settings import BatchSettings
from clickstream_dagster.processing.shares import equal_shares
from clickstream_dagster.processing.stage_pass import Progress, Source, Staged, stage_requests
from clickstream_dagster.processing.staging import OriginalBatches, Piece

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LOCK = "replay of bad records"


@dataclass(slots=True)
class ReplayCounters:
    """What became of the bad records that were chosen, by reason.

    `chosen = replayed + left`. `mended` ones have left `bad_event`; the other replayed ones are bad
    still, for whatever reason. `left` are those that hold no whole request or event. In `batch`
    each replayed record is a request, and its counts balance as those of any batch.
    """

    batch: BatchCounters = field(default_factory=BatchCounters)
    chosen: Counter[str] = field(default_factory=Counter)
    replayed: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)

    @property
    def left(self) -> Counter[str]:
        return self.chosen - self.replayed

    def as_dict(self) -> dict[str, int]:
        """Give the counts by name, those of `batch` among them."""
        return {
            "chosen": self.chosen.total(),
            "left": self.left.total(),
            "mended": self.mended.total(),
            **self.batch.as_dict(),
        }

    def imbalance(self) -> str | None:
        """Say what does not add up, None when every record is accounted for."""
        if self.batch.requests != self.replayed.total():
            return (
                f"{self.replayed.total()} records were replayed as {self.batch.requests} requests"
            )
        return self.batch.imbalance()


def replay_bad_records(
    spark: Callable[[], "SparkSession"],
    settings: BatchSettings,
    selection: Selection,
    progress: Progress | None = None,
) -> ReplayCounters:
    """Process bad records again, a bounded number at a time, and commit what has changed.

    `spark` gives the session; it is asked for when there is something to replay. The name of the
    batch in `settings` has no meaning. Raises ClickstreamError; what was committed before that is
    whole, and another replay goes on from there.
    """
    tell = progress or (lambda message: None)
    steps = load_steps(settings)
    lake = Lake(settings.sink, settings.project_id, settings.s3)
    total = ReplayCounters()
    with clear_errors(replace(settings, batch=_LOCK), steps):
        found = find_bad_records(lake, selection)
        total.chosen.update(found.records)
        for number, slice_ in enumerate(found.slices, 1):
            started = time.monotonic()
            counters: BatchCounters | None = None
            for _ in range(COMMIT_TRIES):
                # An attempt commits to a table once: what it writes beside that is known by it.
                with Attempt(lake, _LOCK) as attempt:
                    part = _SliceReplay(spark(), settings, selection, lake, steps, attempt, tell)
                    outcome = part.run(slice_)
                # To a later try, what the first one has written is a duplicate.
                counters = counters or outcome.counters
                if outcome.done:
                    break
                tell("a batch of these records was run meanwhile: merging again")
            else:
                raise LakeError(
                    "batches of the bad records were run again and again meanwhile; wait for their"
                    " end, then replay again"
                )
            bad_repeated = outcome.counters.bad_repeated
            total.batch.add(counters.as_dict() | {"bad_repeated": bad_repeated})
            total.replayed.update(outcome.replayed)
            total.mended.update(outcome.mended)
            tell(
                f"replayed part {number} of {len(found.slices)} in"
                f" {time.monotonic() - started:.1f} s: {total.mended.total():,} of"
                f" {total.replayed.total():,} bad records are mended"
            )
    return total


def preview(settings: BatchSettings, selection: Selection) -> Found:
    """Give what a replay would process, with the sizes of the records; nothing is changed."""
    lake = Lake(settings.sink, settings.project_id, settings.s3)
    return find_bad_records(lake, selection, sizes=True)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a try at a slice has done; if not `done`, `bad_event` is as before."""

    counters: BatchCounters
    replayed: Counter[str]
    mended: Counter[str]
    done: bool


@dataclass(frozen=True, slots=True)
class _SliceReplay:
    spark: "SparkSession"
    settings: BatchSettings
    selection: Selection
    lake: Lake
    steps: Sequence[Plugin]
    attempt: Attempt
    tell: Progress

    def run(self, slice_: Slice) -> _Outcome:
        """Replay and commit a slice."""
        # No other rows have this name, so none are taken for an earlier attempt's.
        settings = replace(self.settings, batch=f"replay-{self.attempt.id}")
        objects = sorted(slice_.batches)
        batches = OriginalBatches(
            pa.array(objects, pa.string()),
            pa.array([slice_.batches[one] for one in objects], pa.string()),
            settings.batch,
        )
        staged, replayed = self._staged(settings, slice_, batches)
        still_bad = staged_bad_keys(self.lake.storage, staged.bad_paths)
        gone = replayed.keys() - still_bad
        counters, done = self._commit(settings, staged, slice_, gone)
        mended = Counter(replayed[key] for key in gone)
        return _Outcome(counters, Counter(replayed.values()), mended, done)

    def _commit(
        self, settings: BatchSettings, staged: Staged, slice_: Slice, gone: Collection[bytes]
    ) -> tuple[BatchCounters, bool]:
        """Commit both tables; give the counts, and False when it has to be done again."""
        before = _snapshot_id(self.lake)
        counters = with_retries(
            self.lake,
            "ods_event",
            settings.batch,
            self.attempt,
            self.tell,
            lambda: merge_events(
                self.spark, settings, self.lake, self.attempt, staged, replaces=False
            ),
        )
        done = with_retries(
            self.lake,
            "bad_event",
            settings.batch,
            self.attempt,
            self.tell,
            lambda: self._commit_bad(settings, staged, counters, slice_, gone, before),
        )
        return counters, done

    def _staged(
        self, settings: BatchSettings, slice_: Slice, batches: OriginalBatches
    ) -> tuple[Staged, dict[bytes, str]]:
        """Stage the whole requests and the events apart; give the records that were read, too."""
        storage = self.lake.storage
        counters = BatchCounters()
        pieces: list[Piece] = []
        bad_paths: list[str] = []
        replayed: dict[bytes, str] = {}
        for whole, folder in ((True, "requests"), (False, "events")):
            parts = [part for part in slice_.parts if part.rows(whole)]
            if not parts:
                continue
            directory = f"{self.attempt.directory}/{folder}"
            source = Source(
                equal_shares(parts, partial(Part.rows, whole=whole), parallelism(self.spark)),
                BadReader(storage, directory, self.selection, whole),
                sum(part.bytes for part in parts),
            )
            staged = stage_requests(
                self.spark, self.steps, settings, source, storage, directory, batches
            )
            if not whole:
                self._require_each_event(staged.counters)
            counters.add(staged.counters.as_dict())
            pieces += staged.pieces
            bad_paths += staged.bad_paths
            replayed |= replayed_records(storage, directory)
        return Staged(counters, pieces, bad_paths), replayed

    def _require_each_event(self, counters: BatchCounters) -> None:
        """Raise PluginError unless each event that was given apart has come out as one."""
        if counters.events != counters.requests or counters.bad_requests:
            raise PluginError(
                f"plug-in {self.steps[0].name} gave {counters.events - counters.bad_requests:,}"
                f" events for {counters.requests:,} that are replayed apart, each as an array of"
                " one; it can't take the payloads of its bad events for events: run their batches"
                " again instead"
            )
        # An event apart keeps its place in the request, so no first one is seen.
        counters.with_events, counters.empty = counters.decoded, 0

    def _commit_bad(
        self,
        settings: BatchSettings,
        staged: Staged,
        counters: BatchCounters,
        slice_: Slice,
        gone: Collection[bytes],
        before: int | None,
    ) -> bool:
        """Take mended records out of `bad_event` and put in those with a new reason.

        Gives False, and changes nothing, when one of their batches has been committed since the
        snapshot `before` of `ods_event`: it may have taken mended events back.
        """
        table = self.lake.table("bad_event")
        if not _batches_since(self.lake, before).isdisjoint(slice_.batches.values()):
            return False
        rule = write_rule(self.lake, table, settings, self.attempt)
        live = self.lake.files("bad_event")
        days = {file.path: arrival_day(file) for file in live}
        will_write = partial(self.attempt.will_write, "bad_event")
        written, counters.bad_repeated = write_bad_rows(staged.bad_paths, days, rule, will_write)
        changed: list[str] = []
        replaced = []
        for file in live if gone else []:
            if days[file.path] not in slice_.days:
                continue
            keys = (
                key
                for rows in read_bad_rows(self.lake.storage, file.path, BAD_KEY)
                for key in bad_keys(rows)
            )
            places = {place for place, key in enumerate(keys) if key in gone}
            if places:
                replaced.append(file)
                will_write([file.folder])
                path = rewrite(file, places, rule)
                changed += [path] if path else []
        if written or replaced:
            with self.attempt.committing("bad_event"):
                self.lake.commit(
                    table,
                    remove=replaced,
                    add=[*written, *changed],
                    properties=snapshot_properties(settings, self.attempt, counters),
                )
        return True


def _snapshot_id(lake: Lake) -> int | None:
    snapshot = lake.table("ods_event").current_snapshot()
    return snapshot.snapshot_id if snapshot else None


def _batches_since(lake: Lake, before: int | None) -> set[str]:
    """Give the batches that were committed to `ods_event` after a snapshot."""
    table = lake.table("ods_event")
    found: set[str] = set()
    snapshot = table.current_snapshot()
    while snapshot is not None and snapshot.snapshot_id != before:
        if snapshot.summary is not None and (name := snapshot.summary["clickstream.batch"]):
            found.add(name)
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
    return found
