"""The processes of a collector: successors of dead workers, and the end."""

import os
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from clickstream_dagster.collector.server import _listeners
from clickstream_dagster.errors import SettingError
from tests.collector.load import Load, event_ids
from tests.collector.running import RunningCollector, records_in, refusal_to_run, running_collector
from tests.collector.wire import BODY, PING, WHOLE, answers, connected, is_closed, until_end
from tests.served import eventually, free_port


def workers_of(collector: RunningCollector) -> list[int]:
    children = f"/proc/{collector.process.pid}/task/{collector.process.pid}/children"
    found = [int(pid) for pid in Path(children).read_text().split()]
    return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def kill_worker(collector: RunningCollector) -> None:
    os.kill(workers_of(collector)[0], signal.SIGKILL)


def test_a_worker_that_dies_has_a_successor_and_nothing_acknowledged_is_lost(
    tmp_path: Path,
) -> None:
    with running_collector(tmp_path, workers=2) as it:
        first = workers_of(it)
        assert len(first) == 2
        with Load(it.port, clients=4) as load:
            load.until(50)
            kill_worker(it)
            eventually(lambda: len(set(workers_of(it)) - set(first)) == 1, 20, it.log.read_text)
            eventually(lambda: it.send(BODY).status == 200, 20, it.log.read_text)
            load.until(len(load.acknowledged) + 50)
        assert "a worker has ended" in it.log.read_text()
        kept = event_ids(it.records())
    assert set(load.acknowledged) - set(kept) == set()


def test_requests_on_their_way_are_answered_before_the_end(tmp_path: Path) -> None:
    with running_collector(tmp_path) as it, connected(it) as busy, connected(it) as idle:
        busy.sendall(WHOLE[:-1])
        idle.sendall(PING)
        answers(idle, 1)
        assert it.send(BODY).status == 200  # the one worker has taken the first, too
        it.process.send_signal(signal.SIGTERM)
        assert is_closed(idle)
        busy.sendall(WHOLE[-1:])
        (answer,) = answers(busy, 1)
        assert b" 200 " in answer
        assert b"connection: close" in answer
        assert it.process.wait(30) == 0
        assert len(it.records()) == 2


def test_two_collectors_do_not_share_an_address(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with running_collector(tmp_path / "one") as first:
        told = refusal_to_run(tmp_path / "two", "--listen", f"127.0.0.1:{first.port}")
        assert "can't be listened to" in told


def test_ships_with_less_priority_than_it_answers_however_little_it_has(tmp_path: Path) -> None:
    with running_collector(tmp_path, before=("nice", "-n", "3")) as it:
        own = os.getpriority(os.PRIO_PROCESS, it.process.pid)
        (worker,) = workers_of(it)
        threads = [int(task.name) for task in Path(f"/proc/{worker}/task").iterdir()]
        found = {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}
        assert found == {own, min(own + 5, 19)}
        it.send(BODY)
        assert len(it.records()) == 1


def test_lets_a_head_come_to_its_end_while_it_ends(tmp_path: Path) -> None:
    with running_collector(tmp_path) as it, connected(it) as begun, connected(it) as idle:
        begun.sendall(WHOLE[:40])
        assert it.send(BODY).status == 200  # the one worker has read it, too
        it.process.send_signal(signal.SIGTERM)
        assert idle.recv(1_000) == b""

        begun.sendall(WHOLE[40:])

        answer = until_end(begun)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close\r\n" in answer
        assert it.process.wait(30) == 0
    assert len(records_in(it.sink)) == 2


def test_refuses_connections_while_it_ends(tmp_path: Path) -> None:
    """A balancer or a client goes elsewhere at once; one that is taken and forgotten would wait."""
    with running_collector(tmp_path) as it, connected(it) as slow:
        slow.sendall(WHOLE[:-1])
        assert it.send(BODY).status == 200  # the one worker has taken the first, too
        it.process.send_signal(signal.SIGTERM)

        def refuses() -> bool:
            try:
                connected(it, timeout=1).close()
            except ConnectionRefusedError:
                return True
            return False

        eventually(refuses, 5, it.log.read_text)
        slow.sendall(WHOLE[-1:])
        assert until_end(slow).startswith(b"HTTP/1.1 200 ")
        assert it.process.wait(30) == 0


def test_a_worker_that_starts_outlives_a_renewal(tmp_path: Path) -> None:
    with running_collector(tmp_path, workers=2) as it:
        before = workers_of(it)
        kill_worker(it)
        eventually(lambda: "a worker has ended" in it.log.read_text(), 20)
        for _ in range(30):  # while it starts
            it.process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        now = workers_of(it)
        assert set(now) != set(before)
        for _ in range(20):
            assert it.send(BODY).status == 200  # by each of the two
        assert workers_of(it) == now
        assert it.log.read_text().count("a worker has ended") == 1


@pytest.mark.heavy
def test_does_not_start_a_worker_again_and_again(tmp_path: Path) -> None:
    with running_collector(tmp_path) as it:
        (it.spool / "access.json").unlink()  # without it none can start

        kill_worker(it)
        eventually(lambda: "a worker has ended" in it.log.read_text(), 20)
        started = time.monotonic()
        eventually(lambda: it.log.read_text().count("a worker has ended") >= 3, 40)
        assert time.monotonic() - started > 5


@pytest.mark.parametrize("by", ["127.0.0.1", "::1"])
def test_listens_by_all_addresses_to_ipv4_and_ipv6(by: str) -> None:
    port = free_port()
    with ExitStack() as open_ones:
        for listener in _listeners("::", port, 2):
            open_ones.enter_context(listener)
        socket.create_connection((by, port), timeout=5).close()
        with pytest.raises(SettingError, match="can't be listened to"):
            _listeners("0.0.0.0", port, 1)
