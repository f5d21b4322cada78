"""Second pass over a batch: merge staged events with the lake, as tasks, and commit both tables."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clickstream_dagster.errors import LakeError
from clickstream_dagster.processing.attempt import Attempt
from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.engines import parallelism
from clickstream_dagster.processing.lake import (
    ATTEMPT,
    TABLES,
    Lake,
    LakeFile,
    file_schema,
    folder_of,
)
from clickstream_dagster.processing.merging import (
    MergeUnit,
    WriteRule,
    arrival_day,
    merge_units,
    open_data_file,
    with_columns,
    write_bad_rows,
)
from clickstream_dagster.processing.plugins import spark_schema
from clickstream_dagster.processing.settings import BatchSettings
from clickstream_dagster.processing.shares import equal_shares
from clickstream_dagster.processing.stage_pass import Progress, Staged
from clickstream_dagster.processing.staging import REPORT, Piece, whole_buckets
from clickstream_dagster.processing.workers import in_worker

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyspark.sql import SparkSession

T = TypeVar("T")

COMMIT_TRIES = 20
_READERS = 8

# An event takes about 70 bytes of a data file: files of 140 to 280 MB. A bucket is not cut, so a
# day whose events have less than 130 raw bytes each may get larger units; its files don't.
MIN_UNIT_ROWS = 2_000_000
MAX_UNIT_ROWS = 4_000_000
_EPOCH = date(1970, 1, 1)


def merge_and_commit(
    spark: "SparkSession",
    settings: BatchSettings,
    lake: Lake,
    attempt: Attempt,
    staged: Staged,
    tell: Progress,
) -> BatchCounters:
    """Merge what is staged with the lake and commit both tables; give the counts of the batch.

    Raises LakeError when other writers were quicker too often.
    """
    started = time.monotonic()
    counters = with_retries(
        lake,
        "ods_event",
        settings.batch,
        attempt,
        tell,
        lambda: merge_events(spark, settings, lake, attempt, staged),
    )
    with_retries(
        lake,
        "bad_event",
        settings.batch,
        attempt,
        tell,
        lambda: _write_bad(settings, lake, attempt, staged, counters),
    )
    tell(
        f"committed {counters.written:,} events in {counters.data_files:,} data files,"
        f" {counters.bad:,} bad records in {time.monotonic() - started:.1f} s"
    )
    return counters


def with_retries(
    lake: Lake, table: str, batch: str, attempt: Attempt, tell: Progress, step: Callable[[], T]
) -> T:
    """Give what a step that ends in a commit to a table gives; it is done again after a conflict.

    Another batch that has committed since the lake was read has rows that were not looked at: what
    was written is removed, and the next try reads them. Raises LakeError after some tries; those
    that met maintenance only are not counted.
    """
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    tries = 0
    while tries < COMMIT_TRIES:
        state = lake.snapshot(table)
        try:
            return step()
        except (CommitFailedException, ValidationException):
            tries += not lake.only_maintained(table, state)
            attempt.remove_uncommitted()
            tell(f"{table} has changed meanwhile: merging again")
    raise LakeError(
        f"the batch {batch} could not be committed: other batches changed the lake"
        f" {COMMIT_TRIES} times meanwhile; run it again"
    )


def merge_events(
    spark: "SparkSession",
    settings: BatchSettings,
    lake: Lake,
    attempt: Attempt,
    staged: Staged,
    *,
    replaces: bool = True,
) -> BatchCounters:
    """Merge staged events with the lake and commit them; give the counts of the batch.

    They take the place of the batch's own rows, unless `replaces` is false: then they come on top,
    and nothing is committed when there is nothing new. Raises pyiceberg's CommitFailedException
    when another writer was quicker.
    """
    counters = BatchCounters(**staged.counters.as_dict())
    table = lake.table("ods_event")
    rule = write_rule(lake, table, settings, attempt)
    live = lake.files("ods_event")
    replaced, shared = _files_of_batch(lake, live, settings.batch) if replaces else ([], [])

    written: list[str] = []
    gone: dict[str, set[int]] = {file.path: set() for file in shared}
    units = _units(staged.pieces, live, replaced, shared, parallelism(spark))
    attempt.will_write("ods_event", {unit.folder(rule.location) for unit in units})
    for value in _run_merge(spark, units, rule, spread=staged.spread):
        if "tally" in value:
            counters.add(value["tally"])
        elif "file" in value:
            written.append(value["file"])
        else:
            gone.setdefault(value["path"], set()).update(value["rows"])
    corrected = [file for file in live if file.path in gone]
    attempt.will_write("ods_event", {file.folder for file in corrected})
    rewritten = [rewrite(file, gone[file.path], rule) for file in corrected]
    written += [path for path in rewritten if path]
    counters.data_files = len(written)
    if not (replaces or written or corrected):
        return counters
    with attempt.committing("ods_event"):
        lake.commit(
            table,
            remove=[*replaced, *corrected],
            add=written,
            properties=snapshot_properties(settings, attempt, counters),
        )
    return counters


def _files_of_batch(
    lake: Lake, live: Sequence[LakeFile], batch: str
) -> tuple[list[LakeFile], list[LakeFile]]:
    """Give the files that hold rows of a batch only, and those that hold rows of others, too.

    A file's bounds say which batches it may hold; those of several batches are looked into.
    """
    replaced = [file for file in live if file.holds_only(batch)]
    unsure = [file for file in live if file.may_hold(batch) and not file.holds_only(batch)]
    with ThreadPoolExecutor(_READERS) as pool:
        held = list(pool.map(lambda file: _holds(lake, file.path, batch), unsure))
    return replaced, [file for file, holds in zip(unsure, held, strict=True) if holds]


def _holds(lake: Lake, path: str, batch: str) -> bool:
    with lake.storage.open(path) as source:
        column = pq.ParquetFile(source).read(columns=["ingest_batch"]).column(0)
    return bool(pc.any(pc.equal(column, batch)).as_py())


def _write_bad(
    settings: BatchSettings, lake: Lake, attempt: Attempt, staged: Staged, counters: BatchCounters
) -> None:
    table = lake.table("bad_event")
    rule = write_rule(lake, table, settings, attempt)
    live = lake.files("bad_event")
    replaced, shared = _files_of_batch(lake, live, settings.batch)
    others = {file.path: arrival_day(file) for file in live if file not in replaced}
    written, counters.bad_repeated = write_bad_rows(
        staged.bad_paths, others, rule, partial(attempt.will_write, "bad_event")
    )
    attempt.will_write("bad_event", {file.folder for file in shared})
    rewritten = [rewrite(file, set(), rule) for file in shared]
    with attempt.committing("bad_event"):
        lake.commit(
            table,
            remove=[*replaced, *shared],
            add=[*written, *(path for path in rewritten if path)],
            properties=snapshot_properties(settings, attempt, counters),
        )


def write_rule(lake: Lake, table: "Table", settings: BatchSettings, attempt: Attempt) -> WriteRule:
    """Give where and how data files of a table are written."""
    return WriteRule(
        storage=lake.storage,
        location=folder_of(table),
        partition=TABLES[table.name()[-1]][1],
        schema=file_schema(table),
        batch=settings.batch,
        attempt=attempt.id,
    )


def _units(
    pieces: Sequence[Piece],
    live: Sequence[LakeFile],
    replaced: Sequence[LakeFile],
    shared: Sequence[LakeFile],
    tasks: int,
) -> list[MergeUnit]:
    """Group staged pieces by app and day; a large day is cut at bucket borders.

    A unit becomes a file, so no day is cut into smaller ones for the sake of idle cores.
    """
    gone = {file.path for file in replaced}
    shared_paths = frozenset(file.path for file in shared)
    lake_files: dict[tuple[object, ...], list[str]] = {}
    for file in live:
        if file.path not in gone:
            lake_files.setdefault(file.partition, []).append(file.path)
    groups: dict[tuple[object, ...], list[Piece]] = {}
    total = sum(piece.rows for piece in pieces)
    limit = min(MAX_UNIT_ROWS, max(MIN_UNIT_ROWS, -(-total // tasks)))
    for piece in pieces:
        groups.setdefault((piece.app_id, piece.event_date), []).append(piece)
    units: list[MergeUnit] = []
    for (app_id, event_date), group in sorted(groups.items()):
        epoch_day = (event_date - _EPOCH).days
        known = tuple(lake_files.get((app_id, epoch_day), ()))
        rows = sum(piece.rows for piece in group)
        for part in whole_buckets(group, -(-rows // max(1, rows // limit))):
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
    spark: "SparkSession", units: Sequence[MergeUnit], rule: WriteRule, *, spread: bool
) -> Iterator[dict]:
    if not units:
        return
    shares = equal_shares(units, lambda unit: unit.rows, parallelism(spark))
    merge = partial(_merge_share, shares=shares, rule=rule)
    if spread:
        merge = partial(in_worker, function=merge)
    tasks = spark.range(0, len(shares), 1, len(shares))
    for row in tasks.mapInArrow(merge, spark_schema(REPORT)).collect():
        value = json.loads(row.value)
        if row.kind == "tally":
            yield {"tally": value}
        elif row.kind == "file":
            yield {"file": value["path"]}
        else:
            yield value


def _merge_share(
    ids: Iterator[pa.RecordBatch], shares: Sequence[Sequence[MergeUnit]], rule: WriteRule
) -> Iterator[pa.RecordBatch]:
    """Merge the units of the shares that a task's rows name."""
    for batch in ids:
        for number in batch.column(0).to_pylist():
            yield from merge_units(shares[number], rule)


def rewrite(file: LakeFile, rows: set[int], rule: WriteRule) -> str | None:
    """Write a live file again without some rows and without rows of the batch at hand.

    Gives its path, None when no row is left.
    """
    path = f"{file.folder}/{rule.attempt}-corrected-{uuid.uuid4().hex[:8]}.parquet"
    first = kept = 0
    with (
        rule.storage.open(file.path) as opened,
        rule.storage.writing(path) as local,
        open_data_file(local, rule.schema) as writer,
    ):
        source = pq.ParquetFile(opened, pre_buffer=True)
        for number in range(source.num_row_groups):
            group = source.read_row_group(number)
            keep = np.asarray(pc.not_equal(group.column("ingest_batch"), rule.batch)).copy()
            keep[[row - first for row in rows if first <= row < first + group.num_rows]] = False
            first += group.num_rows
            kept += int(keep.sum())
            part = group.filter(pa.array(keep))
            if part.num_rows == 0:
                continue  # a row group without rows has no statistics, and Iceberg needs them
            writer.write_table(with_columns(part, rule.schema))
    if kept:
        return path
    rule.storage.remove([path])
    return None


def snapshot_properties(
    settings: BatchSettings, attempt: Attempt, counters: BatchCounters
) -> dict[str, str]:
    """Give what a snapshot tells of the batch that made it."""
    counts = {f"clickstream.{name}": str(count) for name, count in counters.as_dict().items()}
    return {
        "clickstream.batch": settings.batch,
        ATTEMPT: attempt.id,
        **counts,
    }
