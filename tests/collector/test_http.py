"""Connections by the letter of HTTP/1.1 (RFC 9112), as they come on the wire."""

import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.collector.load import Load, event_ids
from tests.collector.running import QUERY, RunningCollector, running_collector
from tests.served import eventually

BODY = b'[{"event_id": "e1"}]'
POST = f"POST /collect?{QUERY} HTTP/1.1\r\nHost: a\r\n".encode()
WHOLE = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = (
    POST + b"Transfer-Encoding: chunked\r\n\r\n"
    b"5\r\n" + BODY[:5] + b"\r\n" + b"%x;a=b\r\n" % len(BODY[5:]) + BODY[5:] + b"\r\n0\r\n"
)
MOST_UNREAD_BYTES = 64 << 20
PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    with running_collector(tmp_path_factory.mktemp("http")) as running:
        yield running


def connected(collector: RunningCollector) -> socket.socket:
    return socket.create_connection(("127.0.0.1", collector.port), timeout=20)


def answers(client: socket.socket, number: int) -> list[bytes]:
    """Read this many answers, whole; each with its body."""
    found: list[bytes] = []
    left = b""
    while len(found) < number:
        head, end, rest = left.partition(b"\r\n\r\n")
        size = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        if end and len(rest) >= size:
            found.append(head + end + rest[:size])
            left = rest[size:]
            continue
        more = client.recv(65_536)
        assert more, (found, left)
        left += more
    assert left == b""
    return found


def statuses(client: socket.socket, number: int) -> list[int]:
    return [int(answer.split()[1]) for answer in answers(client, number)]


def ends_while_sending(client: socket.socket) -> bool:
    """Send until the other side ends the connection; False when that does not come."""
    try:
        while True:
            client.sendall(PING * 1_000)
    except TimeoutError:
        return False
    except (ConnectionResetError, BrokenPipeError):
        return True


def is_closed(client: socket.socket) -> bool:
    return client.recv(1) == b""


@pytest.mark.parametrize(
    "sent",
    [WHOLE, CHUNKED + b"\r\n", CHUNKED + b"X-Trailer: 1\r\n\r\n"],
    ids=["length", "chunked", "trailer"],
)
def test_a_request_may_come_in_any_pieces(collector: RunningCollector, sent: bytes) -> None:
    before = len(collector.logged())
    with connected(collector) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(sent)):
            client.sendall(sent[place : place + 1])
        assert statuses(client, 1) == [200]
        client.sendall(sent)  # the connection goes on
        assert statuses(client, 1) == [200]
    assert [record["data"] for record in collector.logged()[before:]] == [BODY.decode()] * 2


def test_requests_in_a_row_are_answered_in_their_order(collector: RunningCollector) -> None:
    """`/ping` has its answer at once, what is stored has it later."""
    before = len(collector.logged())
    with connected(collector) as client:
        client.sendall((WHOLE + PING + CHUNKED + b"\r\n") * 100 + b"GET /none HTTP/1.1\r\n\r\n")
        found = answers(client, 301)
    assert [int(answer.split()[1]) for answer in found] == [200] * 300 + [404]
    assert [b"timestamp" in answer for answer in found[:300]] == [False, True, False] * 100
    assert len(collector.logged()) - before == 200


def test_head_has_the_head_of_get_alone(collector: RunningCollector) -> None:
    with connected(collector) as client:
        client.sendall(b"HEAD /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        head = client.recv(65_536)
        assert head.endswith(b"\r\n\r\n")
        assert b"content-length: 0" not in head
        client.sendall(PING)
        assert statuses(client, 1) == [200]


@pytest.mark.parametrize(
    "head",
    [
        b"POST /collect?%b HTTP/1.0\r\n",
        b"POST /collect?%b HTTP/1.0\r\nConnection: keep-alive\r\n",
        b"POST /collect?%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n",
    ],
    ids=["1.0", "1.0 keep-alive", "close"],
)
def test_ends_a_connection_where_the_client_expects_it(
    collector: RunningCollector, head: bytes
) -> None:
    with connected(collector) as client:
        client.sendall(head % QUERY.encode() + b"Content-Length: 2\r\n\r\n[]")
        (answer,) = answers(client, 1)
        assert b" 200 " in answer
        assert b"connection: close" in answer
        assert is_closed(client)


def test_says_go_on_to_who_asks_before_a_body(collector: RunningCollector) -> None:
    with connected(collector) as client:
        client.sendall(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"[]")
        assert statuses(client, 1) == [200]


def test_says_no_to_who_asks_before_a_body_that_is_too_large(collector: RunningCollector) -> None:
    with connected(collector) as client:
        client.sendall(POST + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        assert statuses(client, 1) == [413]


@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
def test_takes_requests_that_offer_another_protocol(
    collector: RunningCollector, framing: str
) -> None:
    """Java's own client offers HTTP/2 with each request to an http address."""
    before = len(collector.logged())
    offer = POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n"
    body = {
        "length": b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + BODY + b"\r\n0\r\n\r\n",
        "none": b"\r\n",
    }[framing]
    with connected(collector) as client:
        client.sendall((offer + body)[:-3])
        time.sleep(0.1)
        client.sendall((offer + body)[-3:])
        assert statuses(client, 1) == [200]
        assert is_closed(client)
    records = collector.logged()[before:]
    assert [record["data"] for record in records] == [BODY.decode()] * (framing != "none")


def test_takes_the_whole_address_that_proxies_send(collector: RunningCollector) -> None:
    before = len(collector.logged())
    whole = WHOLE.replace(b"POST /collect", b"POST http://events.example.com/collect")
    with connected(collector) as client:
        client.sendall(whole)
        assert statuses(client, 1) == [200]
    assert [record["path"] for record in collector.logged()[before:]] == ["/collect"]


def test_answers_who_has_closed_his_side(collector: RunningCollector) -> None:
    with connected(collector) as client:
        client.sendall(WHOLE * 3)
        client.shutdown(socket.SHUT_WR)
        assert statuses(client, 3) == [200] * 3
        assert is_closed(client)


def test_a_refused_sender_sees_why_while_he_sends_on(collector: RunningCollector) -> None:
    with connected(collector) as client:
        client.sendall(POST + b"Content-Length: 9999999\r\n\r\n" + bytes(1 << 20))
        (answer,) = answers(client, 1)
        assert b" 413 " in answer
        assert b"connection: close" in answer
        client.sendall(bytes(1 << 20))  # is read away


def test_who_reads_no_answers_is_not_read(collector: RunningCollector) -> None:
    """His requests wait in his own machine; others do not notice, and he is let go."""
    with connected(collector) as client:
        client.settimeout(1)
        sent = 0
        with suppress(TimeoutError, ConnectionError):  # or he is let go already
            while sent < MOST_UNREAD_BYTES:
                sent += client.send(PING * 1_000)
        assert sent < MOST_UNREAD_BYTES
        started = time.monotonic()
        assert collector.send(BODY).status == 200
        assert time.monotonic() - started < 2


@pytest.mark.heavy
def test_who_reads_no_answers_is_let_go(collector: RunningCollector) -> None:
    with connected(collector) as client:
        client.settimeout(60)
        assert ends_while_sending(client)


@pytest.mark.heavy
def test_an_idle_connection_is_kept_and_a_slow_one_not_counted_as_idle(tmp_path: Path) -> None:
    """The time for a body begins with the body, not with the connection."""
    with running_collector(tmp_path, "--body-seconds", "6") as it, connected(it) as client:
        time.sleep(4)
        client.sendall(WHOLE[:-1])
        time.sleep(4)
        client.sendall(WHOLE[-1:])
        assert statuses(client, 1) == [200]


def workers_of(collector: RunningCollector) -> list[int]:
    children = f"/proc/{collector.process.pid}/task/{collector.process.pid}/children"
    found = [int(pid) for pid in Path(children).read_text().split()]
    return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_worker_that_dies_has_a_successor_and_nothing_acknowledged_is_lost(
    tmp_path: Path,
) -> None:
    with running_collector(tmp_path, workers=2) as it:
        first = workers_of(it)
        assert len(first) == 2
        with Load(it.port, clients=4) as load:
            time.sleep(1)
            os.kill(first[0], signal.SIGKILL)
            eventually(lambda: len(set(workers_of(it)) - set(first)) == 1, 20, it.log.read_text)
            eventually(lambda: it.send(BODY).status == 200, 20, it.log.read_text)
            time.sleep(1)
        assert "a worker has ended" in it.log.read_text()
        kept = event_ids(it.records())
    assert set(load.acknowledged) - set(kept) == set()


def test_requests_on_their_way_are_answered_before_the_end(tmp_path: Path) -> None:
    with running_collector(tmp_path) as it, connected(it) as busy, connected(it) as idle:
        busy.sendall(WHOLE[:-1])
        idle.sendall(PING)
        answers(idle, 1)
        time.sleep(0.3)
        it.process.send_signal(signal.SIGTERM)
        assert is_closed(idle)
        busy.sendall(WHOLE[-1:])
        (answer,) = answers(busy, 1)
        assert b" 200 " in answer
        assert b"connection: close" in answer
        assert it.process.wait(30) == 0
        assert len(it.records()) == 1


def test_two_collectors_do_not_share_an_address(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        running_collector(tmp_path / "one") as first,
        pytest.raises(AssertionError, match="can't be listened to"),
        running_collector(tmp_path / "two", "--listen", f"127.0.0.1:{first.port}"),
    ):
        pass
