"""Connections by the letter of HTTP/1.1 (RFC 9112), as they come on the wire."""

import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.collector.running import QUERY, RunningCollector, running_collector
from tests.collector.wire import (
    BODY,
    CHUNKED,
    PING,
    POST,
    WHOLE,
    answers,
    connected,
    is_closed,
    statuses,
    until_end,
)
from tests.served import eventually

TWO_CHUNKS = (
    CHUNKED + b"5\r\n" + BODY[:5] + b"\r\n%x;a=b\r\n" % len(BODY[5:]) + BODY[5:] + b"\r\n0\r\n"
)
MOST_UNREAD_BYTES = 64 << 20


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    with running_collector(tmp_path_factory.mktemp("http")) as running:
        yield running


def ends_while_sending(client: socket.socket) -> bool:
    """Send until the other side ends the connection; False when that does not come."""
    try:
        while True:
            client.sendall(PING * 1_000)
    except TimeoutError:
        return False
    except (ConnectionResetError, BrokenPipeError):
        return True


@pytest.mark.parametrize(
    "sent",
    [WHOLE, TWO_CHUNKS + b"\r\n", TWO_CHUNKS + b"X-Trailer: 1\r\n\r\n"],
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
        client.sendall((WHOLE + PING + TWO_CHUNKS + b"\r\n") * 100 + b"GET /none HTTP/1.1\r\n\r\n")
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


@pytest.mark.parametrize("endless", [b"2\r\n[]\r\n0\r\nX-A: ", b"2\r\n[]\r\n0\r\nX-", b"2;"])
def test_refuses_trailers_and_extensions_without_an_end(
    collector: RunningCollector, endless: bytes
) -> None:
    """The parser keeps the part of a trailer that it has, and copies it with each read."""
    sent = 0
    with connected(collector) as client:
        client.sendall(CHUNKED + endless)
        with suppress(OSError):
            while sent < 64 << 20:
                sent += client.send(b"a" * 65_536)
    assert sent < 16 << 20
    assert collector.send(BODY).status == 200


def test_takes_a_body_in_chunks_of_one_byte(collector: RunningCollector) -> None:
    body = b'["' + b"a" * 300_000 + b'"]'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with connected(collector) as client:
        client.sendall(CHUNKED + chunks + b"0\r\n\r\n")
        assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")


def test_does_not_count_a_body_as_the_head_behind_it(collector: RunningCollector) -> None:
    """A read that ends one head, brings its body of 100 KB, and begins another head."""
    body = b'["' + b"a" * 100_000 + b'"]'
    first = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connected(collector) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(first[:50])
        time.sleep(0.2)  # for a read of its own
        client.sendall(first[50:] + WHOLE[:50])
        assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")
        client.sendall(WHOLE[50:])
        assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")


def test_takes_nothing_behind_a_last_request_of_http_1_0(tmp_path: Path) -> None:
    """Its answer says that the connection ends: what follows would be kept without an answer."""
    first = WHOLE.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\nConnection: keep-alive\r\n")
    with running_collector(tmp_path) as it:
        with connected(it) as client:
            client.sendall(first + WHOLE * 3)
            assert until_end(client).count(b"HTTP/1.1 200 ") == 1
        assert len(it.records()) == 1


def test_tells_no_client_of_http_1_0_to_continue(collector: RunningCollector) -> None:
    request = WHOLE.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\nExpect: 100-continue\r\n")
    with connected(collector) as client:
        client.sendall(request)
        assert until_end(client).startswith(b"HTTP/1.1 200 ")


def test_every_end_of_a_body_gives_its_memory_back(tmp_path: Path) -> None:
    """A chunked body is admitted with all that it may have: here there is room for one."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    offered = POST + upgrade + b"Transfer-Encoding: chunked\r\n\r\n"
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
