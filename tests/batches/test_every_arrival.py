"""Whatever arrives, whenever and however often it is told: every object is in exactly one window.

Random histories of objects that turn up in their own folder or in old ones, with equal times, are
rewritten or taken away; of windows that are opened one by one, by several processes at once, or by
a process that is killed on the way; and of looks at a queue whose messages come again. In a
directory, and on S3 and SQS over HTTP.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from clickstream_dagster.batches import ledger as ledger_module
from clickstream_dagster.batches import queue as queue_module
from clickstream_dagster.batches.ledger import Ledger, Manifest
from clickstream_dagster.batches.objects import Source
from clickstream_dagster.batches.queue import Queue, take_announcements
from clickstream_dagster.batches.store import Store, open_store
from tests.batches.test_ledger import key, window, window_of

HOURS = 5
Content = tuple[str, str]


class Killed(BaseException):
    """The process ends here."""


class MortalStore:
    """A store whose process is killed at one of its writes: before or after it."""

    def __init__(self, store: Store, writes: int, after: bool) -> None:
        self._store = store
        self._left = writes
        self._after = after

    def create(self, name: str, body: bytes) -> bool:
        return self._write(self._store.create, name, body)

    def write(self, name: str, body: bytes) -> None:
        self._write(self._store.write, name, body)

    def delete(self, name: str) -> None:
        self._write(self._store.delete, name)

    def _write(self, what: Any, *arguments: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        answer = what(*arguments)
        if self._left == 0:
            raise Killed
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Place(Protocol):
    """Raw objects, a store for the ledger and perhaps a queue; new ones for each history."""

    source: Source
    store: Store
    queue: Queue | None

    def put(self, name: str, body: bytes) -> None: ...

    def remove(self, name: str) -> None: ...

    def forget(self) -> None: ...


class Directory:
    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._raw = Path(self._folder.name) / "raw"
        self._raw.mkdir()
        self.source = Source(str(self._raw))
        self.store = open_store(f"{self._folder.name}/ledger")
        self.queue = None

    def put(self, name: str, body: bytes) -> None:
        path = self._raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def remove(self, name: str) -> None:
        os.remove(self._raw / name)

    def forget(self) -> None:
        self._folder.cleanup()


class OnS3:
    def __init__(self, bucket: Any, queue_url: str | None) -> None:
        self._bucket = bucket
        self.source = Source(bucket.address("raw"))
        self.store = open_store(bucket.address("lake/_ledger/shop"))
        self.queue = Queue(queue_url) if queue_url else None

    def put(self, name: str, body: bytes) -> None:
        self._bucket.put(f"raw/{name}", body)

    def remove(self, name: str) -> None:
        self._bucket.client.delete_object(Bucket=self._bucket.name, Key=f"raw/{name}")

    def forget(self) -> None:
        pass


hours = st.integers(-1, HOURS - 1)
opened_hours = st.integers(0, HOURS - 1)


class Arrivals(RuleBasedStateMachine):
    """The history; `make_place` is set by the tests."""

    make_place: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.place: Place = type(self).make_place()
        self.put_number = 0
        self.names: dict[str, int] = {}
        self.manifests: dict[int, Manifest] = {}
        self.owners: dict[Content, int] = {}
        self.next_hour = HOURS

    def ledger(self, store: Store | None = None) -> Ledger:
        return Ledger(store or self.place.store, self.place.source, window_of)

    @initialize(sweep=st.sampled_from([1, 3, 10_000]), near=st.sampled_from([0, 2, 10_000]))
    def limits(self, sweep: int, near: int) -> None:
        ledger_module.SWEEP_OBJECTS, ledger_module.LOOKBACK_OBJECTS = sweep, near

    @rule(hour=hours, minute=st.integers(0, 1), where=st.sampled_from(["", "before", "flat", "+x"]))
    def an_object_arrives(self, hour: int, minute: int, where: str) -> None:
        self.put_number += 1
        own = key(hour, minute, f"{self.put_number}")
        folder, _, name = own.rpartition("/")
        if where == "before":
            folder = key(hour - 1).rpartition("/")[0]
        elif where == "+x":  # a key that a queue has to encode
            folder = f"topic +{folder}"
        name = name if where == "flat" else f"{folder}/{name}"
        self._put(name)
        self.names[name] = hour

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def an_object_is_rewritten(self, data: st.DataObject) -> None:
        self.put_number += 1
        self._put(data.draw(st.sampled_from(sorted(self.names))))

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def an_object_is_taken_away(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.names)))
        self.place.remove(name)
        del self.names[name]

    @rule(hour=opened_hours)
    def a_window_is_opened(self, hour: int) -> None:
        self._opened({hour: self.ledger().open(window(hour))})

    @rule(numbers=st.lists(opened_hours, min_size=2, max_size=4))
    def windows_are_opened_at_once(self, numbers: list[int]) -> None:
        with ThreadPoolExecutor(len(numbers)) as pool:
            manifests = list(pool.map(lambda one: self.ledger().open(window(one)), numbers))
        for number, manifest in zip(numbers, manifests, strict=True):
            assert manifest == manifests[numbers.index(number)]
        self._opened(dict(zip(numbers, manifests, strict=True)))

    @rule(hour=opened_hours, writes=st.integers(1, 6), after=st.booleans())
    def a_process_is_killed_when_it_opens_a_window(
        self, hour: int, writes: int, after: bool
    ) -> None:
        with suppress(Killed):
            self.ledger(MortalStore(self.place.store, writes, after)).open(window(hour))
        # What it had decided stays decided.
        manifest = self.ledger().manifest(window(hour))
        if manifest:
            self._opened({hour: manifest})

    @precondition(lambda self: self.place.queue)
    @rule(most=st.sampled_from([2, 1_000]), times=st.integers(1, 3))
    def the_queue_is_looked_at(self, most: int, times: int) -> None:
        def look(_: int) -> None:
            take_announcements(self.place.queue, self.ledger(), most)

        with ThreadPoolExecutor(times) as pool:
            list(pool.map(look, range(times)))

    @precondition(lambda self: self.place.queue)
    @rule(writes=st.integers(1, 2), after=st.booleans())
    def a_process_is_killed_when_it_looks_at_the_queue(self, writes: int, after: bool) -> None:
        usual = queue_module.VISIBILITY_SECONDS
        queue_module.VISIBILITY_SECONDS = 0  # its messages come again at once
        try:
            with suppress(Killed):
                mortal = self.ledger(MortalStore(self.place.store, writes, after))
                take_announcements(self.place.queue, mortal, most=10)
        finally:
            queue_module.VISIBILITY_SECONDS = usual

    @invariant()
    def nothing_has_changed_in_what_was_opened(self) -> None:
        for number in list(self.manifests)[-1:]:
            assert self.ledger().open(window(number)) == self.manifests[number]

    def teardown(self) -> None:
        try:
            for number in range(HOURS):
                self._opened({number: self.ledger().open(window(number))})
            if self.place.queue:
                take_announcements(self.place.queue, self.ledger())
            # A sweep of one object a time comes round once for each object, then for late ones.
            rounds = 0
            while self._untaken() and rounds < 2 * self.put_number + 2:
                self._opened({self.next_hour: self.ledger().open(window(self.next_hour))})
                self.next_hour, rounds = self.next_hour + 1, rounds + 1
            assert self._untaken() == set()
            for number, manifest in self.manifests.items():
                assert self.ledger().open(window(number)) == manifest
        finally:
            self.place.forget()

    def _put(self, name: str) -> None:
        # Of a length of its own: in a directory, two writes within one clock tick differ in size.
        self.place.put(name, b"x" * self.put_number)

    def _untaken(self) -> set[Content]:
        present = {
            (self.place.source.key(one.uri), one.etag) for one in self.place.source.objects()
        }
        assert {name for name, _ in present} == self.names.keys()
        belonging = {one for one in present if self.names[one[0]] >= 0}
        assert not {one for one in present - belonging if one in self.owners}
        return belonging - self.owners.keys()

    def _opened(self, manifests: dict[int, Manifest]) -> None:
        new = {number for number in manifests if number not in self.manifests}
        for number, manifest in manifests.items():
            assert self.manifests.setdefault(number, manifest) == manifest
        for number in new:
            for one in manifests[number].objects:
                content = (self.place.source.key(one.uri), one.etag)
                assert content not in self.owners, f"{content} is in two windows"
                self.owners[content] = number
                of_its_own = (window_of_key(content[0])) == number
                assert of_its_own or window_of_key(content[0]) in self.manifests


def window_of_key(name: str) -> int:
    seconds = int(Path(name).name.partition("-")[0])
    return (seconds * 1000 - window(0).start_ms) // 3_600_000


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    monkeypatch.setattr(ledger_module, "LOOKBACK_MS", 2 * 3_600_000)
    for name in ("SWEEP_OBJECTS", "LOOKBACK_OBJECTS"):  # set by the histories, put back here
        monkeypatch.setattr(ledger_module, name, getattr(ledger_module, name))
    monkeypatch.setattr(queue_module, "_WAIT_SECONDS", 0)


def run(make_place: Any, histories: int, steps: int) -> None:
    machine = type("ArrivalsHere", (Arrivals,), {"make_place": staticmethod(make_place)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_in_a_directory():
    run(Directory, histories=40, steps=25)


def test_on_s3(make_bucket):
    run(lambda: OnS3(make_bucket(), None), histories=3, steps=12)


def test_on_s3_with_a_queue(make_bucket, make_queue):
    def make() -> OnS3:
        bucket = make_bucket()
        return OnS3(bucket, make_queue(bucket).url)

    run(make, histories=3, steps=14)


@pytest.mark.heavy
def test_in_a_directory_for_long():
    run(Directory, histories=600, steps=50)


@pytest.mark.heavy
def test_on_s3_for_long(make_bucket):
    run(lambda: OnS3(make_bucket(), None), histories=25, steps=25)


@pytest.mark.heavy
def test_on_s3_with_a_queue_for_long(make_bucket, make_queue):
    def make() -> OnS3:
        bucket = make_bucket()
        return OnS3(bucket, make_queue(bucket).url)

    run(make, histories=25, steps=25)
