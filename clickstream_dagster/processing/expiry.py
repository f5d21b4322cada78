"""Old snapshots and files that nothing needs: what may go, and how it goes.

Readers take the files of the snapshot that is current when they begin. So a snapshot may go when
another one has been current for the whole term, however old it is itself.
"""

import os
from itertools import pairwise
from typing import TYPE_CHECKING

from clickstream_dagster.errors import LakeError
from clickstream_dagster.processing.attempt import remove_killed, staged_attempts
from clickstream_dagster.processing.lake import Lake, files_of, folder_of

if TYPE_CHECKING:
    from pyiceberg.table import Table

_COMMIT_TRIES = 10


def expired_snapshots(table: "Table", before_ms: int, keep_last: int) -> list[int]:
    """Give the ids of the snapshots that were replaced before a time, but for the last ones.

    What a branch or a tag points to stays.
    """
    history = sorted(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number or 0)
    kept = {ref.snapshot_id for ref in table.metadata.refs.values()}
    kept |= {snapshot.snapshot_id for snapshot in history[-keep_last:]}
    return [
        snapshot.snapshot_id
        for snapshot, successor in pairwise(history)
        if successor.timestamp_ms < before_ms and snapshot.snapshot_id not in kept
    ]


def expire_snapshots(
    lake: Lake, name: str, before_ms: int, keep_last: int, *, dry_run: bool
) -> tuple[int, int, int]:
    """Expire snapshots of a table and remove the files that only they needed.

    Gives how many snapshots and files went, and the bytes. Raises LakeError when other writers were
    quicker too often.
    """
    from pyiceberg.exceptions import CommitFailedException

    for _ in range(_COMMIT_TRIES):
        table = lake.table(name)
        ids = set(expired_snapshots(table, before_ms, keep_last))
        if not ids:
            return 0, 0, 0
        held = files_of(table, [one for one in table.metadata.snapshots if one.snapshot_id in ids])
        if not dry_run:
            try:
                lake.expire(table, ids)
            except CommitFailedException:  # a batch has committed at the same moment
                continue
        # What has been committed meanwhile may need the same files.
        table = lake.table(name)
        kept = files_of(
            table, [one for one in table.metadata.snapshots if one.snapshot_id not in ids]
        )
        unneeded = (held.data | held.metadata) - kept.data - kept.metadata
        size = sum(
            file.bytes for file in lake.storage.files(folder_of(table)) if file.path in unneeded
        )
        if not dry_run:
            lake.storage.remove(sorted(unneeded))
        return len(ids), len(unneeded), size
    raise LakeError(
        f"snapshots of {name} could not be expired: other writers changed the lake"
        f" {_COMMIT_TRIES} times meanwhile; run it again"
    )


def remove_orphans(lake: Lake, name: str, before: float, *, dry_run: bool) -> tuple[int, int]:
    """Remove files of a table's folders that no snapshot needs and that are older than a time.

    Files of attempts that are at work, or that the next run of their batch tidies up, are left
    alone. Gives how many went, and their bytes.
    """
    # Files first, then what is needed: a file that is committed in between is needed.
    folder = folder_of(lake.table(name))
    found = [file for file in lake.storage.files(folder) if file.written < before]
    attempts = {attempt.id for attempt in staged_attempts(lake)}
    table = lake.table(name)
    files = files_of(table, table.metadata.snapshots)
    metadata = table.metadata
    needed = {
        # Names have random parts, and stay the same when a lake is moved.
        os.path.basename(path)
        for path in (
            *files.data,
            *files.metadata,
            table.metadata_location,
            *(entry.metadata_file for entry in metadata.metadata_log),
            *(statistics.statistics_path for statistics in metadata.statistics),
            *(statistics.statistics_path for statistics in metadata.partition_statistics),
        )
    }
    orphans = [
        file
        for file in found
        if os.path.basename(file.path) not in needed
        and os.path.basename(file.path).partition("-")[0] not in attempts
    ]
    if not dry_run:
        lake.storage.remove(file.path for file in orphans)
    return len(orphans), sum(file.bytes for file in orphans)


def remove_stale_staging(lake: Lake, before: float, *, dry_run: bool) -> tuple[int, int]:
    """Remove what attempts have staged that died before a time, with their uncommitted files.

    Gives how many attempts, and the bytes that they had staged.
    """
    count = size = 0
    for attempt in staged_attempts(lake):
        last = max(file.written for file in attempt.files)
        if last < before and (dry_run or remove_killed(lake, attempt)):
            count += 1
            size += sum(file.bytes for file in attempt.files)
    return count, size
