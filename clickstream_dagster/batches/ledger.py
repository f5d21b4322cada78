"""The ledger: which raw objects belong to which window, decided once and for ever.

A window is opened by writing its manifest, the list of exactly its objects. An object belongs to
the window of the time in its key while that window has no manifest, else to the next window that
is opened: wherever and whenever it turns up, it gets into exactly one window.

On disk, below one folder for each project:

    log/<entry>.json          a manifest; entry n + 1 is created only by who has read entry n, so
                              that openings have an order, however many processes there are
    windows/<batch>.json      the entry that opened the window
    taken/<day>/<entry>.json  keys and etags that an entry took from a day's folders;
                              `<entry>.all.json` sums up all entries up to it
    applied                   an entry up to which `windows` and `taken` are known to be complete

Only `log` decides. The rest follows from it and is written again by the next opening if a process
ends between the two.

An opening lists a bounded part of the source: the folders around its window, and a further
stretch that goes on where the last opening ended, so that late objects in old folders are found
in turn.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import takewhile

from clickstream_dagster.batches.objects import RawObject, list_objects, relative_key
from clickstream_dagster.batches.store import Store
from clickstream_dagster.batches.windows import (
    HOUR_MS,
    Window,
    WindowOf,
    hour_folder,
    key_day,
    key_time_ms,
)
from clickstream_dagster.errors import LakeError

LOOKBACK_MS = 72 * HOUR_MS
SWEEP_OBJECTS = 10_000
SWEEP_DAYS = 62
_DELTAS_BEFORE_SUM = 16
_READERS = 16


@dataclass(frozen=True, slots=True)
class Manifest:
    """The objects of one window, in the order of their keys, and how the listing went.

    `late` objects have a time in an earlier window that had been opened before; `before_start`
    objects were seen but are older than the project's first window, and belong to none. `swept`
    is the key where the next opening's sweep goes on, None for the beginning.
    """

    entry: int
    source: str
    window: Window
    objects: tuple[RawObject, ...]
    late: int
    before_start: int
    swept: str | None

    @property
    def bytes(self) -> int:
        return sum(object_.size for object_ in self.objects)

    def as_json(self) -> bytes:
        body = {
            "entry": self.entry,
            "source": self.source,
            "batch": self.window.batch,
            "start": self.window.start.isoformat(),
            "end": self.window.end.isoformat(),
            "late": self.late,
            "before_start": self.before_start,
            "swept": self.swept,
            "objects": [asdict(object_) for object_ in self.objects],
        }
        return json.dumps(body, indent=1).encode()

    @classmethod
    def from_json(cls, body: bytes) -> "Manifest":
        value = json.loads(body)
        return cls(
            entry=value["entry"],
            source=value["source"],
            window=Window(
                datetime.fromisoformat(value["start"]), datetime.fromisoformat(value["end"])
            ),
            objects=tuple(RawObject(**object_) for object_ in value["objects"]),
            late=value["late"],
            before_start=value["before_start"],
            swept=value["swept"],
        )


class Ledger:
    """The ledger of one project: `store` holds it, `source` is what it gives to windows."""

    def __init__(self, store: Store, source: str, window_of: WindowOf) -> None:
        self._store = store
        self._source = source
        self._window_of = window_of

    def open(self, window: Window) -> Manifest:
        """Give the window's manifest; the first call decides it, every later one reads it.

        Raises SourceError when the source is missing or may not be listed.
        """
        while True:
            head = self._catch_up()
            known = self.manifest(window)
            if known:
                return known
            manifest = self._select(window, head)
            # Fails when another process has opened a window since `head`: then decide again.
            if self._store.create(_log(manifest.entry), manifest.as_json()):
                self._apply(manifest)
                return manifest

    def manifest(self, window: Window) -> Manifest | None:
        """Give the manifest of a window that has been opened, None for any other."""
        pointer = self._store.read(_pointer(window))
        if pointer is None and self._catch_up_was_needed():
            pointer = self._store.read(_pointer(window))
        if pointer is None:
            return None
        return self._entry(int(pointer))

    def is_open(self, window: Window) -> bool:
        """Whether the window has a manifest."""
        return self._store.exists(_pointer(window))

    def waiting(self, objects: list[RawObject]) -> list[tuple[Window | None, RawObject]]:
        """Give those of `objects` that no window has taken, each with the window it waits for.

        None stands for the next window that is opened. Objects before the first window are left
        out.
        """
        self._catch_up()
        keys = {relative_key(self._source, object_.uri): object_ for object_ in objects}
        opened: dict[Window, bool] = {}
        found: list[tuple[Window | None, RawObject]] = []
        for _key, object_, owner in self._untaken(keys):
            if owner is None:
                continue
            if owner not in opened:
                opened[owner] = self.is_open(owner)
            found.append((None if opened[owner] else owner, object_))
        return found

    def _select(self, window: Window, head: int) -> Manifest:
        candidates, swept = self._list(window, head)
        opened: dict[Window, bool] = {window: False}
        chosen: dict[str, RawObject] = {}
        late = before_start = 0
        for key, object_, owner in self._untaken(candidates):
            if owner is None:
                before_start += 1
                continue
            if owner not in opened:
                opened[owner] = self.is_open(owner)
            if owner == window or opened[owner]:
                chosen[key] = object_
                late += owner != window
        return Manifest(
            entry=head + 1,
            source=self._source,
            window=window,
            objects=tuple(chosen[key] for key in sorted(chosen)),
            late=late,
            before_start=before_start,
            swept=swept,
        )

    def _list(self, window: Window, head: int) -> tuple[dict[str, RawObject], str | None]:
        first_ms, last_ms = window.start_ms - LOOKBACK_MS, window.end_ms + HOUR_MS
        candidates = {
            # `0` follows `/`: everything up to the end of the last hour folder.
            **self._range(hour_folder(first_ms), hour_folder(last_ms).rstrip("/") + "0"),
            # Objects that lie outside hour folders, but have seconds in their names.
            **self._range(str(first_ms // 1000), str(last_ms // 1000)),
        }
        swept = self._entry(head).swept if head else None
        days: set[str] = set()
        count = 0
        for object_ in list_objects(self._source, swept, SWEEP_OBJECTS):
            key = relative_key(self._source, object_.uri)
            candidates[key] = object_
            days.add(key_day(key))
            swept, count = key, count + 1
            if len(days) == SWEEP_DAYS:
                return candidates, swept
        return candidates, swept if count == SWEEP_OBJECTS else None

    def _range(self, after: str, until: str) -> dict[str, RawObject]:
        listing = (
            (relative_key(self._source, object_.uri), object_)
            for object_ in list_objects(self._source, after)
        )
        return dict(takewhile(lambda pair: pair[0] < until, listing))

    def _untaken(
        self, objects: dict[str, RawObject]
    ) -> Iterator[tuple[str, RawObject, Window | None]]:
        taken = self._taken({key_day(key) for key in objects})
        for key, object_ in objects.items():
            if (key, object_.etag) not in taken:
                yield key, object_, self._window_of(key_time_ms(key, object_.arrival_ms))

    def _taken(self, days: set[str]) -> set[tuple[str, str]]:
        with ThreadPoolExecutor(_READERS) as pool:
            return set().union(*pool.map(self._taken_on, sorted(days)))

    def _taken_on(self, day: str) -> set[tuple[str, str]]:
        names = self._store.names(f"taken/{day}")
        sums = [name for name in names if name.endswith(".all.json")]
        if sums:
            covered = sums[-1].partition(".")[0]
            deltas = [name for name in names if name.partition(".")[0] > covered]
            names = [sums[-1], *deltas]
        taken = {
            (key, etag)
            for name in names
            for key, etag in json.loads(self._store.read(f"taken/{day}/{name}") or b"[]")
        }
        if len(names) > _DELTAS_BEFORE_SUM:
            # Complete up to its last delta: who wrote that one had applied all before it.
            last = names[-1].partition(".")[0]
            self._store.write(f"taken/{day}/{last}.all.json", _pairs(taken))
        return taken

    def _entry(self, entry: int) -> Manifest:
        body = self._store.read(_log(entry))
        if body is None:
            raise LakeError(
                f"the ledger has lost its entry {entry}; restore the lake's _ledger folder, or "
                "remove it whole to take every raw object anew"
            )
        return Manifest.from_json(body)

    def _catch_up_was_needed(self) -> bool:
        before = int(self._store.read("applied") or 0)
        return self._catch_up() > before

    def _catch_up(self) -> int:
        """Apply the entries that a process left behind; give the number of the last entry."""
        applied = head = int(self._store.read("applied") or 0)
        while (body := self._store.read(_log(head + 1))) is not None:
            self._apply(Manifest.from_json(body), mark=False)
            head += 1
        if head > applied:
            self._mark(head)
        return head

    def _apply(self, manifest: Manifest, mark: bool = True) -> None:
        days: dict[str, set[tuple[str, str]]] = {}
        for object_ in manifest.objects:
            key = relative_key(manifest.source, object_.uri)
            days.setdefault(key_day(key), set()).add((key, object_.etag))
        for day, pairs in days.items():
            self._store.write(f"taken/{day}/{manifest.entry:012d}.json", _pairs(pairs))
        self._store.write(_pointer(manifest.window), str(manifest.entry).encode())
        if mark:
            self._mark(manifest.entry)

    def _mark(self, entry: int) -> None:
        self._store.write("applied", str(entry).encode())


def _log(entry: int) -> str:
    return f"log/{entry:012d}.json"


def _pointer(window: Window) -> str:
    return f"windows/{window.batch}.json"


def _pairs(pairs: set[tuple[str, str]]) -> bytes:
    return json.dumps(sorted(pairs), separators=(",", ":")).encode()
