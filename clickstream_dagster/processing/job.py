"""One batch, end to end: raw objects to committed snapshots of `ods_event` and `bad_event`.

Two passes over Spark tasks with a small plan between them: stage (read, decode, transform,
enrich, judge) and merge (drop duplicates, sort, write), then one commit a table. Nothing is
visible before a commit; a run of the same batch replaces what an earlier one committed.
"""

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clickstream_dagster.batches.objects import RawObject
from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.engines import parallelism
from clickstream_dagster.processing.errors import LakeError, SettingError
from clickstream_dagster.processing.ids import APP_ID, APP_ID_RULE, PROJECT_ID, PROJECT_ID_RULE
from clickstream_dagster.processing.lake import Lake, LakeFile, file_schema
from clickstream_dagster.processing.merging import (
    MergeUnit,
    WriteRule,
    merge_units,
    open_data_file,
    write_bad_rows,
)
from clickstream_dagster.processing.plugins import (
    ENRICHMENTS,
    TRANSFORMERS,
    ArrowPlugin,
    Plugin,
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
)

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyspark.sql import SparkSession

_COMMIT_TRIES = 5
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
    an event is dropped (seed 000, "Execution parameters").
    """

    project_id: str
    app_ids: tuple[str, ...]
    sink: str
    batch: str
    freshness_hours: int = 72
    geo_database: str | None = None
    transformer: str = "sdk"
    enrichments: tuple[str, ...] = field(default=("ua", "ip"))

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
        if self.freshness_hours < 1:
            raise SettingError(f"freshness is {self.freshness_hours} hours: write 1 or more")
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
    context = PluginContext(settings.project_id, settings.app_ids, settings.geo_database)
    steps = [
        load_plugin(settings.transformer, TRANSFORMERS, context),
        *(load_plugin(name, ENRICHMENTS, context) for name in settings.enrichments),
    ]
    for step in steps:
        step.check()
    lake = Lake(settings.sink, settings.project_id)
    staging = _Staging(lake, settings.batch)
    try:
        counters, pieces, bad_paths = _stage(spark, steps, settings, objects, staging, tell)
        return _merge_and_commit(spark, settings, lake, staging, counters, pieces, bad_paths, tell)
    except OSError as error:
        raise LakeError(
            f"the batch {settings.batch} could not be written to {settings.sink}: {error}; mend"
            " that and run the batch again: the lake has not been changed"
        ) from error
    finally:
        staging.remove()


class _Staging:
    """The directory of an attempt's intermediate files, and the list of files it may leave.

    What a killed attempt of the same batch has left is removed when the next one starts.
    """

    def __init__(self, lake: Lake, batch: str) -> None:
        self.attempt = uuid.uuid4().hex[:12]
        self._batch_directory = os.path.join(
            lake.root, "_staging", lake.project_id, re.sub(r"[^\w.=-]", "_", batch)
        )
        self.directory = os.path.join(self._batch_directory, self.attempt)
        self._remove_leftovers(lake)
        os.makedirs(self.directory)

    def _remove_leftovers(self, lake: Lake) -> None:
        if not os.path.isdir(self._batch_directory):
            return
        live = {path for name in ("ods_event", "bad_event") for path in lake.data_files(name)}
        for attempt in os.listdir(self._batch_directory):
            for name in ("ods_event", "bad_event"):
                for path in _files_of_attempt(lake, name, attempt):
                    if path not in live:
                        os.remove(path)
        shutil.rmtree(self._batch_directory)

    def remove(self) -> None:
        """Remove the directory, and the batch's when nothing else is in it."""
        shutil.rmtree(self.directory, ignore_errors=True)
        if os.path.isdir(self._batch_directory) and not os.listdir(self._batch_directory):
            os.rmdir(self._batch_directory)


def _files_of_attempt(lake: Lake, table: str, attempt: str) -> Iterator[str]:
    location = os.path.join(lake.root, lake.project_id, table, "data")
    for directory, _, names in os.walk(location):
        for name in names:
            if name.startswith(f"{attempt}-"):
                yield os.path.join(directory, name)


def _stage(
    spark: "SparkSession",
    steps: Sequence[Plugin],
    settings: BatchSettings,
    objects: Sequence[RawObject],
    staging: _Staging,
    tell: Progress,
) -> tuple[BatchCounters, list[Piece], list[str]]:
    counters = BatchCounters()
    if not objects:
        return counters, [], []
    started = time.monotonic()
    size = sum(raw.size for raw in objects)
    tell(f"reading {len(objects):,} raw objects, {size / 1e6:,.1f} MB")
    shares = _equal_shares(objects, lambda raw: raw.size, parallelism())
    rule = StagingRule(
        directory=staging.directory,
        app_ids=settings.app_ids,
        freshness_hours=settings.freshness_hours,
        buckets=max(1, -(-size // _BUCKET_RAW_BYTES)),
    )
    read = partial(_read_share, shares=shares, directory=staging.directory)
    # Neighbouring Arrow steps run as one function of a task: rows don't leave Python between.
    fused = [read]
    rest = list(steps)
    while rest and isinstance(rest[0], ArrowPlugin):
        fused.append(rest.pop(0).apply)
    stage = partial(stage_events, rule=rule)
    tasks = spark.range(0, len(shares), 1, len(shares))
    if rest:
        schema = steps[len(fused) - 2].output_schema if len(fused) > 1 else REQUEST
        data = tasks.mapInArrow(_chain(fused), spark_schema(schema))
        for step in rest:
            data = step.transform(data)
        reports = data.mapInArrow(stage, spark_schema(REPORT))
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
        with open(_tally_path(staging.directory, number), "rb") as file:
            counters.add(json.load(file))
    counters.decoded = counters.requests - counters.bad_requests
    tell(
        f"decoded {counters.events:,} events of {counters.requests:,} requests"
        f" in {time.monotonic() - started:.1f} s"
    )
    return counters, pieces, bad_paths


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
    staging: _Staging,
    staged: BatchCounters,
    pieces: Sequence[Piece],
    bad_paths: Sequence[str],
    tell: Progress,
) -> BatchCounters:
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    for _ in range(_COMMIT_TRIES):
        counters = BatchCounters(**staged.as_dict())
        written: list[str] = []
        try:
            _merge(spark, settings, lake, staging, counters, pieces, bad_paths, written, tell)
        except (CommitFailedException, ValidationException):
            # Another batch has committed since the lake was read: merge against its rows, too.
            _remove_files(written)
            tell("another batch has changed the lake meanwhile: merging again")
            continue
        except BaseException:
            _remove_files(set(written) - set(lake.data_files("ods_event")))
            raise
        return counters
    raise LakeError(
        f"the batch {settings.batch} could not be committed: other writers changed the lake"
        f" {_COMMIT_TRIES} times meanwhile; run it again"
    )


def _remove_files(paths: Sequence[str] | set[str]) -> None:
    for path in paths:
        if os.path.exists(path):
            os.remove(path)


def _merge(
    spark: "SparkSession",
    settings: BatchSettings,
    lake: Lake,
    staging: _Staging,
    counters: BatchCounters,
    pieces: Sequence[Piece],
    bad_paths: Sequence[str],
    written: list[str],
    tell: Progress,
) -> None:
    started = time.monotonic()
    table, bad_table = lake.table("ods_event"), lake.table("bad_event")
    rule = _write_rule(table, settings, staging)
    live = lake.files("ods_event")
    of_batch = [file for file in live if file.may_hold(settings.batch)]
    replaced = [file for file in of_batch if file.holds_only(settings.batch)]
    shared = [file for file in of_batch if not file.holds_only(settings.batch)]

    superseded: dict[str, set[int]] = {file.path: set() for file in shared}
    units = _units(pieces, live, replaced, shared)
    for value in _run_merge(spark, units, rule):
        if "tally" in value:
            counters.add(value["tally"])
        elif "file" in value:
            written.append(value["file"])
        else:
            superseded.setdefault(value["path"], set()).update(value["rows"])
    by_path = {file.path: file for file in live}
    corrected = [by_path[path] for path in superseded]
    with ThreadPoolExecutor(4) as pool:
        rewritten = pool.map(lambda file: _rewrite(file, superseded[file.path], rule), corrected)
        written += [path for path in rewritten if path]
    counters.data_files = len(written)

    bad_rule = _write_rule(bad_table, settings, staging)
    bad_files = write_bad_rows(bad_paths, bad_rule) if bad_paths else []
    written += bad_files
    properties = _snapshot_properties(settings, staging, counters)
    bad_replaced = [file for file in lake.files("bad_event") if file.holds_only(settings.batch)]
    lake.commit(bad_table, remove=bad_replaced, add=bad_files, properties=properties)
    lake.commit(
        table,
        remove=[*replaced, *corrected],
        add=[path for path in written if path not in set(bad_files)],
        properties=properties,
    )
    tell(
        f"committed {counters.written:,} events in {counters.data_files:,} data files,"
        f" {counters.bad:,} bad records in {time.monotonic() - started:.1f} s"
    )


def _write_rule(table: "Table", settings: BatchSettings, staging: _Staging) -> WriteRule:
    return WriteRule(
        location=table.location().removeprefix("file://"),
        schema=file_schema(table),
        batch=settings.batch,
        attempt=staging.attempt,
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
        for part in _cut_at_buckets(group, limit):
            units.append(
                MergeUnit(
                    name=f"{len(units):05d}",
                    app_id=app_id,
                    event_date=event_date,
                    pieces=tuple(part),
                    lake_files=known,
                    shared_files=shared_paths & set(known),
                )
            )
    return units


def _cut_at_buckets(pieces: Sequence[Piece], limit: int) -> list[list[Piece]]:
    parts: list[list[Piece]] = []
    rows = 0
    previous = None
    for piece in sorted(pieces, key=lambda piece: piece.bucket):
        if not parts or (rows >= limit and piece.bucket != previous):
            parts.append([])
            rows = 0
        parts[-1].append(piece)
        rows += piece.rows
        previous = piece.bucket
    return parts


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
    table = pq.ParquetFile(file.path).read()
    keep = pc.not_equal(table.column("ingest_batch"), rule.batch)
    mask = keep.to_numpy(zero_copy_only=False).copy()
    mask[list(rows)] = False
    kept = table.filter(pa.array(mask))
    if kept.num_rows == 0:
        return None
    path = os.path.join(
        os.path.dirname(file.path), f"{rule.attempt}-corrected-{uuid.uuid4().hex[:8]}.parquet"
    )
    arrays = [kept.column(name).combine_chunks() for name in rule.schema.names]
    with open_data_file(path, rule.schema) as writer:
        writer.write_table(pa.table(arrays, schema=rule.schema))
    return path


def _snapshot_properties(
    settings: BatchSettings, staging: _Staging, counters: BatchCounters
) -> dict[str, str]:
    counts = {f"clickstream.{name}": str(count) for name, count in counters.as_dict().items()}
    return {
        "clickstream.batch": settings.batch,
        "clickstream.attempt": staging.attempt,
        **counts,
    }
