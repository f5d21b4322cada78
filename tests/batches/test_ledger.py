"""Every raw object gets into exactly one window; a window reads the same objects for ever."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickstream_dagster.batches import ledger as ledger_module
from clickstream_dagster.batches.ledger import Ledger
from clickstream_dagster.batches.objects import list_objects, relative_key
from clickstream_dagster.batches.store import DirectoryStore, open_store
from clickstream_dagster.batches.windows import Window, hour_folder

START = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def window(number: int) -> Window:
    return Window(START + number * HOUR, START + (number + 1) * HOUR)


def window_of(time_ms: int) -> Window | None:
    number = (time_ms - window(0).start_ms) // 3_600_000
    return window(number) if number >= 0 else None


def key(number: int, minute: int = 0, name: str = "a") -> str:
    time_ms = window(number).start_ms + minute * 60_000
    return f"{hour_folder(time_ms)}{time_ms // 1000}-{name}.log.gz"


class Raw:
    """A raw directory and its ledger."""

    def __init__(self, root: Path) -> None:
        self.source, self.root = root / "raw", root
        self.source.mkdir()

    def put(self, *keys: str, body: bytes = b"x") -> None:
        for name in keys:
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    def ledger(self) -> Ledger:
        return Ledger(DirectoryStore(str(self.root / "ledger")), str(self.source), window_of)

    def open(self, number: int) -> list[str]:
        manifest = self.ledger().open(window(number))
        return [relative_key(str(self.source), object_.uri) for object_ in manifest.objects]


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path)


def test_a_window_holds_the_objects_of_its_own_time(raw):
    raw.put(key(0), key(0, 59), key(1), key(2))
    assert raw.open(1) == [key(1)]
    assert raw.open(0) == [key(0), key(0, 59)]
    assert raw.open(2) == [key(2)]


def test_a_window_without_objects_has_an_empty_manifest(raw):
    assert raw.open(3) == []
    assert raw.ledger().is_open(window(3))


def test_a_late_object_goes_to_the_next_window_that_is_opened(raw):
    raw.put(key(0))
    raw.open(0)
    raw.put(key(0, 5, "late"), key(2))
    manifest = raw.ledger().open(window(2))
    assert [Path(object_.uri).name for object_ in manifest.objects] == [
        Path(key(0, 5, "late")).name,
        Path(key(2)).name,
    ]
    assert manifest.late == 1
    assert raw.open(0) == [key(0)]


def test_an_opened_window_never_changes(raw):
    raw.put(key(0))
    first = raw.ledger().open(window(0))
    raw.put(key(0, 1, "late"))
    assert raw.ledger().open(window(0)) == first
    os.remove(raw.source / key(0))
    assert raw.ledger().open(window(0)) == first


def test_an_object_for_a_window_that_is_not_open_yet_waits_for_it(raw):
    raw.put(key(0), key(5))
    assert raw.open(0) == [key(0)]
    assert raw.open(5) == [key(5)]


def test_a_backfill_over_old_folders_splits_them_by_their_own_time(raw):
    raw.put(*[key(number) for number in range(48)])
    raw.open(47)
    assert [raw.open(number) for number in range(47)] == [[key(number)] for number in range(47)]


def test_an_object_before_the_first_window_belongs_to_none_and_is_told(raw):
    raw.put(key(-1), key(0))
    manifest = raw.ledger().open(window(0))
    assert len(manifest.objects) == 1
    assert manifest.before_start == 1


def test_an_object_written_again_with_other_content_is_a_new_one(raw):
    raw.put(key(0), body=b"first")
    raw.open(0)
    raw.put(key(0), body=b"second time")
    assert raw.open(1) == [key(0)]
    assert raw.open(2) == []


def test_a_name_with_the_seconds_of_the_next_hour_is_found_in_the_folder_before(raw, monkeypatch):
    monkeypatch.setattr(ledger_module, "SWEEP_OBJECTS", 1)
    crossing = f"{hour_folder(window(9).start_ms)}{window(10).start_ms // 1000}-x.log.gz"
    raw.put(*[key(number) for number in range(12)], crossing)
    assert raw.open(9) == [key(9)]
    assert raw.open(10) == sorted([key(10), crossing])


def test_a_late_object_in_a_folder_far_back_is_found_in_turn(raw, monkeypatch):
    monkeypatch.setattr(ledger_module, "SWEEP_OBJECTS", 50)
    raw.put(*[key(number) for number in range(200)])
    for number in range(200):
        raw.open(number)
    raw.put(key(3, 30, "very-late"))
    found = [raw.open(number) for number in range(200, 206)]
    assert [key(3, 30, "very-late")] in found
    assert sum(map(len, found)) == 1


def test_objects_outside_hour_folders_are_found_too(raw):
    flat = f"{window(1).start_ms // 1000}-flat.log.gz"
    topic = f"topic/{hour_folder(window(1).start_ms)}topic+0+1.json.gz"
    raw.put(flat, topic)
    assert raw.open(1) == [flat, topic]


def test_many_processes_that_open_windows_at_once_share_the_objects_out(raw):
    raw.put(*[key(number, minute) for number in range(8) for minute in range(5)])
    raw.open(7)
    raw.put(*[key(7, minute, "late") for minute in range(20)])
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(raw.open, [0, 1, 2, 3, 4, 5, 6, 0, 1, 2]))
    assert opened[0] == opened[7]
    assert opened[1] == opened[8]
    assert opened[2] == opened[9]
    objects = [name for names in opened[:7] for name in names]
    assert len(objects) == len(set(objects)) == 7 * 5 + 20


def test_an_opening_that_ended_after_its_manifest_is_completed_by_the_next(raw, monkeypatch):
    raw.put(key(0), key(1))
    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "_apply", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            raw.open(0)
    raw.put(key(0, 9, "late"))
    assert raw.open(1) == [key(0, 9, "late"), key(1)]
    assert raw.open(0) == [key(0)]


def test_the_record_of_a_day_is_summed_up_and_stays_true(raw):
    raw.put(*[key(number) for number in range(24)])
    for number in range(24):
        raw.open(number)
    raw.put(*[key(number, 1, "late") for number in range(24)])
    assert len(raw.open(24)) == 24
    names = DirectoryStore(str(raw.root / "ledger")).names("index/taken/2026-11-01")
    assert [name for name in names if name.endswith(".all.bin")]
    assert raw.open(25) == []


def test_waiting_objects_are_told_with_the_window_they_wait_for(raw):
    raw.put(key(0), key(-1))
    raw.open(0)
    raw.put(key(0, 1, "late"), key(1))
    waiting = raw.ledger().waiting(list(list_objects(str(raw.source))))
    assert [(owner, Path(object_.uri).name) for owner, object_ in waiting] == [
        (None, Path(key(0, 1, "late")).name),
        (window(1), Path(key(1)).name),
    ]


def test_a_ledger_in_s3_does_the_same(bucket):
    source = bucket.address("raw")
    ledger = Ledger(open_store(bucket.address("lake/_ledger/shop")), source, window_of)

    def open_window(number: int) -> list[str]:
        manifest = ledger.open(window(number))
        return [relative_key(source, object_.uri) for object_ in manifest.objects]

    bucket.put(f"raw/{key(0)}", b"x")
    bucket.put(f"raw/{key(1)}", b"x")
    assert open_window(0) == [key(0)]
    bucket.put(f"raw/{key(0, 9, 'late')}", b"y")
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(open_window, [1, 2, 1, 2]))
    assert opened[0] == opened[2]
    assert opened[1] == opened[3]
    assert sorted(opened[0] + opened[1]) == sorted([key(1), key(0, 9, "late")])
    assert open_window(0) == [key(0)]


arrivals = st.lists(
    st.one_of(
        # an object of an hour turns up
        st.tuples(st.just("put"), st.integers(-2, 11), st.integers(0, 59)),
        # a window is opened
        st.tuples(st.just("open"), st.integers(0, 9), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=arrivals, sweep=st.sampled_from([1, 3, 10_000]))
def test_every_object_gets_into_exactly_one_window_whatever_the_order(steps, sweep):
    usual = ledger_module.SWEEP_OBJECTS
    ledger_module.SWEEP_OBJECTS = sweep
    try:
        with tempfile.TemporaryDirectory() as folder:
            raw = Raw(Path(folder))
            put: dict[str, int] = {}
            seen: dict[int, list[str]] = {}
            for step, (action, number, minute) in enumerate(steps):
                if action == "put":
                    name = key(number, minute, f"{step}")
                    put[name] = number
                    raw.put(name)
                else:
                    opened = raw.open(number)
                    assert seen.setdefault(number, opened) == opened
                    assert all(put[name] <= number or put[name] in seen for name in opened)
            for number in range(12):
                seen[number] = raw.open(number)
            # What came for windows opened before goes to the next one.
            seen[12] = raw.open(12)
            objects = sorted(name for names in seen.values() for name in names)
            assert objects == sorted(name for name, number in put.items() if number >= 0)
            assert all(raw.open(number) == names for number, names in seen.items())
    finally:
        ledger_module.SWEEP_OBJECTS = usual
