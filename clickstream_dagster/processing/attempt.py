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
        self._folder = os.path.join(lake.root, "_staging", lake.project_id, digest)
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
                self._remove_uncommitted(killed)
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
        """Remove the data files of this attempt that no current snapshot holds."""
        self._remove_uncommitted(self.id)

    def _remove_uncommitted(self, attempt: str) -> None:
        for table in TABLES:
            files = set(self._files(table, attempt))
            for path in files - set(self._lake.data_files(table) if files else ()):
                os.remove(path)

    def _files(self, table: str, attempt: str) -> Iterator[str]:
        location = os.path.join(self._lake.root, self._lake.project_id, table, "data")
        for directory, _, names in os.walk(location):
            for name in names:
                if name.startswith(f"{attempt}-"):
                    yield os.path.join(directory, name)

    def _remove_directory(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
