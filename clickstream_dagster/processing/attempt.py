"""One attempt at a batch: its staging directory, its lock, and the files it may leave behind."""

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from types import TracebackType

from clickstream_dagster.errors import LakeError
from clickstream_dagster.processing.lake import TABLES, Lake


class Attempt:
    """Owns everything that an attempt writes before its commit.

    Data files carry the attempt's `id` in their name, so what was not committed can be found and
    removed: by the attempt itself when it fails, by the next one of the same batch when it was
    killed. Raises LakeError while another process is at the same batch.
    """

    def __init__(self, lake: Lake, batch: str) -> None:
        self.id = uuid.uuid4().hex[:12]
        self._lake = lake
        self._batch = batch
        # Batch names are free text: a digest makes a safe and short folder name.
        digest = hashlib.sha256(batch.encode()).hexdigest()[:24]
        self._folder = os.path.join(_staging(lake), digest)
        self.directory = os.path.join(self._folder, self.id)
        self._lock = -1

    def __enter__(self) -> "Attempt":
        os.makedirs(self._folder, exist_ok=True)
        self._lock = os.open(os.path.join(self._folder, "lock"), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise LakeError(
                f"the batch {self._batch} is being processed by another process; wait until that"
                " has ended: running it again then changes nothing"
            ) from error
        for killed in os.listdir(self._folder):
            if killed != "lock":
                _remove_uncommitted(self._lake, killed)
                shutil.rmtree(os.path.join(self._folder, killed))
        os.makedirs(self.directory)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is not None:
                self.remove_uncommitted()
            self._remove_directory()
        finally:
            os.close(self._lock)

    def remove_uncommitted(self) -> None:
        """Remove the data files of this attempt that no snapshot holds."""
        _remove_uncommitted(self._lake, self.id)

    def _remove_directory(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


def staged_attempts(lake: Lake) -> dict[str, str]:
    """Give id and directory of the attempts that are at work, or were killed and are there yet."""
    found: dict[str, str] = {}
    for batch in _names(_staging(lake)):
        folder = os.path.join(_staging(lake), batch)
        found |= {name: os.path.join(folder, name) for name in _names(folder) if name != "lock"}
    return found


def remove_killed(lake: Lake, directory: str) -> bool:
    """Remove what a killed attempt has left; give False if its batch is at work."""
    lock = os.open(os.path.join(os.path.dirname(directory), "lock"), os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_uncommitted(lake, os.path.basename(directory))
        shutil.rmtree(directory, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _staging(lake: Lake) -> str:
    return os.path.join(lake.root, "_staging", lake.project_id)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove_uncommitted(lake: Lake, attempt: str) -> None:
    for table in TABLES:
        files = set(_files(lake, table, attempt))
        for path in files - (lake.kept_files(table) if files else set()):
            os.remove(path)


def _files(lake: Lake, table: str, attempt: str) -> Iterator[str]:
    location = os.path.join(lake.root, lake.project_id, table, "data")
    for directory, _, names in os.walk(location):
        for name in names:
            if name.startswith(f"{attempt}-"):
                yield os.path.join(directory, name)
