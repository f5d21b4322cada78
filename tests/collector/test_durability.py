"""What is acknowledged arrives: over kills, torn disks, full disks and sinks out of reach."""

import os
import random
import re
import signal
import socket
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.collector.load import Load, event_ids
from tests.collector.running import (
    QUERY,
    RunningCollector,
    records_in,
    refusal_to_run,
    running_collector,
)
from tests.served import eventually

EVENTS = b'[{"event_id": "e1"}]'
KILLS = int(os.environ.get("CLICKSTREAM_COLLECTOR_KILLS", "50"))


def killed_under_load(root: Path, rounds: int, seed: int) -> tuple[list[str], list[dict]]:
    """Run, load and kill a collector at random moments; give what was acknowledged and what came.

    Every third time a worker alone is killed first, and goes on by itself.
    """
    rng = random.Random(seed)
    acknowledged: list[str] = []
    for number in range(rounds):
        with (
            running_collector(root, "--segment-mb", "1", "--segment-seconds", "1", workers=2) as it,
            Load(it.port) as load,
        ):
            if number % 3 == 2:
                time.sleep(rng.uniform(0.1, 0.5))
                os.kill(worker_of(it), signal.SIGKILL)
            time.sleep(rng.uniform(0.05, 1.5))
            it.kill()
        acknowledged += load.acknowledged
    with running_collector(root) as it:
        it.stop()
    return acknowledged, records_in(root / "raw")


def worker_of(collector: RunningCollector) -> int:
    return int(re.findall(r'has been started".* "worker": (\d+)', collector.log.read_text())[-1])


def all_arrived(acknowledged: list[str], records: list[dict]) -> None:
    arrived = event_ids(records)
    assert len(acknowledged) > 50
    assert set(acknowledged) - set(arrived) == set()
    twice = {event for event, times in Counter(arrived).items() if times > 1}
    rids = {record["rid"] for record in records if set(event_ids([record])) & twice}
    assert len(rids) <= len(twice)  # what came twice has one rid


def test_loses_nothing_acknowledged_when_it_is_killed(tmp_path) -> None:
    all_arrived(*killed_under_load(tmp_path, 3, seed=1))


@pytest.mark.heavy
def test_loses_nothing_acknowledged_in_many_kills(tmp_path) -> None:
    all_arrived(*killed_under_load(tmp_path, KILLS, seed=2))


@pytest.mark.parametrize("damage", ["cut", "garbage", "zeros"])
def test_takes_up_what_is_whole_of_a_torn_segment(tmp_path, damage: str) -> None:
    with running_collector(tmp_path) as it:
        for number in range(20):
            it.send(b'[{"event_id": "e%d"}]' % number)
        it.kill()
    (segment,) = (tmp_path / "spool").rglob("*.open")
    whole = segment.read_bytes()
    torn = whole[len(whole) // 2 :][: len(whole) // 40]
    if damage == "cut":  # the last group of a write that power has ended: never acknowledged
        segment.write_bytes(whole + torn)
    elif damage == "garbage":
        segment.write_bytes(whole + os.urandom(5_000))
    else:
        segment.write_bytes(whole + bytes(100_000))

    with running_collector(tmp_path) as it:
        records = it.records()

    assert sorted(event_ids(records)) == sorted(f"e{number}" for number in range(20))
    assert not list((tmp_path / "spool").rglob("*.open"))


def test_keeps_a_sealed_segment_that_the_disk_has_damaged(tmp_path) -> None:
    with running_collector(tmp_path) as it:
        it.sink.rmdir()
        it.sink.write_text("no directory")
        it.send(EVENTS)
        it.stop()
    it.sink.unlink()
    (segment,) = it.spool.rglob("*.sealed")
    segment.write_bytes(segment.read_bytes()[:-3] + b"\0\0\0")

    with running_collector(tmp_path) as it:
        it.send(b'[{"event_id": "e2"}]')
        it.stop()

    assert event_ids(records_in(it.sink)) == ["e2"]
    assert segment.exists()
    assert "is damaged behind byte 0" in it.log.read_text()


def test_answers_503_while_the_disk_is_full_and_goes_on_behind_it(tmp_path) -> None:
    too_much = str(1 << 40)
    with running_collector(tmp_path, "--min-free-mb", too_much) as it:
        answer = it.send(EVENTS)
        health = it.send(None, path="/health", query="", method="GET")

        assert (answer.status, int(answer.headers["retry-after"]) > 0) == (503, True)
        assert b"are free on the disk" in answer.body
        assert health.status == 503
        it.stop()

    assert records_in(tmp_path / "raw") == []


def test_acknowledges_nothing_that_the_disk_refuses(tmp_path, monkeypatch) -> None:
    """The system refuses to let a file grow, as a full disk does: in the middle of a write."""
    limit = tmp_path / "limited"
    limit.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{limit}:{os.environ.get('PYTHONPATH', '')}")
    (limit / "sitecustomize.py").write_text(
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
    )
    with running_collector(tmp_path) as it, Load(it.port, clients=4) as load:
        eventually(lambda: load.refused, 30)
        time.sleep(2)
    monkeypatch.undo()
    with running_collector(tmp_path) as it:
        records = it.records()

    assert set(load.refused) == {503}
    all_arrived(load.acknowledged, records)


def test_keeps_what_the_sink_does_not_take_and_ships_it_later(tmp_path) -> None:
    raw = tmp_path / "raw"
    with running_collector(tmp_path, "--segment-seconds", "1") as it:
        it.send(EVENTS)
        eventually(lambda: records_in(raw), 20)
        away = raw.rename(tmp_path / "away")
        raw.write_text("no directory")

        for _ in range(30):
            assert it.send(EVENTS).status == 200
        eventually(lambda: 'sink_total{kind="errors"} 0' not in it.metrics(), 20)
        raw.unlink()
        away.rename(raw)

        eventually(lambda: len(records_in(raw)) == 31, 60)
        it.stop()
    assert len(records_in(raw)) == 31


def test_ends_in_time_when_the_sink_is_out_of_reach(tmp_path) -> None:
    raw = tmp_path / "raw"
    with running_collector(tmp_path) as it:
        it.send(EVENTS)
        raw.rmdir() if raw.exists() else None
        raw.write_text("no directory")
        it.stop()
    raw.unlink()

    with running_collector(tmp_path) as it:
        assert event_ids(it.records()) == ["e1"]


def test_ships_all_before_it_ends(tmp_path) -> None:
    with running_collector(tmp_path, workers=2) as it:
        with Load(it.port) as load:
            load.until(100)
        assert it.stop() == 0

    all_arrived(load.acknowledged, records_in(tmp_path / "raw"))
    assert not [file for file in it.spool.rglob("*") if file.suffix in (".open", ".sealed")]


def test_ends_with_the_process_that_holds_its_standard_input(tmp_path) -> None:
    with running_collector(tmp_path, "--end-with-stdin") as it:
        it.send(EVENTS)
        assert it.process.poll() is None
        it.process.stdin.close()
        assert it.process.wait(60) == 0

    assert event_ids(records_in(it.sink)) == ["e1"]


def test_workers_end_with_a_main_process_that_is_killed(tmp_path) -> None:
    with running_collector(tmp_path, workers=2) as it:
        it.send(EVENTS)
        it.process.kill()
        it.process.wait()

        def nobody_listens() -> bool:
            try:
                it.send(EVENTS)
            except ConnectionRefusedError:
                return True
            except OSError:  # a worker that is on its way out
                pass
            return False

        eventually(nobody_listens, 20, it.log.read_text)
        eventually(lambda: "e1" in event_ids(records_in(it.sink)), 20, it.log.read_text)


def test_answers_everything_that_is_on_its_way_when_it_ends(tmp_path) -> None:
    with running_collector(tmp_path) as it, Load(it.port) as load:
        load.until(100)
        it.stop()

    all_arrived(load.acknowledged, records_in(tmp_path / "raw"))


def test_answers_a_request_whose_body_is_on_its_way_when_it_is_told_to_end(tmp_path) -> None:
    head = f"POST /collect?{QUERY} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(EVENTS)}\r\n\r\n"
    with (
        running_collector(tmp_path) as it,
        socket.create_connection(("127.0.0.1", it.port), timeout=30) as client,
    ):
        client.sendall(head.encode() + EVENTS[:5])
        eventually(lambda: it.send(EVENTS).status == 200, 20)  # what came before is being read
        it.process.send_signal(signal.SIGTERM)
        eventually(lambda: "told to end" in it.log.read_text(), 20)
        client.sendall(EVENTS[5:])
        assert b" 200 " in client.recv(1_000)
        assert it.process.wait(60) == 0

    assert event_ids(records_in(it.sink)) == ["e1", "e1"]


def test_ships_what_a_worker_has_left_that_does_not_come_back(tmp_path) -> None:
    with running_collector(tmp_path, workers=3) as it:
        with Load(it.port, clients=12) as load:
            load.until(100)
        it.kill()

    with running_collector(tmp_path, workers=1) as it:
        it.stop()

    all_arrived(load.acknowledged, records_in(tmp_path / "raw"))


@pytest.mark.parametrize("sync", ["interval", "never"])
def test_survives_the_death_of_its_processes_without_syncing(tmp_path, sync: str) -> None:
    with running_collector(tmp_path, "--sync", sync) as it:
        with Load(it.port) as load:
            load.until(100)
        it.kill()

    with running_collector(tmp_path) as it:
        all_arrived(load.acknowledged, it.records())


def test_seals_segments_by_age_and_by_size(tmp_path) -> None:
    with running_collector(tmp_path, "--segment-mb", "1", "--segment-seconds", "1000") as it:
        for _ in range(3):
            it.send(bytes(600_000).replace(b"\0", b"x"))
        eventually(lambda: len(records_in(tmp_path / "raw")) == 2, 20)
    (tmp_path / "second").mkdir()
    with running_collector(tmp_path / "second", "--segment-seconds", "1") as it:
        it.send(EVENTS)
        eventually(lambda: records_in(tmp_path / "second" / "raw"), 20)


def test_takes_away_what_killed_collectors_have_counted_and_no_other(tmp_path) -> None:
    with running_collector(tmp_path) as it:
        it.kill()
    (left,) = it.spool.glob("metrics-*")
    with running_collector(tmp_path) as first:
        assert not left.exists()
        (counted,) = it.spool.glob("metrics-*")
        with running_collector(tmp_path):
            assert counted.exists()
            assert first.send(EVENTS).status == 200
            eventually(lambda: 'status="200"} 1.0' in first.metrics(), 20, first.metrics)


def test_does_not_ship_what_another_project_has_left(tmp_path) -> None:
    with running_collector(tmp_path) as it:
        it.send(EVENTS)
        it.kill()

    options = ("--project-id", "other", "--sink", str(tmp_path / "elsewhere"))
    told = refusal_to_run(tmp_path, *options)
    assert "is that of project shop; give project other another" in told
    assert not (tmp_path / "elsewhere").exists()

    with running_collector(tmp_path) as it:
        assert event_ids(it.records()) == ["e1"]


def test_two_collectors_on_one_spool_lose_nothing_when_both_are_killed(tmp_path) -> None:
    with (
        running_collector(tmp_path) as first,
        running_collector(tmp_path) as second,
        Load(first.port, clients=2) as one,
        Load(second.port, clients=2) as other,
    ):
        one.until(30)
        first.kill()
        other.until(30)
        second.kill()
    with running_collector(tmp_path) as it:
        records = it.records()

    all_arrived(one.acknowledged + other.acknowledged, records)


def test_counts_in_space_that_a_full_disk_does_not_take(tmp_path) -> None:
    """A page of a mapped file that finds no space would kill the worker."""
    with running_collector(tmp_path, workers=2) as it:
        it.send(EVENTS)
        eventually(lambda: 'status="200"} 1.0' in it.metrics(), 20, it.metrics)
        counters = [file.stat() for file in it.spool.glob("metrics-*/counter_*.db")]
    assert len(counters) == 2
    assert [one for one in counters if one.st_blocks * 512 < one.st_size] == []


def test_tells_what_it_does_to_prometheus(tmp_path) -> None:
    with running_collector(tmp_path, workers=2) as it:
        for _ in range(10):
            it.send(EVENTS)
        it.send(EVENTS, query="appId=stranger")
        assert it.send(EVENTS, query=QUERY).status == 200

        def told() -> bool:
            text = it.metrics()
            return (
                'clickstream_collector_requests_total{app="shop_web",status="200"} 11.0' in text
                and 'clickstream_collector_requests_total{app="",status="403"} 1.0' in text
                and f'body_bytes_total{{app="shop_web"}} {11 * len(EVENTS)}.0' in text
                and "stranger" not in text
            )

        eventually(told, 20, it.metrics)
        text = it.metrics()
        waiting = float(re.search(r"(?m)^clickstream_collector_log_bytes (\S+)", text)[1])
        free = float(re.search(r"(?m)^clickstream_collector_free_bytes (\S+)", text)[1])
        assert waiting > 11 * len(EVENTS)
        assert free > 1e6
        assert "clickstream_collector_oldest_segment_seconds 0.0" in text
