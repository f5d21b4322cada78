"""Thousands of damaged records through the whole job: none is lost, and none costs its neighbours.

`CLICKSTREAM_FUZZ=N` sets how many the heavy test sends, `CLICKSTREAM_FUZZ_SEED=S` where it starts.
"""

import gzip
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from clickstream_dagster.processing.bad_reasons import DISCARDED, BadReason
from clickstream_dagster.processing.counters import BatchCounters
from tests.processing.conftest import Pipeline
from tests.processing.mutations import OF_BYTES, generated_records, mutated_line
from tests.processing.oracle import (
    Expected,
    expected_of,
    is_surely_bad,
    is_surely_good,
    joined_pairs,
)
from tests.processing.records_input import NOW_MS, event, packed, plain, record
from tests.processing.test_replay import content, replay

QUICK = 2_000
# Parts of an event whose members are told of by themselves.
OWNERS = ("attributes", "user", "event_dimensions", "ecommerce")
HEAVY = int(os.environ.get("CLICKSTREAM_FUZZ", "20000"))
SEED = int(os.environ.get("CLICKSTREAM_FUZZ_SEED", "1"))
AT_ONCE = 5_000
DAY_MS = 86_400_000
OBJECTS = 6


def good_line(number: int) -> bytes:
    """Give a record that nothing is wrong with: request `g<number>`, two events."""
    pack = packed if number % 2 else plain
    body = pack(*(good_event(number, place) for place in range(2)))
    return json.dumps(record(body, rid=f"g{number}", ingest_time=NOW_MS + 5_000)).encode()


def good_event(number: int, place: int) -> dict:
    return event(
        f"g{number}-{place}",
        timestamp=NOW_MS + number,
        unique_id=f"user-{number % 7}",
        attributes={"n": number, "half": number + 0.5, "text": f"é\t{number}"},
    )


def lines_of(count: int, seed: int, generated: list[dict]) -> list[bytes]:
    """Give damaged records, a good one behind every third."""
    chance = Random(seed)
    lines: list[bytes] = []
    for number in range(count):
        lines.append(mutated_line(number, chance, generated))
        if number % 3 == 0:
            lines.append(good_line(number))
    return lines


class Sent:
    """Raw objects in a folder, and what is on each of their lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: dict[tuple[str, int], bytes] = {}
        folder.mkdir(parents=True)

    def add(self, number: int, lines: list[bytes]) -> None:
        """Write an object. Its own time of arrival is that of all others."""
        path = self.folder / f"{number:03}.log.gz"
        half = len(lines) // 2
        members = (b"\n".join(part) + b"\n" for part in (lines[:half], lines[half:]))
        path.write_bytes(b"".join(gzip.compress(member, 1, mtime=0) for member in members))
        os.utime(path, (NOW_MS / 1000, NOW_MS / 1000))
        for place, line in enumerate(lines, 1):
            if line.strip():
                self.lines[str(path), place] = line

    def expected(self) -> dict[tuple[str, int], Expected]:
        return {place: expected_of(line) for place, line in self.lines.items()}


def params(row: dict) -> dict[str, object]:
    return {
        pair["key"]: next(value for value in pair["value"].values() if value is not None)
        for pair in row["event_params"]
    }


def assert_good_events_are_whole(rows: dict[str, dict], numbers: Iterator[int]) -> None:
    for number in numbers:
        for place in range(2):
            sent, row = good_event(number, place), rows[f"g{number}-{place}"]
            assert params(row) == sent["attributes"]
            told = ("event_timestamp", "user_pseudo_id", "event_name", "app_id", "request_id")
            assert [row[name] for name in (*told, "request_position", "ingest_timestamp")] == [
                *(sent["timestamp"], sent["unique_id"], "_page_view", "shop", f"g{number}"),
                *(place, NOW_MS + 5_000),
            ]
            assert row["device"]["ua_browser"] == "Chrome"


def squeezed(text: str) -> str:
    """Give a text without what a bad row need not keep: how signs are escaped."""
    return re.sub(r"[\0\ud800-\udfff]", "\ufffd", joined_pairs(text))


def assert_bad_rows_hold_what_was_sent(bad: list[dict], sent: Sent) -> None:
    """Whole requests byte by byte; events and parts as they stand in the text of the body."""
    expected = sent.expected()
    for row in bad:
        place = row["source_object"], row["source_line"]
        told, payload = expected[place], row["payload"]
        assert row["reason"] in set(BadReason)
        if row["request_position"] is None:
            assert told.elements is None, row
            assert payload == sent.lines[place].strip(b"\r\n")
            continue
        text = payload.decode()
        element = told.elements[row["request_position"]]
        if row["reason"] in DISCARDED:
            ((key, value),) = json.loads(text).items()
            owners = [element, *(element.get(name) for name in OWNERS)]
            if isinstance(element.get("items"), list):
                owners += element["items"]
            found = [owner[key] for owner in owners if isinstance(owner, dict) and key in owner]
            assert any(same(value, one) for one in found), row
            continue
        assert told.text is None or text in squeezed(told.text), row
        if row["reason"] == BadReason.TIMESTAMP_IN_FUTURE:
            assert int(element["timestamp"]) > row["ingest_timestamp"] + DAY_MS, row
        assert same(json.loads(text), element), row


def same(one: object, other: object) -> bool:
    """Whether two JSON values are equal, NaN to itself, too."""
    return json.dumps(one) == json.dumps(other)


def assert_fates(counters: BatchCounters, bad: list[dict], sent: Sent) -> None:
    """Compare the counts, and the fate of every event that the rules leave no doubt about."""
    expected = sent.expected()
    readable = {place: one for place, one in expected.items() if one.elements is not None}
    assert counters.requests == len(expected)
    assert counters.bad_requests == len(expected) - len(readable)
    assert counters.empty == sum(not one.elements for one in readable.values())
    assert counters.events == counters.bad_requests + sum(
        len(one.elements) for one in readable.values()
    )
    bad_places: dict[tuple[str, int], set[int]] = defaultdict(set)
    for row in bad:
        # What is ahead of its arrival, nobody can tell by the event alone.
        doubtful = {*DISCARDED, BadReason.TIMESTAMP_IN_FUTURE}
        if row["reason"] not in doubtful and row["request_position"] is not None:
            bad_places[row["source_object"], row["source_line"]].add(row["request_position"])
    for place, one in readable.items():
        for position, element in enumerate(one.elements):
            is_bad = position in bad_places[place]
            assert not (is_bad and is_surely_good(element)), (place, position, element)
            assert is_bad or not is_surely_bad(element), (place, position, element)


def without_place(pipeline: Pipeline) -> tuple[list[str], Counter]:
    """Give both tables without what follows from the objects and batches that records were in."""

    def request_id(row: dict) -> str | None:
        # A request without an id of its own is named by its place.
        return None if row["request_id"].startswith(str(pipeline.directory)) else row["request_id"]

    events = sorted(
        json.dumps(row | {"ingest_batch": "", "request_id": request_id(row)}, default=str)
        for row in pipeline.rows("ods_event")
    )
    bad = Counter(
        (request_id(row), row["request_position"], row["reason"], row["payload"])
        for row in pipeline.rows("bad_event")
    )
    return events, bad


def check(spark: object, directory: Path, count: int, seed: int, generated: list[dict]) -> None:
    """Send damaged records in two batches, look at everything, and send them in another order."""
    lines = lines_of(count, seed, generated)
    apart = Pipeline(spark, directory / "apart")
    total = BatchCounters()
    everything: list[Sent] = []
    for name in ("b1", "b2"):
        sent = Sent(apart.directory / "raw" / name)
        mine = lines[name == "b2" :: 2]
        for number in range(OBJECTS):
            sent.add(number, mine[number::OBJECTS])
        counters = apart.run(name, sent.folder)
        assert counters.imbalance() is None
        bad = [row for row in apart.rows("bad_event") if row["ingest_batch"] == name]
        assert_bad_rows_hold_what_was_sent(bad, sent)
        assert_fates(counters, bad, sent)
        assert len(bad) == counters.bad + counters.discarded - counters.bad_repeated
        total.add(counters.as_dict())
        everything.append(sent)
    rows = apart.rows("ods_event")
    assert len(rows) == total.written - total.superseded
    assert (
        Counter((r["app_id"], r["event_date"], r["event_id"]) for r in rows).most_common(1)[0][1]
        == 1
    )
    assert_good_events_are_whole({row["event_id"]: row for row in rows}, iter(range(0, count, 3)))
    before = content(apart, "ods_event"), content(apart, "bad_event")

    assert apart.run("b1", everything[0].folder).imbalance() is None
    assert (content(apart, "ods_event"), content(apart, "bad_event")) == before
    replayed = replay(apart)
    assert replayed.mended == {}
    assert replayed.batch.written == 0
    assert replayed.batch.bad > count / 20
    assert (content(apart, "ods_event"), content(apart, "bad_event")) == before

    together = Pipeline(spark, directory / "together")
    sent = Sent(together.directory / "raw" / "all")
    shuffled = Random(seed).sample(lines, len(lines))
    for number in range(2):
        sent.add(number, shuffled[number::2])
    assert together.run("all", sent.folder).imbalance() is None
    assert without_place(together) == without_place(apart)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return generated_records(tmp_path_factory.mktemp("generated"))


def test_damaged_records_are_told_and_cost_no_other(
    spark: object, tmp_path: Path, generated: list[dict]
) -> None:
    check(spark, tmp_path, QUICK, 20_261_125, generated)


@pytest.mark.heavy
def test_very_many_damaged_records_are_told_and_cost_no_other(
    spark: object, tmp_path: Path, generated: list[dict]
) -> None:
    for number in range(-(-HEAVY // AT_ONCE)):
        check(spark, tmp_path / str(number), min(AT_ONCE, HEAVY), SEED + number, generated)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_objects_give_all_that_was_sent_before_the_damage(
    spark: object, tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)
    pipeline = Pipeline(spark, tmp_path)
    source = tmp_path / "raw" / "b1"
    source.mkdir(parents=True)
    before: list[int] = []
    for number in range(40):
        numbers = range(number * 10, number * 10 + 10)
        whole, broken = (
            gzip.compress(b"".join(good_line(one) + b"\n" for one in part), mtime=0)
            for part in (numbers[:5], numbers[5:])
        )
        before += numbers[:5]
        (source / f"{number:03}.gz").write_bytes(whole + chance.choice(OF_BYTES)(broken, chance))
    counters = pipeline.run("b1", source)
    assert counters.imbalance() is None
    rows = pipeline.rows("ods_event")
    assert_good_events_are_whole({row["event_id"]: row for row in rows}, iter(before))
    broken = Counter(
        row["source_object"]
        for row in pipeline.rows("bad_event")
        if row["reason"] == BadReason.BROKEN_OBJECT
    )
    # A flipped bit may change a text, which only the checksum at the end of the gzip data tells.
    sent = {f"g{number}-{place}" for number in range(400) for place in range(2)}
    assert len({row["event_id"] for row in rows} - sent) <= broken.total()
    assert broken.total() > 15
    assert set(broken.values()) == {1}
    assert replay(pipeline).left == {"broken_object": broken.total()}
