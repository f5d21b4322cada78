"""Clients that are slow, silent, endless or many: bounded, and others do not notice."""

import multiprocessing
import resource
import socket
import ssl
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tests.collector.load import Load
from tests.collector.running import QUERY, RunningCollector, records_in, running_collector
from tests.collector.test_tls import write_certificate
from tests.collector.wire import connected
from tests.served import eventually

EVENTS = b'[{"event_id": "e1"}]'
HEAD = f"POST /collect?{QUERY} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n".encode()


def answers_others(collector: RunningCollector) -> None:
    started = time.monotonic()
    assert collector.send(EVENTS).status == 200
    assert time.monotonic() - started < 2


def memory_of(collector: RunningCollector) -> int:
    """Give the resident bytes of its worker."""
    children = f"/proc/{collector.process.pid}/task/{collector.process.pid}/children"
    with open(children) as file:
        workers = [int(pid) for pid in file.read().split()]
    sizes = []
    for pid in workers:
        with open(f"/proc/{pid}/statm") as file:
            sizes.append(int(file.read().split()[1]) * resource.getpagesize())
    return max(sizes)


def test_ends_a_body_that_does_not_come(tmp_path) -> None:
    with running_collector(tmp_path, "--body-seconds", "2") as it, connected(it) as client:
        client.sendall(HEAD + b"[")
        answers_others(it)

        started = time.monotonic()
        answer = client.recv(1_000)

        assert b" 408 " in answer
        assert 1 < time.monotonic() - started < 10
        eventually(lambda: 'status="408"} 1.0' in it.metrics(), 20)
        answers_others(it)


@pytest.mark.heavy
def test_ends_headers_that_do_not_come(tmp_path) -> None:
    with running_collector(tmp_path) as it, connected(it) as client:
        client.sendall(b"POST /collect HTTP/1.1\r\nHost: a\r\nX-")
        answers_others(it)

        client.settimeout(40)
        assert b" 200 " not in client.recv(1_000)


@pytest.mark.heavy
@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("sent", [b"", b"PRI"], ids=["nothing", "part of a preface"])
def test_ends_connections_that_say_nothing(tmp_path, sent: bytes, with_tls: bool) -> None:
    trusting, options = None, ()
    if with_tls:
        certificate, key = write_certificate(tmp_path)
        trusting = ssl.create_default_context(cafile=str(certificate))
        options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with running_collector(tmp_path, *options, tls=trusting) as it, connected(it) as plain:
        client = trusting.wrap_socket(plain, server_hostname="localhost") if trusting else plain
        client.sendall(sent)
        answers_others(it)

        client.settimeout(40)
        with suppress(ConnectionResetError):
            assert b" 200 " not in client.recv(1_000)


def test_speaks_one_version_of_http_to_all(shared: RunningCollector) -> None:
    """By HTTP/2 a connection may be silent for ever, and one holds the headers of many requests."""
    with connected(shared) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert not client.recv(1_000).startswith(b"\0\0")  # no frame of settings


def test_outlives_clients_that_leave_in_the_middle(tmp_path) -> None:
    with running_collector(tmp_path) as it:
        for sent in (b"", b"POST", HEAD, HEAD + b"[1,"):
            for _ in range(50):
                with connected(it) as client:
                    client.sendall(sent)
        answers_others(it)
        assert len(it.records()) == 1


def test_bounds_the_memory_of_bodies_on_their_way(tmp_path) -> None:
    """A thousand clients stop just before the end of a megabyte."""
    megabyte = 1 << 20
    head = HEAD.replace(b"1000", str(megabyte).encode())
    with running_collector(tmp_path, "--reading-mb", "64") as it, ExitStack() as open_ones:
        answers_others(it)
        before = memory_of(it)
        refused = 0
        for _ in range(200):
            client = open_ones.enter_context(connected(it))
            try:
                client.sendall(head + bytes(megabyte - 1))
            except OSError:
                refused += 1
        eventually(lambda: 'status="503"}' in it.metrics(), 20, it.metrics)

        assert memory_of(it) - before < 160 << 20


@pytest.mark.parametrize(
    "sent",
    [
        b"\0" * 10_000,
        b"GET\r\n\r\n",
        b"POST /collect HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /collect HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /collect?" + b"a=1&" * 50_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /collect HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 50_000 + b"\r\n",
        b"POST /collect HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " + b"1," * 100_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 10_000,
    ],
    ids=["zeros", "no target", "negative", "huge", "smuggled", "query", "headers", "list", "http2"],
)
def test_outlives_requests_that_are_none(shared: RunningCollector, sent: bytes) -> None:
    with connected(shared) as client:
        try:
            client.sendall(sent)
            client.settimeout(3)
            answer = client.recv(200)
        except OSError:
            answer = b""

        assert b" 200 " not in answer
    answers_others(shared)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with running_collector(tmp_path_factory.mktemp("hostile")) as running:
        yield running


def test_connections_do_not_take_the_files_of_the_log(tmp_path, monkeypatch) -> None:
    """With fewer files than connections are wanted, those that are too many wait."""
    (tmp_path / "sitecustomize.py").write_text(
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with running_collector(tmp_path, "--segment-seconds", "1") as it, ExitStack() as open_ones:
        kept = connected(it)
        for _ in range(600):
            open_ones.enter_context(connected(it))
        for number in range(3):
            body = b'[{"event_id": "e%d"}]' % number
            head = f"POST /collect?{QUERY} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
            kept.sendall(head.encode() + b"\r\n" + body)
            assert b" 200 " in kept.recv(1_000)
            eventually(lambda: len(records_in(it.sink)) > number, 20)  # noqa: B023
        kept.close()
        assert "fewer connections" in it.log.read_text()


def _idle_connections(port: int, source: str, number: int, opened: Any, end: Any) -> None:
    clients = []
    for _ in range(number):
        client = socket.socket()
        client.bind((source, 0))
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        clients.append(client)
    for client in clients:
        assert b" 200 " in client.recv(1_000)
    opened.release()
    end.wait()


@pytest.mark.heavy
def test_keeps_a_hundred_thousand_idle_connections(tmp_path) -> None:
    """Ten processes hold 10,000 each: this machine lets none open many more files."""
    spawn = multiprocessing.get_context("spawn")
    opened, end = spawn.Semaphore(0), spawn.Event()
    with running_collector(tmp_path, workers=10) as it:
        clients = [
            spawn.Process(
                target=_idle_connections, args=(it.port, f"127.0.1.{n + 1}", 10_000, opened, end)
            )
            for n in range(10)
        ]
        try:
            for client in clients:
                client.start()
            for _ in clients:
                assert opened.acquire(timeout=120)
            answers_others(it)
            with Load(it.port, clients=4) as load:
                time.sleep(2)

            assert len(load.acknowledged) > 100
            assert set(load.refused) == set()
            assert memory_of(it) < 600 << 20
        finally:
            end.set()
            for client in clients:
                client.join(60)


def test_keeps_idle_connections_while_it_answers_others(tmp_path) -> None:
    idle = 2_000
    with running_collector(tmp_path, workers=2) as it, ExitStack() as open_ones:
        for _ in range(idle):
            client = open_ones.enter_context(connected(it))
            client.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        answers_others(it)
        with Load(it.port, clients=2) as load:
            time.sleep(0.5)

        assert len(load.acknowledged) > 50
        assert set(load.refused) == set()
