"""The spool: a folder for each worker process, held by a lock while the process lives."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clickstream_dagster.collector import segments
from clickstream_dagster.durable_files import sync_folder
from clickstream_dagster.errors import SettingError

_MAX_WORKERS = 256


@dataclass(frozen=True, slots=True)
class SpoolState:
    """What waits in a spool: bytes of its log, sealed segments, the age in seconds of the oldest
    of them (0 without one), and the free bytes of its disk.
    """

    bytes: int
    segments: int
    oldest_seconds: float
    free_bytes: int


def spool_state(spool: Path) -> SpoolState:
    """Look at a spool that others may be writing to."""
    size = 0
    sealed_at = []
    for path in spool.glob("worker-*"):
        sealed = segments.sealed_segments(path)
        sealed_at += [segment.sealed_at for segment in sealed]
        for file in (*segments.open_segments(path), *(segment.path for segment in sealed)):
            with suppress(FileNotFoundError):  # shipped, or sealed, meanwhile
                size += file.stat().st_size
    disk = os.statvfs(spool)
    return SpoolState(
        bytes=size,
        segments=len(sealed_at),
        oldest_seconds=max(0.0, time.time() - min(sealed_at)) if sealed_at else 0.0,
        free_bytes=disk.f_bavail * disk.f_frsize,
    )


def claim(spool: Path, project_id: str) -> None:
    """Make a spool a project's, for good: whoever finds segments in it ships them to its sink.

    Raises SettingError when it is another project's, OSError when it can't be written.
    """
    file = spool / "project"
    with file.open("a+") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        owner.seek(0)
        found = owner.read()
        if not found:
            owner.write(project_id)
    if found not in ("", project_id):
        raise SettingError(
            f"the spool {spool} is that of project {found}; give project {project_id} another one"
        )


class WorkerFolder:
    """A worker's folder in the spool, locked by this process.

    What an earlier owner has left behind is sealed when the folder is taken.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        for left_open in segments.open_segments(path):
            segments.recover(left_open, int(time.time()))

    def release(self) -> None:
        """Leave the folder to others. The system does so when the process dies."""
        os.close(self._lock)


def take_folder(spool: Path) -> WorkerFolder:
    """Take the first folder of a spool that no living process holds; make one if need be.

    Raises SettingError when the spool can't be written.
    """
    for number in range(_MAX_WORKERS):
        folder = _try(spool / f"worker-{number}")
        if folder:
            return folder
    raise SettingError(f"{spool}: {_MAX_WORKERS} processes write to this spool, give another one")


def take_left_folders(spool: Path) -> Iterator[WorkerFolder]:
    """Take, one by one, the folders with segments whose process is gone."""
    for path in sorted(spool.glob("worker-*")):
        if any(path.glob("*-*")) and (folder := _try(path)):
            yield folder


def _try(path: Path) -> WorkerFolder | None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(path.parent)  # a synced file is of no use in a folder that has lost its name
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingError(f"the spool {path.parent} can't be written: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return WorkerFolder(path, lock)
