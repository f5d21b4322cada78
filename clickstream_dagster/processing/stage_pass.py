"""First pass over a batch: read, transform, correct, enrich and stage, as tasks of the engine."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from clickstream_dagster.batches.objects import RawObject
from clickstream_dagster.errors import PluginError
from clickstream_dagster.processing.clocks import correct_clocks
from clickstream_dagster.processing.contract import (
    checked_rows,
    checked_transform,
    watched,
    watched_by_job,
)
from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.engines import parallelism
from clickstream_dagster.processing.events import EVENT
from clickstream_dagster.processing.plugins import ArrowPlugin, Plugin, spark_schema
from clickstream_dagster.processing.requests import REQUEST, ReadTally, read_requests
from clickstream_dagster.processing.settings import BatchSettings
from clickstream_dagster.processing.shares import equal_shares
from clickstream_dagster.processing.staging import (
    REPORT,
    OriginalBatches,
    Piece,
    StagingRule,
    read_piece,
    stage_events,
)
from clickstream_dagster.processing.storage import Storage
from clickstream_dagster.processing.workers import SPREAD_BYTES, Apply, in_worker

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Of one bucket of an app and day, the keys of all rows are in memory at once: a tenth of a gigabyte
# or more for a million. Rows are merged in parts; small buckets cost more than their bytes.
BUCKET_RAW_BYTES = 512 << 20

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """What tasks read: a share for each, how REQUEST rows are made of one, and the bytes in all."""

    shares: Sequence[Sequence[Any]]
    read: Callable[[Sequence[Any], ReadTally], Iterator[pa.RecordBatch]]
    size: int


@dataclass(frozen=True, slots=True)
class Staged:
    """What the first pass leaves for the second; `spread` says whether to use workers for it."""

    counters: BatchCounters
    pieces: Sequence[Piece]
    bad_paths: Sequence[str]
    spread: bool = False


def stage(
    spark: "SparkSession",
    plugins: Sequence[Plugin],
    settings: BatchSettings,
    objects: Sequence[RawObject],
    storage: Storage,
    directory: str,
    tell: Progress,
) -> Staged:
    """Stage the events of raw objects in a folder. `plugins` are the transformer and the rest.

    Raises PluginError for a plug-in on DataFrames that loses rows, and whatever a task raises.
    """
    if not objects:
        return Staged(BatchCounters(), [], [])
    started = time.monotonic()
    size = sum(raw.size for raw in objects)
    tell(f"reading {len(objects):,} raw objects, {size / 1e6:,.1f} MB")
    shares = equal_shares(objects, lambda raw: raw.size, parallelism(spark))
    source = Source(shares, partial(read_requests, s3=settings.s3), size)
    staged = stage_requests(spark, plugins, settings, source, storage, directory)
    counters = staged.counters
    tell(
        f"decoded {counters.events:,} events of {counters.requests:,} requests"
        f" in {time.monotonic() - started:.1f} s"
    )
    return staged


def stage_requests(
    spark: "SparkSession",
    plugins: Sequence[Plugin],
    settings: BatchSettings,
    source: Source,
    storage: Storage,
    directory: str,
    batches: OriginalBatches | None = None,
) -> Staged:
    """Stage the events of requests, wherever those come from; `batches` names them if given.

    Raises what `stage` does.
    """
    counters = BatchCounters()
    shares = source.shares
    rule = StagingRule(
        storage=storage,
        directory=directory,
        app_ids=settings.app_ids,
        freshness_hours=settings.freshness_hours,
        buckets=max(1, -(-source.size // BUCKET_RAW_BYTES)),
        batches=batches,
    )
    transformer, *enrichments = plugins
    notes = _Notes(storage, directory)
    steps: list[Apply | Plugin] = [
        watched_by_job(partial(_read_share, source=source, notes=notes), "reading"),
        _step(transformer, keeps_rows=False),
        watched_by_job(partial(correct_clocks, shift=settings.correct_clocks), "correcting clocks"),
        *(_step(enrichment, keeps_rows=True) for enrichment in enrichments),
        watched_by_job(partial(stage_events, rule=rule), "staging"),
    ]

    tasks = spark.range(0, len(shares), 1, len(shares))
    pieces: list[Piece] = []
    bad_paths: list[str] = []
    spread = source.size >= SPREAD_BYTES
    for row in _planned(tasks, steps, notes, spread=spread).collect():
        value = json.loads(row.value)
        if row.kind == "tally":
            counters.add(value)
        elif row.kind == "piece":
            pieces.append(read_piece(value))
        else:
            bad_paths.append(value["path"])
    on_frames = [step.name for step in plugins if not isinstance(step, ArrowPlugin)]
    if on_frames:
        _require_read(notes, len(shares), on_frames)
    for number in range(len(shares)):
        counters.add(notes.tally(number))
    counters.decoded = counters.requests - counters.bad_requests
    counters.empty = counters.decoded - counters.with_events
    _require_rows(notes, counters, enrichments)
    return Staged(counters, pieces, bad_paths, spread)


def _step(plugin: Plugin, *, keeps_rows: bool) -> Apply | Plugin:
    return watched(plugin, keeps_rows=keeps_rows) if isinstance(plugin, ArrowPlugin) else plugin


@dataclass(frozen=True, slots=True)
class _Notes:
    """What tasks leave in the staging folder for the driver: small files of counts."""

    storage: Storage
    directory: str

    def write_tally(self, number: int, tally: ReadTally) -> None:
        """Note what a share was; a share that is read twice is noted once."""
        self.storage.write(self._tally(number), json.dumps(asdict(tally)).encode())

    def tally(self, number: int) -> dict[str, int]:
        """Give the counts of a share."""
        return json.loads(self.storage.read(self._tally(number)))

    def tallies(self) -> int:
        """Give how many shares have been read to their end."""
        return len(self.storage.names(self.directory, "read-"))

    def write_rows(self, number: int, rows: int) -> None:
        """Note the rows that a task has handed over to plug-ins on DataFrames, by its first share.

        A task that is run twice, after a lost executor or for a plug-in that reads its rows twice,
        is noted once.
        """
        self.storage.write(f"{self.directory}/rows-{number}", str(rows).encode())

    def rows(self) -> list[int]:
        """Give the rows of each task that has handed some over."""
        names = self.storage.names(self.directory, "rows-")
        return [int(self.storage.read(f"{self.directory}/{name}")) for name in names]

    def _tally(self, number: int) -> str:
        return f"{self.directory}/read-{number}.json"


def _planned(
    data: "DataFrame", steps: Sequence[Apply | Plugin], notes: _Notes, *, spread: bool
) -> "DataFrame":
    """Plan the steps. Neighbours on Arrow become one function: rows stay in Python between them.

    With `spread`, a function that is the whole pass runs in a worker.
    """
    on_frames: list[str] = []
    groups = [
        (is_plugin, list(group))
        for is_plugin, group in groupby(steps, key=lambda step: isinstance(step, Plugin))
    ]
    for place, (is_plugin, group) in enumerate(groups):
        if is_plugin:
            for plugin in group:
                on_frames.append(plugin.name)
                data = checked_transform(plugin, data)
            continue
        is_last = place == len(groups) - 1
        schema = REPORT if is_last else EVENT
        if on_frames:
            group.insert(0, checked_rows(on_frames))
        function = _chain(group)
        if not on_frames and len(group) == 1:
            schema = REQUEST
        elif not on_frames and not is_last:
            # Rows that plug-ins on DataFrames take over are counted: see _require_rows.
            function = partial(_counted, function=function, notes=notes)
        if spread and len(groups) == 1:
            function = partial(in_worker, function=function)
        data = data.mapInArrow(function, spark_schema(schema))
    return data


def _chain(functions: Sequence[Apply]) -> Apply:
    def chained(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for function in functions:
            batches = function(batches)
        return batches

    return chained


def _read_share(
    ids: Iterator[pa.RecordBatch], source: Source, notes: _Notes
) -> Iterator[pa.RecordBatch]:
    """Read the shares that a task's rows name."""
    for batch in ids:
        for number in batch.column(0).to_pylist():
            tally = ReadTally()
            yield from source.read(source.shares[number], tally)
            notes.write_tally(number, tally)


def _counted(
    ids: Iterator[pa.RecordBatch], function: Apply, notes: _Notes
) -> Iterator[pa.RecordBatch]:
    """Run the function of a task, whose rows name its shares, and note how many rows it gives."""
    told = list(ids)
    rows = 0
    for batch in function(iter(told)):
        rows += batch.num_rows
        yield batch
    for number in [number for batch in told for number in batch.column(0).to_pylist()][:1]:
        notes.write_rows(number, rows)


def _require_read(notes: _Notes, shares: int, on_frames: Sequence[str]) -> None:
    """Raise PluginError when plug-ins on DataFrames did not take all rows, so reading ended."""
    if notes.tallies() < shares:
        raise PluginError(
            f"plug-in {' or '.join(on_frames)} ended before it had read all of its rows (a limit"
            " does that); an enrichment keeps every row: set bad_reason where a row must not reach"
            " the lake"
        )


def _require_rows(notes: _Notes, counters: BatchCounters, enrichments: Sequence[Plugin]) -> None:
    """Raise PluginError when enrichments on DataFrames gave fewer or more rows than they got."""
    counts = notes.rows()
    if not counts:
        return
    given = sum(counts)
    staged = counters.events + counters.discarded
    if staged != given:
        names = [step.name for step in enrichments if not isinstance(step, ArrowPlugin)]
        raise PluginError(
            f"plug-in {' or '.join(names)} got {given:,} rows and gave {staged:,}; an enrichment"
            " keeps every row: set bad_reason where a row must not reach the lake"
        )
