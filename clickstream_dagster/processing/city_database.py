"""MMDB files of cities: checked when opened, shared in a process, exchanged at any time."""

import os
import threading
from itertools import islice
from typing import TYPE_CHECKING

from clickstream_dagster.errors import SettingError

if TYPE_CHECKING:
    from maxminddb.reader import Reader

_PROBED_ENTRIES = 1_000

Version = tuple[int, int, int]
"""Which file stands under a path: inode, size, time of change."""

# What this process has open: the versions that batches at work may have begun with. A reader that
# is dropped here stays open as long as a task holds it.
_open: "dict[tuple[str, Version], Reader]" = {}
_open_lock = threading.Lock()
_KEPT_VERSIONS = 3


def open_database(path: str) -> "Reader":
    """Open a city database. Raises SettingError when it is missing or no readable MMDB."""
    import maxminddb

    try:
        reader = maxminddb.open_database(path)
        # A damaged tree or data section shows when entries are read, not when it is opened.
        for _ in islice(reader, _PROBED_ENTRIES):
            pass
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        raise SettingError(
            f"the address database {path} can't be read: {error}; name a MaxMind DB file with"
            " cities (geo_database in the YAML, --geo-db on the command line), or none at all"
        ) from error
    return reader


def shared_database(path: str, version: Version | None = None) -> tuple[Version, "Reader"]:
    """Give a reader that the tasks of this process share, and the version of its file.

    A `version` that this process has open already is given again, whatever stands under the path
    now. Raises SettingError as `open_database` does.
    """
    with _open_lock:
        if version is None or (path, version) not in _open:
            version = _version(path)
        if (path, version) not in _open:
            _open[path, version] = open_database(path)
            versions = [key for key in _open if key[0] == path]
            for key in versions[:-_KEPT_VERSIONS]:
                del _open[key]
        return version, _open[path, version]


def _version(path: str) -> Version:
    try:
        found = os.stat(path)
    except OSError:  # opening it says what is wrong
        return (0, 0, 0)
    return found.st_ino, found.st_size, found.st_mtime_ns
