"""One attempt at a batch: its staging folder, its lock, and the files it may leave behind."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from clickstream_dagster.errors import UnknownCommitError
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.processing.locks import Lock

_LOCK = "lock"


class Attempt:
    """Owns everything that an attempt writes before its commit.

    Data files carry the attempt's `id` in their name, and the folders they go to are noted before
    they are written. So what was not committed is found without a look at the whole table: by the
    attempt itself when it fails, by the next one of the same batch when it was killed, as soon as
    that has committed. Then no commit of the killed one can follow any more. Raises LakeError
    while another process is at the same batch.
    """

    def __init__(self, lake: Lake, batch: str) -> None:
        self.id = uuid.uuid4().hex[:12]
        self._lake = lake
        self._storage = lake.storage
        self._batch = batch
        # Batch names are free text: a digest makes a safe and short folder name.
        digest = hashlib.sha256(batch.encode()).hexdigest()[:24]
        self._folder = f"{lake.root}/_staging/{lake.project_id}/{digest}"
        self.directory = self._staged(self.id)
        self._folders: dict[str, set[str]] = {}
        self._notes = 0
        self._killed: list[str] = []
        self._unsure = False
        self._lock: Lock

    def __enter__(self) -> "Attempt":
        self._lock = self._storage.lock(f"{self._folder}/{_LOCK}", f"the batch {self._batch}")
        try:
            self._killed = [name for name in self._storage.names(self._folder) if name != _LOCK]
            for killed in self._killed:
                self._storage.remove_folder(self._staged(killed))
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._remove_killed()
            elif not self._unsure:
                self.remove_uncommitted()
            self._remove_directory()
        finally:
            self._lock.release()

    def will_write(self, table: str, folders: Iterable[str]) -> None:
        """Note folders of a table before the first data file is written there."""
        known = self._folders.setdefault(table, set())
        new = set(folders) - known
        if new:
            known |= new
            note = json.dumps({table: sorted(new)}).encode()
            self._storage.write(f"{self._folder}/{self.id}/folders-{self._notes}.json", note)
            self._notes += 1

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Enclose a commit: files stay when nobody knows whether it was made.

        Raises LakeError when another process has taken the batch over.
        """
        self._lock.require()
        try:
            yield
        except BaseException as error:
            # An interrupt may come between the commit and its answer.
            self._unsure = isinstance(error, UnknownCommitError) or not isinstance(error, Exception)
            raise

    def remove_uncommitted(self) -> None:
        """Remove the data files of this attempt that no snapshot holds."""
        self._remove_uncommitted(self.id, self._folders)

    def _remove_killed(self) -> None:
        for killed in self._killed:
            home = f"{self._folder}/{killed}"
            folders: dict[str, set[str]] = {}
            for name in self._storage.names(home, "folders-"):
                for table, noted in json.loads(self._storage.read(f"{home}/{name}")).items():
                    folders.setdefault(table, set()).update(noted)
            self._remove_uncommitted(killed, folders)
            self._storage.remove_folder(home)

    def _remove_uncommitted(self, attempt: str, folders: dict[str, set[str]]) -> None:
        for table, noted in folders.items():
            files = {
                f"{folder}/{name}"
                for folder in noted
                for name in self._storage.names(folder, f"{attempt}-")
            }
            # Of an attempt that has committed, older snapshots may still need what is not live.
            if files and not self._lake.has_snapshot_of(table, attempt):
                self._storage.remove(files - set(self._lake.data_files(table)))

    def _remove_directory(self) -> None:
        home = f"{self._folder}/{self.id}"
        self._storage.remove_folder(self._staged(self.id) if self._unsure else home)

    def _staged(self, attempt: str) -> str:
        return f"{self._folder}/{attempt}/staged"
