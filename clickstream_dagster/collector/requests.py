"""A request of HTTP/1.1, how it is answered, and what those who answer requests can do."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

if TYPE_CHECKING:
    from clickstream_dagster.collector.connections import Connection
    from clickstream_dagster.collector.refusal import RefusalError

Headers = list[tuple[str, str]]

CLOSE = ("connection", "close")
"""A header of an answer behind which the connection ends."""

PLAIN = ("content-type", "text/plain; charset=utf-8")

HEADERS = (
    *("authorization", "connection", "content-encoding", "content-length", "expect", "origin"),
    *("transfer-encoding", "user-agent", "x-forwarded-for", "x-write-key"),
)
"""Those that are read; others are passed over."""

_NO_CONTENT = HTTPStatus.NO_CONTENT.value
_STATUS_LINES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}


class Request:
    """A request.

    `headers` has those of HEADERS that came; one that came several times is a list with commas
    (RFC 9110, 5.3). `path` is decoded, `query` is as it came, `peer` is the address of the other
    end. `body` is whole when `Handler.handle` is called. `admitted` is the handler's own.
    Behind the answer of `is_last` the connection ends. `reply` is what goes to the client, None
    before it is answered.
    """

    __slots__ = (
        *("_connection", "admitted", "body", "headers", "is_last", "method", "path", "peer"),
        *("query", "reply"),
    )

    def __init__(
        self,
        connection: "Connection",
        method: str,
        target: bytes,
        headers: dict[str, str],
        *,
        is_last: bool,
    ) -> None:
        self._connection = connection
        self.is_last = is_last
        self.reply: bytes | None = None
        self.method = method
        self.path, self.query = _path_and_query(target)
        self.headers = headers
        self.peer = connection.peer
        self.body = b""
        self.admitted = 0

    def answer(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Answer it, once, now or later. With the header CLOSE the connection ends behind it."""
        assert self.reply is None, "a request has one answer"
        connection = self._connection
        server = connection.server
        if CLOSE in headers:
            self.is_last = True
        elif self.is_last or (server.is_ending and connection.is_last_answer):
            self.is_last = True
            headers = [*headers, CLOSE]
        reply = _STATUS_LINES[status] + server.date_line
        for name, value in headers:
            reply += f"{name}: {value}\r\n".encode("latin-1")
        if status != _NO_CONTENT:
            reply += b"content-length: %d\r\n" % len(body)
        reply += b"\r\n"
        self.reply = reply if self.method == "HEAD" else reply + body
        connection.send_answers()


class Handler(Protocol):
    """What answers requests."""

    def admit(self, request: Request) -> int | None:
        """Give how many bytes a body may have that is kept; None for one that nobody wants.

        Called with the head alone. Raises RefusalError, with CLOSE, to answer before the body.
        """

    def handle(self, request: Request) -> None:
        """Answer an admitted request that is whole, now or later."""

    def refuse(self, request: Request, refusal: "RefusalError") -> None:
        """Answer a request that will not be handled, admitted or not."""

    def abandon(self, request: Request) -> None:
        """Forget an admitted request whose sender has left before it was whole."""


def _path_and_query(target: bytes) -> tuple[str, str]:
    if not target.startswith(b"/") and b"://" in target:  # as proxies ask (RFC 9112, 3.2.2)
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    path, _, query = target.decode("latin-1").partition("?")
    return (unquote(path) if "%" in path else path), query
