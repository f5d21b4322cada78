"""Which objects windows have taken: an index of the ledger's log, by the day of the objects' keys.

An object is its key and its content: rewritten with other content it is a new one. The index holds
16 bytes for each, so that a day with a million objects is looked through in a fraction of a second.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

from clickstream_dagster.batches.s3 import CONNECTIONS
from clickstream_dagster.batches.store import Store
from clickstream_dagster.batches.windows import key_day

Content = tuple[str, str]
"""Key, relative to the source, and etag."""

_DELTAS_BEFORE_SUM = 16
_BYTES = 16


class Taken:
    """The index in a ledger's store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, entry: int, contents: Iterable[Content]) -> None:
        """Write what an entry of the log has taken; the same again changes nothing."""
        days: dict[str, bytearray] = {}
        for key, etag in contents:
            days.setdefault(key_day(key), bytearray()).extend(_digest(key, etag))
        for day, digests in days.items():
            self._store.write(f"{_folder(day)}/{entry:012d}.bin", bytes(digests))

    def among(self, contents: Iterable[Content], head: int) -> set[Content]:
        """Give those of the contents that an entry has taken, for sure of those up to `head`."""
        days: dict[str, dict[bytes, Content]] = {}
        for key, etag in contents:
            days.setdefault(key_day(key), {})[_digest(key, etag)] = (key, etag)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            found = pool.map(lambda day: self._on(day, days[day], head), sorted(days))
            return set().union(*found)

    def _on(self, day: str, wanted: dict[bytes, Content], head: int) -> set[Content]:
        folder = _folder(day)
        # A listing may miss files behind `head` that are being written: they must not be summed up.
        names = [name for name in self._store.names(folder) if _entry(name) <= head]
        sums = [name for name in names if name.endswith(".all.bin")]
        if sums:
            covered = _entry(sums[-1])
            names = [sums[-1], *(name for name in names if _entry(name) > covered)]
        parts = [self._store.read(f"{folder}/{name}") or b"" for name in names]
        if len(names) > _DELTAS_BEFORE_SUM:
            # No object is in two entries, so the parts need no merging.
            total = f"{folder}/{_entry(names[-1]):012d}.all.bin"
            self._store.write(total, b"".join(parts))
        found: set[Content] = set()
        for part in parts:
            for place in range(0, len(part), _BYTES):
                digest = part[place : place + _BYTES]
                if digest in wanted:
                    found.add(wanted[digest])
        return found


def _folder(day: str) -> str:
    return f"index/taken/{day}"


def _entry(name: str) -> int:
    return int(name.partition(".")[0])


def _digest(key: str, etag: str) -> bytes:
    # Neither a key nor an etag holds a NUL.
    return blake2b(f"{key}\0{etag}".encode(), digest_size=_BYTES).digest()
