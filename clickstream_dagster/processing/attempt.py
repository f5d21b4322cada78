"""One attempt at a batch: its staging folder, its lock, and the files it may leave behind."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from clickstream_dagster.errors import HeldError, UnknownCommitError
from clickstream_dagster.processing.lake import TABLES, Lake, folder_of
from clickstream_dagster.processing.locks import Lock
from clickstream_dagster.processing.storage import Storage, StoredFile

_LOCK = "lock"
_NOTES = "folders-"


class Attempt:
    """Owns everything that an attempt writes before its commit.

    Data files carry the attempt's `id` in their name, and the folders they go to are noted before
    they are written. So what was not committed is found without a look at the whole table: by the
    attempt itself when it fails, by the next one of the same batch when it was killed, as soon as
    that has committed to the table. Then no commit of the killed one can follow any more. Raises
    HeldError while another process is at the same batch.
    """

    def __init__(self, lake: Lake, batch: str) -> None:
        self.id = uuid.uuid4().hex[:12]
        self._lake = lake
        self._storage = lake.storage
        self._batch = batch
        # Batch names are free text: a digest makes a safe and short folder name.
        digest = hashlib.sha256(batch.encode()).hexdigest()[:24]
        self._folder = f"{_staging(lake)}/{digest}"
        self._home = f"{self._folder}/{self.id}"
        self.directory = _staged(self._home)
        self._folders: dict[str, set[str]] = {}
        self._notes = 0
        self._killed: list[str] = []
        self._committed: set[str] = set()
        self._unsure = False
        self._lock: Lock

    def __enter__(self) -> "Attempt":
        self._lock = self._storage.lock(f"{self._folder}/{_LOCK}", f"the batch {self._batch}")
        try:
            self._killed = [
                f"{self._folder}/{name}"
                for name in self._storage.names(self._folder)
                if name != _LOCK
            ]
            for home in self._killed:
                self._storage.remove_folder(_staged(home))
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
                for home in self._killed:
                    _remove_left(self._lake, home, self._committed)
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
            self._storage.write(f"{self._home}/{_NOTES}{self._notes}.json", note)
            self._notes += 1

    @contextmanager
    def committing(self, table: str) -> Iterator[None]:
        """Enclose a commit to a table: files stay when nobody knows whether it was made.

        Raises LakeError when another process has taken the batch over.
        """
        self._lock.require()
        try:
            yield
            self._committed.add(table)
        except BaseException as error:
            # An interrupt may come between the commit and its answer.
            self._unsure = isinstance(error, UnknownCommitError) or not isinstance(error, Exception)
            raise

    def remove_uncommitted(self) -> None:
        """Remove the data files of this attempt that no snapshot holds."""
        files = _written(self._storage, self.id, self._folders)
        for table, paths in files.items():
            # Of an attempt that has committed, older snapshots may still need what is not live.
            if not self._lake.has_snapshot_of(table, self.id):
                self._storage.remove(paths - set(self._lake.data_files(table)))

    def _remove_directory(self) -> None:
        self._storage.remove_folder(self.directory if self._unsure else self._home)


@dataclass(frozen=True, slots=True)
class StagedAttempt:
    """What is staged of an attempt that is at work, or was killed and is there yet.

    `lock` is the path of the lock of its batch, `home` the folder of all that it has staged.
    """

    id: str
    lock: str
    home: str
    files: tuple[StoredFile, ...]


def staged_attempts(lake: Lake) -> list[StagedAttempt]:
    """Give the attempts of all batches that have something staged."""
    staging = _staging(lake)
    files: dict[tuple[str, str], list[StoredFile]] = {}
    for file in lake.storage.files(staging):
        batch, _, rest = file.path.removeprefix(f"{staging}/").partition("/")
        attempt, below, _ = rest.partition("/")
        if below:
            files.setdefault((batch, attempt), []).append(file)
    return [
        StagedAttempt(
            id=attempt,
            lock=f"{staging}/{batch}/{_LOCK}",
            home=f"{staging}/{batch}/{attempt}",
            files=tuple(found),
        )
        for (batch, attempt), found in files.items()
    ]


def remove_killed(lake: Lake, attempt: StagedAttempt) -> bool:
    """Remove what a killed attempt has left; give False if its batch is at work."""
    try:
        lock = lake.storage.lock(attempt.lock, f"the batch of the attempt {attempt.id}")
    except HeldError:
        return False
    try:
        _remove_left(lake, attempt.home, set(TABLES))
    finally:
        lock.release()
    return True


def _staging(lake: Lake) -> str:
    return f"{lake.root}/_staging/{lake.project_id}"


def _staged(home: str) -> str:
    return f"{home}/staged"


def _remove_left(lake: Lake, home: str, tables: set[str]) -> None:
    """Remove what a killed attempt has written to tables and no snapshot holds.

    What it has staged goes, too, when it has written to no other tables.
    """
    folders: dict[str, set[str]] = {}
    for name in lake.storage.names(home, _NOTES):
        for table, noted in _noted(lake, f"{home}/{name}").items():
            folders.setdefault(table, set()).update(noted)
    chosen = {table: noted for table, noted in folders.items() if table in tables}
    # The snapshot that it has made may have expired while a later one needs its files.
    for table, paths in _written(lake.storage, home.rpartition("/")[2], chosen).items():
        lake.storage.remove(paths - lake.kept_files(table))
    if chosen == folders:
        lake.storage.remove_folder(home)


def _noted(lake: Lake, path: str) -> dict[str, list[str]]:
    """Give the folders of a note, by table; all there are when a failing disk has cut it."""
    try:
        return json.loads(lake.storage.read(path))
    except ValueError:
        return {
            table: sorted({file.path.rpartition("/")[0] for file in lake.storage.files(place)})
            for table in TABLES
            for place in [f"{folder_of(lake.table(table))}/data"]
        }


def _written(
    storage: Storage, attempt: str, folders: Mapping[str, Iterable[str]]
) -> dict[str, set[str]]:
    """Give the data files of an attempt in folders of tables, by table; none without files."""
    found = {
        table: {
            f"{folder}/{name}" for folder in noted for name in storage.names(folder, f"{attempt}-")
        }
        for table, noted in folders.items()
    }
    return {table: paths for table, paths in found.items() if paths}
