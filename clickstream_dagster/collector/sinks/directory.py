"""The sink that is a directory: each segment becomes a raw file in the folder of its hour."""

import os
from pathlib import Path

from clickstream_dagster.collector.segments import SealedSegment
from clickstream_dagster.collector.sinks.raw_object import gzip_parts, object_key
from clickstream_dagster.collector.sinks.sink import SinkCounters, SinkError
from clickstream_dagster.durable_files import make_folders, sync_folder
from clickstream_dagster.errors import SettingError


class DirectorySink:
    """Raw files below a directory; a file has its name only when it is whole and on the disk.

    A segment that has its file already is not written again: a batch reads exactly the files that
    its window has listed, and a new one with old content would be another arrival.
    """

    def __init__(self, directory: Path) -> None:
        """Make the directory if it is missing. Raises SettingError when it can't be written to."""
        self.counters = SinkCounters()
        self._directory = directory.absolute()
        try:
            make_folders(self._directory)
        except OSError as error:
            raise SettingError(
                f"the sink {directory} can't be made: {error}; name a directory that this user may"
                " write to"
            ) from error
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise SettingError(
                f"the sink {directory} can't be written to; give this user the right to write there"
            )

    def ship(self, segment: SealedSegment) -> None:
        path = self._directory / object_key(segment)
        # Listings pass over names with a dot in front (batches/objects.py). What a killed process
        # has left has the same name, and is replaced.
        unfinished = path.with_name(f".{path.name}")
        with self.counters.counting_errors():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    try:
                        self._write(segment, unfinished)
                        unfinished.rename(path)
                    finally:
                        unfinished.unlink(missing_ok=True)
                self._sync_folders(path.parent)
            except OSError as error:
                raise SinkError(f"the raw file {path} can't be written: {error}") from error

    def close(self) -> None:
        pass

    def _write(self, segment: SealedSegment, path: Path) -> None:
        records = 0
        with path.open("wb") as file:
            self.counters.requests += 1
            for part, count in gzip_parts(segment):
                file.write(part)
                records += count
            file.flush()
            os.fsync(file.fileno())
            self.counters.bytes += file.tell()
        self.counters.records += records

    def _sync_folders(self, folder: Path) -> None:
        # All of them: who made one may have been killed before it was synced.
        while folder != self._directory:
            sync_folder(folder)
            folder = folder.parent
        sync_folder(folder)
