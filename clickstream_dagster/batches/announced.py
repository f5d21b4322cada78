"""What a queue has announced: hints, kept durably until the objects are in a window.

A file holds objects that one look at the queue has brought and that wait for one window; its name
begins with the window's, so that nobody has to read it to know which window to open. Nothing here
decides: what an announcement names is looked up when its window is opened.
"""

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from clickstream_dagster.batches.s3 import CONNECTIONS
from clickstream_dagster.batches.store import Store
from clickstream_dagster.batches.windows import Window

_FOLDER = "announced"


class Announcements:
    """The announcements in a ledger's store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, windows: Mapping[Window, Iterable[str]]) -> None:
        """Write down the keys that wait for each window; durable when this returns."""
        unique = f"{time.time_ns() // 1_000_000:013d}-{uuid.uuid4().hex[:12]}"
        for window, keys in windows.items():
            body = json.dumps(sorted(keys), indent=0).encode()
            self._store.write(f"{_FOLDER}/{window.batch}-{unique}.json", body)

    def files(self) -> list[tuple[str, int]]:
        """Give the names of the files, oldest window first, each with its window's start (ms)."""
        return [(name, _start_ms(name)) for name in self._store.names(_FOLDER)]

    def read(self, names: list[str], enough: int | None = None) -> dict[str, set[str]]:
        """Give the keys in files, by the names of these; stops when there are `enough` keys."""
        found: dict[str, set[str]] = {}
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for place in range(0, len(names), CONNECTIONS):
                some = names[place : place + CONNECTIONS]
                found.update(zip(some, pool.map(self._keys, some), strict=True))
                if enough is not None and sum(map(len, found.values())) >= enough:
                    break
        return found

    def settle(self, names: Iterable[str]) -> None:
        """Take away files in which nothing waits any more."""
        for name in names:
            self._store.delete(f"{_FOLDER}/{name}")

    def _keys(self, name: str) -> set[str]:
        body = self._store.read(f"{_FOLDER}/{name}")
        # Gone: an opening has settled it since it was listed.
        return set(json.loads(body)) if body else set()


def _start_ms(name: str) -> int:
    return round(Window.start_of(name.partition("-")[0]).timestamp() * 1000)
