"""One batch, end to end: raw objects to committed snapshots of `ods_event` and `bad_event`.

Two passes over Spark tasks with a small plan between them: stage (read, decode, transform,
enrich, judge) and merge (drop duplicates, sort, write), then one commit a table. Nothing is
visible before a commit; a run of the same batch replaces what an earlier one committed.
"""

import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.errors import PySparkException

from clickstream_dagster import errors
from clickstream_dagster.batches.objects import RawObject
from clickstream_dagster.errors import (
    ClickstreamError,
    EngineError,
    LakeError,
    PluginError,
    SettingError,
    TaskError,
)
from clickstream_dagster.ids import APP_ID, APP_ID_RULE, PROJECT_ID, PROJECT_ID_RULE
from clickstream_dagster.processing.attempt import Attempt
from clickstream_dagster.processing.contract import (
    checked_rows,
    checked_transform,
    watched,
    watched_by_job,
)
from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.engines import parallelism
from clickstream_dagster.processing.events import EVENT
from clickstream_dagster.processing.lake import Lake, LakeFile, file_schema
from clickstream_dagster.processing.merging import (
    MergeUnit,
    WriteRule,
    merge_units,
    open_data_file,
    write_bad_rows,
)
from clickstream_dagster.processing.plugins import (
    DEFAULT_ENRICHMENTS,
    DEFAULT_TRANSFORMER,
    ENRICHMENTS,
    TRANSFORMERS,
    ArrowPlugin,
    Plugin,
    PluginChoice,
    PluginContext,
    load_plugin,
    spark_schema,
)
from clickstream_dagster.processing.requests import REQUEST, ReadTally, read_requests
from clickstream_dagster.processing.staging import (
    REPORT,
    Piece,
    StagingRule,
    read_piece,
    stage_events,
    whole_buckets,
)

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyspark.sql import SparkSession

_COMMIT_TRIES = 5
_MOST_FRESHNESS_HOURS = 24 * 3_650
# Staged rows take about ten times the size of their raw objects in memory.
_BUCKET_RAW_BYTES = 64 << 20
_UNIT_ROWS = 1_500_000
_EPOCH = date(1970, 1, 1)

Progress = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """What a batch is processed with. Raises SettingError for values that can't be right.

    `sink` is the directory of the lake. `batch` names the batch: a second run under the same
    name replaces what the first one wrote. `freshness_hours` is the age at arrival above which
    an event is dropped (seed 000, "Execution parameters"). Plug-ins are named, or chosen with a
    config, whose relative paths start from `root`.
    """

    project_id: str
    app_ids: tuple[str, ...]
    sink: str
    batch: str
    freshness_hours: int = 72
    geo_database: str | None = None
    transformer: str | PluginChoice = DEFAULT_TRANSFORMER
    enrichments: tuple[str | PluginChoice, ...] = DEFAULT_ENRICHMENTS
    root: str = ""

    def __post_init__(self) -> None:
        if not PROJECT_ID.fullmatch(self.project_id):
            raise SettingError(f"project id {self.project_id!r}: write {PROJECT_ID_RULE}")
        if not self.app_ids:
            raise SettingError("no app id: name at least one app whose events are taken")
        for app_id in self.app_ids:
            if not APP_ID.fullmatch(app_id):
                raise SettingError(f"app id {app_id!r}: write {APP_ID_RULE}")
        if not self.batch:
            raise SettingError("the batch has no name")
        if not 1 <= self.freshness_hours <= _MOST_FRESHNESS_HOURS:
            raise SettingError(
                f"freshness is {self.freshness_hours} hours: write 1 to {_MOST_FRESHNESS_HOURS:,}"
            )
        if "://" in self.sink and not self.sink.startswith("file://"):
            raise SettingError(f"sink {self.sink}: the embedded catalog needs a local directory")


def process_batch(
    spark: "SparkSession",
    settings: BatchSettings,
    objects: Sequence[RawObject],
    progress: Progress | None = None,
) -> BatchCounters:
    """Process raw objects as one batch and commit them to the lake.

    Without objects, the result is an empty batch, and what an earlier attempt wrote is removed.
    Raises ClickstreamError; whatever it was, the lake is as before and the batch can be run again.
    """
    tell = progress or (lambda message: None)
    context = PluginContext(
        settings.project_id, settings.app_ids, settings.geo_database, settings.root
    )
    steps = [
        load_plugin(settings.transformer, TRANSFORMERS, context),
        *(load_plugin(name, ENRICHMENTS, context) for name in settings.enrichments),
    ]
    for step in steps:
        step.check()
    lake = Lake(settings.sink, settings.project_id)
    try:
        with Attempt(lake, settings.batch) as attempt:
            staged = _stage(spark, steps, settings, objects, attempt.directory, tell)
            return _merge_and_commit(spark, settings, lake, attempt, staged, tell)
    except OSError as error:
        raise LakeError(
            f"the batch {settings.batch} could not be written to {settings.sink}: {error}; mend"
            " that and run the batch again: it ends as if nothing had happened"
        ) from error
    except PySparkException as error:
        unwatched = [step.name for step in steps if not isinstance(step, ArrowPlugin)]
        raise _task_error(settings.batch, error, unwatched) from error


def _task_error(
    batch: str, error: "PySparkException", unwatched: Sequence[str]
) -> ClickstreamError:
    """Give the error of a task as the task raised it; Spark hands on its text only.

    `unwatched` are the plug-ins on DataFrames: what fails in them comes from Spark itself.
    """
    text = str(error)
    found = re.search(r"(?:\w+\.)*(SourceError|SettingError|LakeError|PluginError): (.*)", text)
    if found:
        return getattr(errors, found[1])(found[2].strip())
    own = re.search(r"(?:\w+\.)*TaskError: (.*)", text)
    if own:
        return TaskError(
            f"a task of the batch {batch} failed: {own[1].strip()};"
            " nothing of it was committed, run it again"
        )
    if any(sign in text for sign in ("UNAVAILABLE", "RETRIES_EXCEEDED", "Connection refused")):
        return EngineError(
            f"the engine has stopped while it was at the batch {batch} (an interrupt ends it, too);"
            " nothing of the batch was committed, run it again"
        )
    told = [line.strip() for line in text.splitlines() if len(line.strip()) > 2]
    if unwatched:
        return PluginError(
            f"plug-in {' or '.join(unwatched)} failed in a task of the batch {batch}:"
            f" {told[-1] if told else type(error).__name__}; nothing of it was committed"
        )
    return TaskError(
        f"a task of the batch {batch} failed: {told[-1] if told else type(error).__name__};"
        " nothing of it was committed, run it again"
    )


@dataclass(frozen=True, slots=True)
class _Staged:
    """What the first pass leaves for the second."""

    counters: BatchCounters
    pieces: Sequence[Piece]
    bad_paths: Sequence[str]


def _stage(
    spark: "SparkSession",
    steps: Sequence[Plugin],
    settings: BatchSettings,
    objects: Sequence[RawObject],
    directory: str,
    tell: Progress,
) -> _Staged:
    counters = BatchCounters()
    if not objects:
        return _Staged(counters, [], [])
    started = time.monotonic()
    size = sum(raw.size for raw in objects)
    tell(f"reading {len(objects):,} raw objects, {size / 1e6:,.1f} MB")
    shares = _equal_shares(objects, lambda raw: raw.size, parallelism())
    rule = StagingRule(
        directory=directory,
        app_ids=settings.app_ids,
        freshness_hours=settings.freshness_hours,
        buckets=max(1, -(-size // _BUCKET_RAW_BYTES)),
    )
    read = partial(_read_share, shares=shares, directory=directory)
    # Neighbouring Arrow steps run as one function of a task: rows don't leave Python between.
    fused = [watched_by_job(read, "reading")]
    rest = list(steps)
    while rest and isinstance(rest[0], ArrowPlugin):
        fused.append(watched(rest.pop(0), keeps_rows=len(fused) > 1))
    stage = watched_by_job(partial(stage_events, rule=rule), "staging")
    tasks = spark.range(0, len(shares), 1, len(shares))
    if rest:
        schema = EVENT if len(fused) > 1 else REQUEST
        data = tasks.mapInArrow(_chain(fused), spark_schema(schema))
        unwatched: list[str] = []
        while rest:
            if isinstance(rest[0], ArrowPlugin):
                tail: list[Callable] = [checked_rows(unwatched)]
                while rest and isinstance(rest[0], ArrowPlugin):
                    tail.append(watched(rest.pop(0), keeps_rows=True))
                data = data.mapInArrow(_chain(tail), spark_schema(EVENT))
            else:
                unwatched.append(rest[0].name)
                data = checked_transform(rest.pop(0), data)
        last = _chain([checked_rows(unwatched), stage])
        reports = data.mapInArrow(last, spark_schema(REPORT))
    else:
        reports = tasks.mapInArrow(_chain([*fused, stage]), spark_schema(REPORT))
    pieces: list[Piece] = []
    bad_paths: list[str] = []
    for row in reports.collect():
        value = json.loads(row.value)
        if row.kind == "tally":
            counters.add(value)
        elif row.kind == "piece":
            pieces.append(read_piece(value))
        else:
            bad_paths.append(value["path"])
    for number in range(len(shares)):
        with open(_tally_path(directory, number), "rb") as file:
            counters.add(json.load(file))
    counters.decoded = counters.requests - counters.bad_requests
    tell(
        f"decoded {counters.events:,} events of {counters.requests:,} requests"
        f" in {time.monotonic() - started:.1f} s"
    )
    return _Staged(counters, pieces, bad_paths)


def _chain(functions: Sequence[Callable]) -> Callable:
    def chained(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for function in functions:
            batches = function(batches)
        return batches

    return chained


def _read_share(
    ids: Iterator[pa.RecordBatch], shares: Sequence[Sequence[RawObject]], directory: str
) -> Iterator[pa.RecordBatch]:
    """Read the raw objects of the shares that a task's rows name."""
    for batch in ids:
        for number in batch.column(0).to_pylist():
            tally = ReadTally()
            yield from read_requests(shares[number], tally)
            with open(_tally_path(directory, number), "w") as file:
                json.dump(asdict(tally), file)


def _tally_path(directory: str, number: int) -> str:
    return os.path.join(directory, f"read-{number}.json")


def _equal_shares(items: Sequence[T], weight: Callable[[T], int], count: int) -> list[list[T]]:
    """Deal items out to `count` shares or fewer, the heaviest first to the lightest share."""
    shares: list[list[T]] = [[] for _ in range(max(1, min(count, len(items))))]
    weights = [0] * len(shares)
    for item in sorted(items, key=weight, reverse=True):
        lightest = weights.index(min(weights))
        shares[lightest].append(item)
        weights[lightest] += weight(item)
    return shares


def _merge_and_commit(
    spark: "SparkSession",
    settings: BatchSettings,
    lake: Lake,
    attempt: Attempt,
    staged: _Staged,
    tell: Progress,
) -> BatchCounters:
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    started = time.monotonic()
    conflicts = (CommitFailedException, ValidationException)
    for _ in range(_COMMIT_TRIES):
        counters = BatchCounters(**staged.counters.as_dict())
        try:
            _merge_events(spark, settings, lake, attempt, staged, counters)
            break
        except conflicts:
            # Another batch has committed since the lake was read: merge against its rows, too.
            attempt.remove_uncommitted()
            tell("another batch has changed the lake meanwhile: merging again")
    else:
        raise _too_many_conflicts(settings)
    for _ in range(_COMMIT_TRIES):
        try:
            _write_bad(settings, lake, attempt, staged, counters)
            break
        except conflicts:
            attempt.remove_uncommitted()
    else:
        raise _too_many_conflicts(settings)
    tell(
        f"committed {counters.written:,} events in {counters.data_files:,} data files,"
        f" {counters.bad:,} bad records in {time.monotonic() - started:.1f} s"
    )
    return counters


def _too_many_conflicts(settings: BatchSettings) -> LakeError:
    return LakeError(
        f"the batch {settings.batch} could not be committed: other writers changed the lake"
        f" {_COMMIT_TRIES} times meanwhile; run it again"
    )


def _merge_events(
    spark: "SparkSession",
    settings: BatchSettings,
    lake: Lake,
    attempt: Attempt,
    staged: _Staged,
    counters: BatchCounters,
) -> None:
    table = lake.table("ods_event")
    rule = _write_rule(table, settings, attempt)
    live = lake.files("ods_event")
    of_batch = [file for file in live if file.may_hold(settings.batch)]
    replaced = [file for file in of_batch if file.holds_only(settings.batch)]
    shared = [file for file in of_batch if not file.holds_only(settings.batch)]

    written: list[str] = []
    gone: dict[str, set[int]] = {file.path: set() for file in shared}
    for value in _run_merge(spark, _units(staged.pieces, live, replaced, shared), rule):
        if "tally" in value:
            counters.add(value["tally"])
        elif "file" in value:
            written.append(value["file"])
        else:
            gone.setdefault(value["path"], set()).update(value["rows"])
    corrected = [file for file in live if file.path in gone]
    rewritten = [_rewrite(file, gone[file.path], rule) for file in corrected]
    written += [path for path in rewritten if path]
    counters.data_files = len(written)
    lake.commit(
        table,
        remove=[*replaced, *corrected],
        add=written,
        properties=_snapshot_properties(settings, attempt, counters),
    )


def _write_bad(
    settings: BatchSettings, lake: Lake, attempt: Attempt, staged: _Staged, counters: BatchCounters
) -> None:
    table = lake.table("bad_event")
    replaced = [file for file in lake.files("bad_event") if file.holds_only(settings.batch)]
    lake.commit(
        table,
        remove=replaced,
        add=write_bad_rows(staged.bad_paths, _write_rule(table, settings, attempt)),
        properties=_snapshot_properties(settings, attempt, counters),
    )


def _write_rule(table: "Table", settings: BatchSettings, attempt: Attempt) -> WriteRule:
    return WriteRule(
        location=table.location().removeprefix("file://"),
        schema=file_schema(table),
        batch=settings.batch,
        attempt=attempt.id,
    )


def _units(
    pieces: Sequence[Piece],
    live: Sequence[LakeFile],
    replaced: Sequence[LakeFile],
    shared: Sequence[LakeFile],
) -> list[MergeUnit]:
    """Group staged pieces by app and day; a large day is cut at bucket borders."""
    gone = {file.path for file in replaced}
    shared_paths = frozenset(file.path for file in shared)
    lake_files: dict[tuple[object, ...], list[str]] = {}
    for file in live:
        if file.path not in gone:
            lake_files.setdefault(file.partition, []).append(file.path)
    groups: dict[tuple[object, ...], list[Piece]] = {}
    total = sum(piece.rows for piece in pieces)
    limit = min(_UNIT_ROWS, max(1, -(-total // parallelism())))
    for piece in pieces:
        groups.setdefault((piece.app_id, piece.event_date), []).append(piece)
    units: list[MergeUnit] = []
    for (app_id, event_date), group in sorted(groups.items()):
        epoch_day = (event_date - _EPOCH).days
        known = tuple(lake_files.get((app_id, epoch_day), ()))
        for part in whole_buckets(group, limit):
            units.append(
                MergeUnit(
                    name=f"{len(units):05d}",
                    pieces=tuple(part),
                    lake_files=known,
                    shared_files=shared_paths & set(known),
                )
            )
    return units


def _run_merge(
    spark: "SparkSession", units: Sequence[MergeUnit], rule: WriteRule
) -> Iterator[dict]:
    if not units:
        return
    shares = _equal_shares(units, lambda unit: unit.rows, parallelism())

    def merge(ids: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in ids:
            for number in batch.column(0).to_pylist():
                yield from merge_units(shares[number], rule)

    tasks = spark.range(0, len(shares), 1, len(shares))
    for row in tasks.mapInArrow(merge, spark_schema(REPORT)).collect():
        value = json.loads(row.value)
        if row.kind == "tally":
            yield {"tally": value}
        elif row.kind == "file":
            yield {"file": value["path"]}
        else:
            yield value


def _rewrite(file: LakeFile, rows: set[int], rule: WriteRule) -> str | None:
    """Write a live file again without some rows and without rows of the batch at hand."""
    path = os.path.join(
        os.path.dirname(file.path), f"{rule.attempt}-corrected-{uuid.uuid4().hex[:8]}.parquet"
    )
    source = pq.ParquetFile(file.path)
    first = kept = 0
    with open_data_file(path, rule.schema) as writer:
        for number in range(source.num_row_groups):
            group = source.read_row_group(number)
            keep = np.asarray(pc.not_equal(group.column("ingest_batch"), rule.batch)).copy()
            keep[[row - first for row in rows if first <= row < first + group.num_rows]] = False
            first += group.num_rows
            kept += int(keep.sum())
            part = group.filter(pa.array(keep))
            # A file of an earlier version lacks the columns that have been added since.
            columns = [
                part.column(field.name)
                if field.name in part.column_names
                else pa.nulls(part.num_rows, field.type)
                for field in rule.schema
            ]
            writer.write_table(pa.table(columns, schema=rule.schema))
    if kept:
        return path
    os.remove(path)
    return None


def _snapshot_properties(
    settings: BatchSettings, attempt: Attempt, counters: BatchCounters
) -> dict[str, str]:
    counts = {f"clickstream.{name}": str(count) for name, count in counters.as_dict().items()}
    return {
        "clickstream.batch": settings.batch,
        "clickstream.attempt": attempt.id,
        **counts,
    }
