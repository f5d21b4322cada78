"""The files in the folders of a table, as they lie there, whether a snapshot needs them or not."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file: its path, size in bytes and the time it was written, in seconds since 1970."""

    path: str
    bytes: int
    written: float


def stored_files(folder: str) -> Iterator[StoredFile]:
    """Give all files below a folder; those that vanish meanwhile are left out."""
    for directory, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(directory, name)
            try:
                status = os.stat(path)
            except FileNotFoundError:
                continue
            yield StoredFile(path, status.st_size, status.st_mtime)


def remove_files(paths: Iterable[str]) -> int:
    """Remove files and give how many bytes that freed; what is gone already is no mistake."""
    freed = 0
    for path in paths:
        try:
            size = os.path.getsize(path)
            os.remove(path)
        except FileNotFoundError:
            continue
        freed += size
    return freed
