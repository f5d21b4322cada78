"""The ledger: which raw objects belong to which window, decided once and for ever.

A window is opened by writing its manifest, the list of exactly its objects. An object belongs to
the window of the time in its key while that window has no manifest, else to the next window that
is opened: wherever and whenever it turns up, it gets into exactly one window.

In its store, below one folder for each project:

    log/<entry>.json               a manifest; entry n + 1 is created only by who has read entry n,
                                   so that openings have an order, however many processes there are
    index/windows/<batch>          the entry that opened the window
    index/taken/<day>/<entry>.bin  16 bytes for each object that an entry took from a day;
                                   `<entry>.all.bin` sums up all entries up to it
    index/applied                  an entry up to which `windows` and `taken` are known to be
                                   complete, and where the next opening's sweep begins
    announced/<batch>-<id>.json    objects that a queue has announced and that wait, by the window
                                   of their time
    created                        shows that the store can create a file only once

Only `log` decides. The index follows from it and is written again by the next opening if a process
ends between the two; without its folder it is made anew. Announcements are hints: what they name
is looked up when a window is opened.

An opening looks at a bounded part of the source beside its own hours: the hours before them, newest
first, then a stretch that goes on where the last opening ended, so that late objects in old folders
are found in turn, and the announced objects that are late.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice, takewhile

from clickstream_dagster.batches.announced import Announcements
from clickstream_dagster.batches.objects import RawObject, Source, relative_key
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.batches.store import Store, open_store
from clickstream_dagster.batches.taken import Taken
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
LOOKBACK_OBJECTS = 10_000
SWEEP_OBJECTS = 10_000
SWEEP_DAYS = 62
LATE_ANNOUNCED = 10_000


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
        """Give the manifest as JSON, one object a line."""
        head = {
            "entry": self.entry,
            "source": self.source,
            "batch": self.window.batch,
            "start": self.window.start.isoformat(),
            "end": self.window.end.isoformat(),
            "late": self.late,
            "before_start": self.before_start,
            "swept": self.swept,
        }
        lines = ",\n".join(json.dumps(asdict(object_)) for object_ in self.objects)
        return f'{json.dumps(head, indent=1)[:-2]},\n "objects": [\n{lines}\n]}}\n'.encode()

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


@dataclass(frozen=True, slots=True)
class Announced:
    """What became of announced objects, as numbers.

    `recorded` wait for a window now, `known` had been taken already, `outside` are from before the
    project's first window or after its last.
    """

    recorded: int = 0
    known: int = 0
    outside: int = 0


class Ledger:
    """The ledger of one project: `store` holds it, `source` is what it gives to windows."""

    def __init__(self, store: Store, source: Source | str, window_of: WindowOf) -> None:
        self._store = store
        self.source = Source(source) if isinstance(source, str) else source
        self._window_of = window_of
        self._taken = Taken(store)
        self._announcements = Announcements(store)

    def open(self, window: Window) -> Manifest:
        """Give the window's manifest; the first call decides it, every later one reads it.

        Raises SourceError when the source is missing or may not be listed, LakeError when the
        store can't be read or written.
        """
        while True:
            head, swept = self._catch_up()
            pointer = self._store.read(_pointer(window))
            if pointer is not None:
                return self._entry(int(pointer))
            if head == 0:
                self._check_store()
            selection = _Selection(self, window, head)
            manifest = selection.manifest(swept)
            # Fails when another process has opened a window since `head`: then decide again.
            if self._store.create(_log(manifest.entry), manifest.as_json()):
                self._apply(manifest)
                self._announcements.settle(selection.settled())
                return manifest

    def manifest(self, window: Window) -> Manifest | None:
        """Give the manifest of a window that has been opened, None for any other."""
        pointer = self._store.read(_pointer(window))
        if pointer is None:
            self._catch_up()
            pointer = self._store.read(_pointer(window))
        return None if pointer is None else self._entry(int(pointer))

    def address(self, manifest: Manifest) -> str:
        """Give where a manifest lies: a path or an `s3://` address, for `read_manifest`."""
        return self._store.address(_log(manifest.entry))

    def is_open(self, window: Window) -> bool:
        """Whether the window has a manifest."""
        return self._store.exists(_pointer(window))

    def owner(self, object_: RawObject) -> Window | None:
        """Give the window of an object's time, None for a time outside the project's."""
        return self._window_of(key_time_ms(self.source.key(object_.uri), object_.arrival_ms))

    def waiting(self, objects: list[RawObject]) -> list[tuple[Window | None, RawObject]]:
        """Give those of `objects` that no window has taken, each with the window it waits for.

        None stands for the next window that is opened. Objects before the first window are left
        out.
        """
        head, _ = self._catch_up()
        opened = _Opened(self)
        keys = {self.source.key(object_.uri): object_ for object_ in objects}
        return [
            (None if owner in opened else owner, object_)
            for _key, object_, owner in self._untaken(keys, head)
            if owner is not None
        ]

    def announce(self, objects: Iterable[RawObject]) -> Announced:
        """Record objects that are said to be there, for the windows that they wait for.

        When this returns, the record is durable. Objects that a window has taken already are not
        recorded; one that is announced twice, is gone or has other content by now does no harm.
        """
        head, _ = self._catch_up()
        contents = {(self.source.key(object_.uri), object_.etag): object_ for object_ in objects}
        taken = self._taken.among(contents, head)
        windows: dict[Window, set[str]] = {}
        outside = 0
        for content in contents.keys() - taken:
            owner = self.owner(contents[content])
            if owner is None:
                outside += 1
            else:
                windows.setdefault(owner, set()).add(content[0])
        self._announcements.record(windows)
        return Announced(len(contents) - len(taken) - outside, len(taken), outside)

    def announced(self) -> set[Window | None]:
        """Give the windows that announced objects wait for; None for the next that is opened."""
        self._catch_up()
        opened = _Opened(self)
        starts = {start_ms for _, start_ms in self._announcements.files()}
        owners = {self._window_of(start_ms) for start_ms in starts}
        return {None if owner in opened else owner for owner in owners if owner is not None}

    def _untaken(
        self, objects: Mapping[str, RawObject], head: int
    ) -> Iterator[tuple[str, RawObject, Window | None]]:
        """Yield key, object and window of those that no entry up to `head` has taken."""
        taken = self._taken.among(((key, one.etag) for key, one in objects.items()), head)
        for key, object_ in objects.items():
            if (key, object_.etag) not in taken:
                yield key, object_, self.owner(object_)

    def _entry(self, entry: int) -> Manifest:
        body = self._store.read(_log(entry))
        if body is None:
            raise LakeError(
                f"the ledger has lost its entry {entry}; restore the lake's _ledger folder, or "
                "remove it whole to take every raw object anew"
            )
        return Manifest.from_json(body)

    def _catch_up(self) -> tuple[int, str | None]:
        """Apply the entries that a process left behind; give the last entry and its `swept`."""
        body = self._store.read("index/applied")
        mark = json.loads(body) if body else {"entry": 0, "swept": None}
        head, swept = mark["entry"], mark["swept"]
        while (body := self._store.read(_log(head + 1))) is not None:
            manifest = Manifest.from_json(body)
            self._apply(manifest)
            head, swept = manifest.entry, manifest.swept
        return head, swept

    def _apply(self, manifest: Manifest) -> None:
        # The source may have another address today; the keys below it stay.
        self._taken.add(
            manifest.entry,
            (
                (relative_key(manifest.source, object_.uri), object_.etag)
                for object_ in manifest.objects
            ),
        )
        self._store.write(_pointer(manifest.window), str(manifest.entry).encode())
        mark = {"entry": manifest.entry, "swept": manifest.swept}
        self._store.write("index/applied", json.dumps(mark).encode())

    def _check_store(self) -> None:
        self._store.create("created", b"")
        if self._store.create("created", b""):
            raise LakeError(
                "the lake's storage lets a file be created twice, so two processes could take the "
                "same raw objects; use a server that knows conditional writes (If-None-Match)"
            )


class _Opened:
    """The windows that have been opened, each looked up once."""

    def __init__(self, ledger: Ledger, *closed: Window) -> None:
        self._ledger = ledger
        self._known: dict[Window, bool] = dict.fromkeys(closed, False)

    def __contains__(self, window: Window | None) -> bool:
        if window is None:
            return False
        if window not in self._known:
            self._known[window] = self._ledger.is_open(window)
        return self._known[window]


class _Selection:
    """The objects that a window takes when it is opened behind the entry `head`."""

    def __init__(self, ledger: Ledger, window: Window, head: int) -> None:
        self._ledger = ledger
        self._source = ledger.source
        self._window = window
        self._head = head
        self._opened = _Opened(ledger, window)
        self._announced: dict[str, set[str]] = {}
        self._left: set[str] = set()

    def manifest(self, swept: str | None) -> Manifest:
        """Decide; `swept` is where the sweep begins."""
        candidates = self._own_hours() | self._hours_before()
        stretch, swept = self._stretch(swept)
        candidates |= stretch
        self._announced = self._read_announcements()
        unseen = set().union(*self._announced.values()) - candidates.keys()
        candidates |= self._source.find(sorted(unseen))
        chosen: dict[str, RawObject] = {}
        late = before_start = 0
        for key, object_, owner in self._ledger._untaken(candidates, self._head):
            if owner is None:
                before_start += 1
            elif owner == self._window or owner in self._opened:
                chosen[key] = object_
                late += owner != self._window
            else:
                self._left.add(key)
        return Manifest(
            entry=self._head + 1,
            source=self._source.address,
            window=self._window,
            objects=tuple(chosen[key] for key in sorted(chosen)),
            late=late,
            before_start=before_start,
            swept=swept,
        )

    def settled(self) -> list[str]:
        """Give the files of announcements that nothing waits in any more."""
        return [name for name, keys in self._announced.items() if not keys & self._left]

    def _own_hours(self) -> dict[str, RawObject]:
        # A file that the collector began in the hour before may be named by a second of this one.
        return self._between(self._window.start_ms - HOUR_MS, self._window.end_ms + HOUR_MS)

    def _hours_before(self) -> dict[str, RawObject]:
        found: dict[str, RawObject] = {}
        end = self._window.start_ms - HOUR_MS
        first = self._window.start_ms - LOOKBACK_MS
        hours = 1
        while end > first and len(found) < LOOKBACK_OBJECTS:
            begin = max(end - hours * HOUR_MS, first)
            found |= self._between(begin, end, LOOKBACK_OBJECTS - len(found))
            end, hours = begin, hours * 2
        return found

    def _stretch(self, after: str | None) -> tuple[dict[str, RawObject], str | None]:
        found: dict[str, RawObject] = {}
        days: set[str] = set()
        for object_ in self._source.objects(after, SWEEP_OBJECTS):
            key = self._source.key(object_.uri)
            found[key] = object_
            days.add(key_day(key))
            if len(days) == SWEEP_DAYS or len(found) == SWEEP_OBJECTS:
                return found, key
        return found, None

    def _between(
        self, first_ms: int, end_ms: int, limit: int | None = None
    ) -> dict[str, RawObject]:
        """List the hour folders of a time, and objects outside folders named by its seconds."""
        # `0` follows `/`: everything up to the end of the last hour folder.
        folders = (hour_folder(first_ms), hour_folder(end_ms - 1).rstrip("/") + "0")
        found = dict(islice(self._range(*folders), limit))
        if self._has_names_by_seconds:
            names = (str(first_ms // 1000), str(-(-end_ms // 1000)))
            found |= dict(islice(self._range(*names), limit))
        return found

    @cached_property
    def _has_names_by_seconds(self) -> bool:
        first = next(self._source.objects("0", 1), None)
        return first is not None and self._source.key(first.uri)[0].isdigit()

    def _range(self, after: str, until: str) -> Iterator[tuple[str, RawObject]]:
        listing = (
            (self._source.key(object_.uri), object_) for object_ in self._source.objects(after)
        )
        return takewhile(lambda pair: pair[0] < until, listing)

    def _read_announcements(self) -> dict[str, set[str]]:
        """Give the keys by file: all that may be the window's own, and a number of late ones."""
        own: list[str] = []
        late: list[str] = []
        for name, start_ms in self._ledger._announcements.files():
            owner = self._ledger._window_of(start_ms)
            if self._window.start_ms <= start_ms < self._window.end_ms:
                own.append(name)
            elif owner is None or owner in self._opened:
                late.append(name)
        read = self._ledger._announcements.read
        return read(own) | read(late, LATE_ANNOUNCED)


def read_manifest(address: str, s3: S3Access | None = None) -> Manifest:
    """Read a manifest from the path or the `s3://` address that the ledger gave for it.

    Raises LakeError when it is not there or can't be read.
    """
    folder, _, name = address.rpartition("/")
    body = open_store(folder, s3).read(name)
    if body is None:
        raise LakeError(
            f"the manifest {address} is not there; restore the lake's _ledger folder, or name the "
            "lake that the window was opened in"
        )
    return Manifest.from_json(body)


def _log(entry: int) -> str:
    return f"log/{entry:012d}.json"


def _pointer(window: Window) -> str:
    return f"index/windows/{window.batch}"
