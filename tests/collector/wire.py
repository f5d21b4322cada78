"""Requests as bytes, and what comes back for them, for tests of connections."""

import socket
from contextlib import suppress

from tests.collector.running import QUERY, RunningCollector

BODY = b'[{"event_id": "e1"}]'
POST = f"POST /collect?{QUERY} HTTP/1.1\r\nHost: a\r\n".encode()
WHOLE = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"


def connected(collector: RunningCollector, timeout: float = 30) -> socket.socket:
    return socket.create_connection(("127.0.0.1", collector.port), timeout=timeout)


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


def until_end(client: socket.socket) -> bytes:
    """Read until the other side ends the connection, in whatever way."""
    got = b""
    with suppress(ConnectionResetError):
        while part := client.recv(65_536):
            got += part
    return got


def is_closed(client: socket.socket) -> bool:
    return client.recv(1) == b""
