"""What clients and operators do at the edges of HTTP/1.1, TLS and the end of a collector."""

import os
import signal
import socket
import ssl
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from clickstream_dagster.collector.server import _listeners
from clickstream_dagster.collector.worker import TlsFiles
from clickstream_dagster.errors import SettingError
from tests.collector.running import QUERY, RunningCollector, records_in, running_collector
from tests.collector.test_tls import write_certificate
from tests.served import eventually, free_port

EVENTS = b'[{"event_id": "e1"}]'
LINE = f"POST /collect?{QUERY} HTTP/1.1\r\nHost: a\r\n".encode()
REQUEST = LINE + b"Content-Length: %d\r\n\r\n" % len(EVENTS) + EVENTS
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with running_collector(tmp_path_factory.mktemp("http")) as running:
        yield running


def connected(collector: RunningCollector, timeout: float = 30) -> socket.socket:
    return socket.create_connection(("127.0.0.1", collector.port), timeout=timeout)


def until_end(client: socket.socket) -> bytes:
    got = b""
    with suppress(ConnectionResetError):
        while part := client.recv(65_536):
            got += part
    return got


@pytest.mark.parametrize("endless", [b"2\r\n[]\r\n0\r\nX-A: ", b"2\r\n[]\r\n0\r\nX-", b"2;"])
def test_refuses_trailers_and_extensions_without_an_end(
    shared: RunningCollector, endless: bytes
) -> None:
    """The parser keeps the part of a trailer that it has, and copies it with each read."""
    sent = 0
    with connected(shared) as client:
        client.sendall(CHUNKED + endless)
        with suppress(OSError):
            while sent < 64 << 20:
                sent += client.send(b"a" * 65_536)
    assert sent < 16 << 20
    assert shared.send(EVENTS).status == 200


def test_takes_a_body_in_chunks_of_one_byte(shared: RunningCollector) -> None:
    body = b'["' + b"a" * 300_000 + b'"]'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with connected(shared) as client:
        client.sendall(CHUNKED + chunks + b"0\r\n\r\n")
        assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")


def test_does_not_count_a_body_as_the_head_behind_it(shared: RunningCollector) -> None:
    """A read that ends one head, brings its body of 100 KB, and begins another head."""
    body = b'["' + b"a" * 100_000 + b'"]'
    first = LINE + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connected(shared) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(first[:50])
        time.sleep(0.2)  # for a read of its own
        client.sendall(first[50:] + REQUEST[:50])
        assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")
        client.sendall(REQUEST[50:])
        assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")


def test_takes_nothing_behind_a_last_request_of_http_1_0(tmp_path: Path) -> None:
    """Its answer says that the connection ends: what follows would be kept without an answer."""
    first = REQUEST.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\nConnection: keep-alive\r\n")
    with running_collector(tmp_path) as it:
        with connected(it) as client:
            client.sendall(first + REQUEST * 3)
            assert until_end(client).count(b"HTTP/1.1 200 ") == 1
        assert len(it.records()) == 1


def test_tells_no_client_of_http_1_0_to_continue(shared: RunningCollector) -> None:
    request = REQUEST.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\nExpect: 100-continue\r\n")
    with connected(shared) as client:
        client.sendall(request)
        assert until_end(client).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("wrong", ["another's key", "no key", "no certificate"])
def test_shows_its_certificate_while_renewed_files_are_wrong(tmp_path: Path, wrong: str) -> None:
    certificate, key = write_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))
    (tmp_path / "other").mkdir()
    other, other_key = write_certificate(tmp_path / "other")
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with running_collector(tmp_path, *options, tls=trusting) as it:
        if wrong == "another's key":
            certificate.write_bytes(other.read_bytes())
        elif wrong == "no key":
            certificate.write_bytes(other.read_bytes())
            key.write_bytes(b"")
        else:
            key.write_bytes(other_key.read_bytes())
            certificate.write_bytes(b"")
        it.process.send_signal(signal.SIGHUP)
        eventually(lambda: "stays as it is" in it.log.read_text(), 20, it.log.read_text)

        assert it.send(EVENTS).status == 200


def test_asks_nobody_for_the_password_of_a_key(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    certificate, key = write_certificate(tmp_path)
    private = load_pem_private_key(key.read_bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    with pytest.raises(SettingError, match="without a password"):
        TlsFiles(certificate, key)


def test_clients_that_speak_no_tls_leave_their_room_to_others(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))
    options = ("--tls-cert", str(certificate), "--tls-key", str(key), "--connections", "20")
    with running_collector(tmp_path, *options, tls=trusting) as it:
        for number in range(200):
            with connected(it) as client:
                client.sendall((REQUEST, b"", b"\x16\x03\x01\x02\x00\x01")[number % 3])
                if number % 3 == 0:
                    until_end(client)
        assert it.send(EVENTS).status == 200


def test_lets_a_head_come_to_its_end_while_it_ends(tmp_path: Path) -> None:
    with running_collector(tmp_path) as it, connected(it) as begun, connected(it) as idle:
        begun.sendall(REQUEST[:40])
        assert it.send(EVENTS).status == 200  # the one worker has read it, too
        it.process.send_signal(signal.SIGTERM)
        assert idle.recv(1_000) == b""

        begun.sendall(REQUEST[40:])

        answer = until_end(begun)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close\r\n" in answer
        assert it.process.wait(30) == 0
    assert len(records_in(it.sink)) == 2


def test_refuses_connections_while_it_ends(tmp_path: Path) -> None:
    """A balancer or a client goes elsewhere at once; one that is taken and forgotten would wait."""
    with running_collector(tmp_path) as it, connected(it) as slow:
        slow.sendall(REQUEST[:-1])
        assert it.send(EVENTS).status == 200  # the one worker has taken the first, too
        it.process.send_signal(signal.SIGTERM)

        def refuses() -> bool:
            try:
                connected(it, timeout=1).close()
            except ConnectionRefusedError:
                return True
            return False

        eventually(refuses, 5, it.log.read_text)
        slow.sendall(REQUEST[-1:])
        assert until_end(slow).startswith(b"HTTP/1.1 200 ")
        assert it.process.wait(30) == 0


def test_a_worker_that_starts_outlives_a_renewal(tmp_path: Path) -> None:
    with running_collector(tmp_path, workers=2) as it:
        children = Path(f"/proc/{it.process.pid}/task/{it.process.pid}/children")
        before = children.read_text().split()
        _kill_worker(children)
        eventually(lambda: "a worker has ended" in it.log.read_text(), 20)
        for _ in range(30):  # while it starts
            it.process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        now = children.read_text().split()
        assert set(now) != set(before)
        for _ in range(20):
            assert it.send(EVENTS).status == 200  # by each of the two
        assert children.read_text().split() == now
        assert it.log.read_text().count("a worker has ended") == 1


def _kill_worker(children: Path) -> bool:
    """Kill one that a process has started, once there is one."""
    with suppress(OSError):
        for pid in children.read_text().split():
            if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(int(pid), signal.SIGKILL)
                return True
    return False


@pytest.mark.heavy
def test_does_not_start_a_worker_again_and_again(tmp_path: Path) -> None:
    with running_collector(tmp_path) as it:
        (it.spool / "access.json").unlink()  # without it none can start
        children = Path(f"/proc/{it.process.pid}/task/{it.process.pid}/children")

        assert _kill_worker(children)
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


def test_every_end_of_a_body_gives_its_memory_back(tmp_path: Path) -> None:
    """A chunked body is admitted with all that it may have: here there is room for one."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    offered = LINE + upgrade + b"Transfer-Encoding: chunked\r\n\r\n"
    whole = b"2\r\n[]\r\n0\r\n\r\n"
    too_large = b"180000\r\n" + bytes(0x180000) + b"\r\n0\r\n\r\n"
    ends = {
        "whole": (whole, b" 200 "),
        "left": (b"2\r\n[", b""),
        "damaged": (b"2\r\n[]zz", b" 400 "),
        "no size": (b"zz\r\n", b" 400 "),
        "too large": (too_large, b" 413 "),
        "endless": (b"500000\r\n" + bytes(0x500000), b" 413 "),
        "trailer": (b"2\r\n[]\r\n0\r\nbad trailer\r\n\r\n", b" 400 "),
        "late": (b"2\r\n[", b" 408 "),
    }
    options = ("--reading-mb", "1", "--body-kb", "1024", "--body-seconds", "1")
    with running_collector(tmp_path, *options) as it:
        for head in (CHUNKED, offered):
            for name, (body, status) in ends.items():
                with connected(it) as client:
                    with suppress(OSError):  # it is not read to its end
                        client.sendall(head + body)
                    if name == "left":
                        client.shutdown(socket.SHUT_WR)
                        assert until_end(client) == b""
                    else:
                        with suppress(ConnectionResetError):
                            answer = client.recv(1_000)
                            assert status in answer, (name, answer)

                def takes_another() -> bool:
                    with connected(it) as other:
                        other.sendall(CHUNKED + whole)
                        return b" 200 " in other.recv(1_000)

                eventually(takes_another, 10, it.log.read_text)
