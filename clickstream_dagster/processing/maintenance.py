"""Maintenance of a lake: compaction, expiry of snapshots, removal of files that nothing needs.

It runs beside batches. No row changes, and a batch that commits at the same time merges once more
at most: each table's compaction is one commit, however much it has compacted.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

from clickstream_dagster.errors import LakeError, SettingError
from clickstream_dagster.processing.attempt import Attempt
from clickstream_dagster.processing.compaction import (
    COMPACTED,
    ORDER,
    Group,
    Partition,
    compact,
    plan,
)
from clickstream_dagster.processing.expiry import (
    expire_snapshots,
    remove_orphans,
    remove_stale_staging,
)
from clickstream_dagster.processing.lake import (
    ATTEMPT,
    MAINTAINED,
    TABLES,
    Lake,
    LakeFile,
    file_schema,
)
from clickstream_dagster.processing.workers import cores

if TYPE_CHECKING:
    from pyiceberg.table import Table

LOCK = "maintenance of the lake"
"""What maintenance is called where batches have their names."""

_COMMIT_TRIES = 20
_WRITERS = 2
_MANY_MANIFESTS = 50
_QUIET_MS = 24 * 3_600_000
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class MaintenanceSettings:
    """What is kept, and how much is done. Raises SettingError for values that can't be right.

    `target_mb` is the size of a compacted file, `max_gb` the most that one run compacts of each
    table. A snapshot goes when another has been current for `keep_snapshots_days`, but for the
    `keep_last`. Files without a snapshot go after `orphans_after_hours`.
    """

    target_mb: int = 256
    keep_snapshots_days: int = 7
    keep_last: int = 1
    orphans_after_hours: int = 72
    max_gb: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= self.target_mb <= 2_048:
            raise SettingError(f"target size {self.target_mb} MB: write 1 to 2048, best 128 to 512")
        if self.keep_snapshots_days < 1:
            raise SettingError(
                f"{self.keep_snapshots_days} days of snapshots: write 1 or more, for readers may be"
                " at files of the last hours"
            )
        if self.keep_last < 1:
            raise SettingError(f"last {self.keep_last} snapshots: write 1 or more")
        if self.orphans_after_hours < 24:
            raise SettingError(
                f"orphans after {self.orphans_after_hours} hours: write 24 or more, for a batch may"
                " take hours before it commits its files"
            )
        if self.max_gb <= 0:
            raise SettingError(f"at most {self.max_gb} GB: write more than 0")


@dataclass(frozen=True, slots=True)
class PartitionChange:
    """Files and bytes of a partition before and after compaction."""

    table: str
    partition: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int


@dataclass(slots=True)
class MaintenanceReport:
    """What was done, or would be done.

    In a dry run nothing is compacted, so bytes after are those before.
    """

    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    compacted_files: int = 0
    compacted_bytes: int = 0
    conflicts: int = 0
    """Groups of files that were left, for a batch had replaced some of them meanwhile."""
    snapshots_expired: int = 0
    expired_files: int = 0
    expired_bytes: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    stale_attempts: int = 0
    stale_bytes: int = 0
    seconds: float = 0.0
    changes: list[PartitionChange] = field(default_factory=list)

    @property
    def bytes_freed(self) -> int:
        """Bytes that are free on the storage now: those of files that nothing needed any more."""
        return self.expired_bytes + self.orphan_bytes + self.stale_bytes

    def counters(self) -> dict[str, int | float]:
        """Give the counts by name."""
        counts = {name: value for name, value in asdict(self).items() if name != "changes"}
        return {**counts, "partitions": len(self.changes), "bytes_freed": self.bytes_freed}


Progress = Callable[[str], None]


def maintain(
    lake: Lake,
    settings: MaintenanceSettings,
    progress: Progress | None = None,
    *,
    dry_run: bool = False,
) -> MaintenanceReport:
    """Maintain the tables of a lake; with `dry_run` only tell what would be done.

    Raises LakeError when the lake is not there, is maintained by another process, or could not be
    written. Whatever it was, the tables are whole and the next run goes on.
    """
    tell = progress or (lambda message: None)
    names = [name for name in TABLES if lake.has(name)]
    if not names:
        raise LakeError(
            f"{lake.root} holds no tables of {lake.project_id}: name the sink and the project that"
            " `clickstream process` writes"
        )
    report = MaintenanceReport()
    started = time.time()
    try:
        if dry_run:
            _maintain(lake, names, settings, report, None, tell)
        else:
            with Attempt(lake, LOCK) as attempt:
                _maintain(lake, names, settings, report, attempt, tell)
    except OSError as error:
        raise LakeError(
            f"the lake {lake.root} could not be maintained: {error}; mend that and run it again:"
            " the tables are as before"
        ) from error
    report.seconds = round(time.time() - started, 1)
    return report


def _maintain(
    lake: Lake,
    names: Sequence[str],
    settings: MaintenanceSettings,
    report: MaintenanceReport,
    attempt: Attempt | None,
    tell: Progress,
) -> None:
    now = time.time()
    dry_run = attempt is None
    before = now - settings.orphans_after_hours * 3_600
    report.stale_attempts, report.stale_bytes = remove_stale_staging(lake, before, dry_run=dry_run)
    for name in names:
        _compact_table(lake, name, settings, report, attempt, tell)
        before_ms = round(now * 1_000) - settings.keep_snapshots_days * 86_400_000
        snapshots, files, size = expire_snapshots(
            lake, name, before_ms, settings.keep_last, dry_run=dry_run
        )
        report.snapshots_expired += snapshots
        report.expired_files += files
        report.expired_bytes += size
        orphans, size = remove_orphans(lake, name, before, dry_run=dry_run)
        report.orphans += orphans
        report.orphan_bytes += size
        tell(f"{name}: {snapshots:,} snapshots expired, {files:,} files; {orphans:,} orphans")


def _compact_table(
    lake: Lake,
    name: str,
    settings: MaintenanceSettings,
    report: MaintenanceReport,
    attempt: Attempt | None,
    tell: Progress,
) -> None:
    table = lake.table(name)
    files = lake.files(name)
    target = settings.target_mb << 20
    groups = plan(files, _busy(table, round(time.time() * 1_000)), target, _bytes(settings.max_gb))
    size = sum(group.bytes for group in groups)
    tell(
        f"{name}: {sum(len(group.files) for group in groups):,} of {len(files):,} files are"
        f" compacted into {len(groups):,}, {size / 1e6:,.1f} MB"
    )
    done = [_Compacted(group, "", group.bytes) for group in groups]
    if attempt is not None:
        written = _written(lake, name, table, groups, attempt)
        done = _commit(lake, name, written, attempt, tell)
        report.conflicts += len(groups) - len(done)
        if len(done) < len(groups):
            # A file that is in a snapshot was committed, whatever the catalog had answered.
            lake.storage.remove({file.path for file in written} - lake.kept_files(name))
    _tell_changes(report, name, files, done)


def _bytes(gigabytes: float) -> int:
    return round(gigabytes * (1 << 30))


def _busy(table: "Table", now_ms: int) -> frozenset[Partition]:
    """Give the partitions that batches have written to within the last day."""
    from pyiceberg.manifest import ManifestEntryStatus

    found: set[Partition] = set()
    for snapshot in table.metadata.snapshots:
        summary = snapshot.summary
        if snapshot.timestamp_ms < now_ms - _QUIET_MS or (summary and summary.get(MAINTAINED)):
            continue
        for manifest in snapshot.manifests(table.io):
            if manifest.added_snapshot_id == snapshot.snapshot_id:
                found |= {
                    tuple(entry.data_file.partition)
                    for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                    if entry.status == ManifestEntryStatus.ADDED
                }
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Compacted:
    """A group and the file that it became."""

    group: Group
    path: str
    bytes: int


def _written(
    lake: Lake, name: str, table: "Table", groups: Sequence[Group], attempt: Attempt
) -> list[_Compacted]:
    """Write a file for each group beside its files."""
    schema = file_schema(table)
    attempt.will_write(name, {group.files[0].folder for group in groups})

    def write(number: int) -> _Compacted:
        group = groups[number]
        paths = [file.path for file in group.files]
        path = f"{group.files[0].folder}/{attempt.id}{COMPACTED}{number:05d}.parquet"
        scratch = f"{attempt.directory}/{name}-{number}"
        size = compact(lake.storage, paths, path, schema, ORDER[name], scratch)
        return _Compacted(group, path, size)

    with ThreadPoolExecutor(min(_WRITERS, cores())) as pool:
        return list(pool.map(write, range(len(groups))))


def _commit(
    lake: Lake,
    name: str,
    written: Sequence[_Compacted],
    attempt: Attempt,
    tell: Progress,
) -> list[_Compacted]:
    """Put compacted files in the place of their sources, in one commit; give those that are.

    A group of which a batch has replaced a file meanwhile is left as it is.
    """
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    for _ in range(_COMMIT_TRIES):
        table = lake.table(name)
        live = {file.path: file for file in lake.files(name)}
        good = [
            compacted
            for compacted in written
            if all(file.path in live for file in compacted.group.files)
        ]
        many = _manifests(table) > _MANY_MANIFESTS
        if good or many:
            try:
                with attempt.committing(name):
                    lake.commit(
                        table,
                        remove=[live[file.path] for one in good for file in one.group.files],
                        add=[one.path for one in good],
                        properties={MAINTAINED: "compaction", ATTEMPT: attempt.id},
                        merge_manifests=many,
                    )
            except (CommitFailedException, ValidationException):
                tell(f"{name}: a batch has changed the table meanwhile, committing again")
                continue
        return good
    raise LakeError(
        f"the compaction of {name} could not be committed: other writers changed the table"
        f" {_COMMIT_TRIES} times meanwhile; run it again"
    )


def _manifests(table: "Table") -> int:
    snapshot = table.current_snapshot()
    return len(snapshot.manifests(table.io)) if snapshot else 0


def _tell_changes(
    report: MaintenanceReport,
    name: str,
    files: Iterable[LakeFile],
    done: Sequence[_Compacted],
) -> None:
    """Add to the report what compaction has changed, for the table and for each partition."""
    of_partition: dict[Partition, list[LakeFile]] = {}
    for file in files:
        of_partition.setdefault(file.partition, []).append(file)
    gone: dict[Partition, list[int]] = {}
    added: dict[Partition, list[int]] = {}
    for one in done:
        partition = one.group.partition
        gone.setdefault(partition, []).extend(file.bytes for file in one.group.files)
        added.setdefault(partition, []).append(one.bytes)
    for partition, before in of_partition.items():
        count, size = len(before), sum(file.bytes for file in before)
        removed, new = gone.get(partition, []), added.get(partition, [])
        change = PartitionChange(
            table=name,
            partition=_partition_name(name, partition),
            files_before=count,
            files_after=count - len(removed) + len(new),
            bytes_before=size,
            bytes_after=size - sum(removed) + sum(new),
        )
        report.files_before += change.files_before
        report.files_after += change.files_after
        report.bytes_before += change.bytes_before
        report.bytes_after += change.bytes_after
        report.compacted_files += len(removed)
        report.compacted_bytes += sum(removed)
        if removed:
            report.changes.append(change)


def _partition_name(table: str, partition: Partition) -> str:
    _, columns = TABLES[table]
    return " ".join(
        str(_EPOCH + timedelta(days=value)) if column.endswith("_date") else str(value)
        for column, value in zip(columns, partition, strict=True)
    )
