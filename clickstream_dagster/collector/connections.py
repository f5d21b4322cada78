"""HTTP/1.1 connections: bytes in, whole requests to the collector, answers out in their order.

llhttp (httptools) parses, strictly (RFC 9112). A connection is one object on the event loop,
without a task, so that a request costs little more than its system calls. What a client decides on
is bounded: the head, the time for head and body, and the answers that it does not read.
"""

import asyncio
import logging
from collections import deque
from email.utils import formatdate
from typing import cast

import httptools

from clickstream_dagster.collector.refusal import RefusalError
from clickstream_dagster.collector.requests import CLOSE, HEADERS, PLAIN, Handler, Request

MAX_HEAD_BYTES = 64 << 10
"""Of a target and headers; each header counts 32 bytes more, as in HTTP/2 (RFC 9113, 6.5.2)."""

HEAD_SECONDS = 15.0
"""Within which a head must have come, and for which a connection may be idle."""

LINGER_SECONDS = 5.0
"""For which the rest of a refused request is read away: else its sender may not see the answer."""

LINGER_BYTES = 4 << 20

_HEADER_NAMES = {name.encode(): name for name in HEADERS}
_HEADER_BYTES = 32
_FRAMING_BYTES = 1 << 20  # more than one read brings
_MOST_FRAMING = 8  # bytes for one of a body: a chunk of one byte has six
_MOST_UNANSWERED = 16  # then nothing more is read; what one read has brought may be more
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_logger = logging.getLogger(__name__)


class Server:
    """What the connections of a worker share. Call `tick` about once a second.

    A body must have come within `body_seconds`. A connection that has ended makes `room` for one.
    """

    def __init__(
        self,
        handler: Handler,
        loop: asyncio.AbstractEventLoop,
        body_seconds: float,
        room: asyncio.Semaphore,
    ) -> None:
        self.handler = handler
        self.loop = loop
        self.room = room
        self.connections: set[Connection] = set()
        # Since when each of them waits, the longest first.
        self.idle: dict[Connection, float] = {}
        self.heads: dict[Connection, float] = {}
        self.bodies: dict[Connection, float] = {}
        self.lingering: dict[Connection, float] = {}
        self._bounds = (
            (self.idle, HEAD_SECONDS),
            (self.heads, HEAD_SECONDS),
            (self.bodies, body_seconds),
            (self.lingering, LINGER_SECONDS),
        )
        self.is_ending = False
        self.date_line = b""
        self.tick()

    def tick(self) -> None:
        """End who is late, and take the time for the answers of the next second."""
        self.date_line = f"date: {formatdate(usegmt=True)}\r\n".encode()
        now = self.loop.time()
        for waiting, seconds in self._bounds:
            late = []
            for connection, since in waiting.items():
                if since > now - seconds:
                    break
                late.append(connection)
            for connection in late:
                connection.late()

    def end(self) -> None:
        """Let each connection end when what has begun to come is answered."""
        self.is_ending = True
        for connection in list(self.connections):
            if connection not in self.heads:
                connection.end_if_idle()

    def forget(self, connection: "Connection") -> None:
        """Wait for nothing more of a connection."""
        for waiting, _ in self._bounds:
            waiting.pop(connection, None)


class Connection(asyncio.Protocol):
    """One client. Its callbacks are those of asyncio and of httptools."""

    __slots__ = (
        *("_away", "_body", "_fed", "_head_left", "_headers", "_in_head", "_is_lost", "_is_paused"),
        *("_is_watched", "_is_writable", "_most", "_parser", "_reads_away", "_request", "_size"),
        *("_takes_more", "_target", "_transport", "_unanswered", "peer", "server"),
    )

    def __init__(self, server: Server) -> None:
        self.server = server
        self.peer = ""
        self._transport: asyncio.Transport
        self._unanswered: deque[Request] = deque()  # in the order of their answers
        self._request: Request | None = None  # whose body comes
        self._most: int | None = 0
        self._in_head = False
        self._head_left = self._fed = self._size = self._away = 0
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._takes_more = True  # of what comes; else it is read away
        self._reads_away = False
        self._is_watched = self._is_paused = self._is_lost = False
        self._is_writable = True

    @property
    def is_last_answer(self) -> bool:
        """Whether the next answer is the last one of those that have been asked for."""
        return len(self._unanswered) == 1

    @property
    def has_begun(self) -> bool:
        """Whether it is, or was, open; with TLS it is when the client has shaken hands."""
        return hasattr(self, "_transport")

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)  # each has the other until it is lost
        peer = transport.get_extra_info("peername")
        address = peer[0] if peer else ""  # it may have left already
        self.peer = address.removeprefix("::ffff:") if "." in address else address  # IPv4 by IPv6
        self.server.connections.add(self)
        self.server.idle[self] = self.server.loop.time()

    def data_received(self, data: bytes) -> None:
        self.server.idle.pop(self, None)
        if not self._takes_more:
            self._read_away(len(data))
            return
        head = self._headers if self._in_head else None
        try:
            self._parser.feed_data(data)
            if self._in_head and self._headers is head:  # nothing but a part of that head
                self._fed += len(data)
                if self._fed > MAX_HEAD_BYTES:
                    raise _head_too_large()
            elif self._request is not None:
                self._bound_framing(len(data))
        except httptools.HttpParserUpgrade as upgrade:
            self._pass_over_upgrade(data[upgrade.args[0] :])
        except (httptools.HttpParserError, RefusalError) as error:
            self._give_up(error)
        if self._takes_more:
            self._watch()

    def eof_received(self) -> bool:
        """Keep the connection for the answers of a client that has sent all it will send."""
        is_tls = self._transport.get_extra_info("sslcontext") is not None
        if is_tls or self._request or not self._unanswered:
            return False
        self._takes_more = False
        return True

    def pause_writing(self) -> None:
        self._is_writable = False

    def resume_writing(self) -> None:
        self._is_writable = True
        self._read_or_pause()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._is_lost = True
        self._takes_more = False
        self._unanswered.clear()  # each of them has this one
        server = self.server
        server.connections.discard(self)
        server.forget(self)
        request, self._request = self._request, None
        if request is not None and request.reply is None:
            server.handler.abandon(request)
        del self._parser
        server.room.release()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if not self._takes_more:
            raise _BehindTheLastError
        self._in_head = True
        self._head_left = MAX_HEAD_BYTES
        self._fed = 0
        self._target = b""
        self._headers = {}

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._head_left -= len(part)
        if self._head_left < 0:
            raise _head_too_large()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_left -= len(name) + len(value) + _HEADER_BYTES
        if self._head_left < 0:
            raise _head_too_large()
        key = _HEADER_NAMES.get(name.lower())
        if key is not None and self._in_head:  # trailers of a chunked body say nothing
            headers, text = self._headers, value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._is_watched:
            self._unwatch()
        parser, headers = self._parser, self._headers
        self._request = request = Request(
            self,
            parser.get_method().decode(),
            self._target,
            headers,
            is_last=(
                not parser.should_keep_alive()
                or parser.should_upgrade()
                # Who speaks 1.0 and asks for it waits for an answer that says so.
                or ("connection" in headers and parser.get_http_version() == "1.0")
            ),
        )
        self._unanswered.append(request)
        self._size = self._fed = 0
        self._body = []
        self._most = self.server.handler.admit(request)
        if (
            "expect" in headers
            and headers["expect"].lower() == "100-continue"
            and self.is_last_answer
            and parser.get_http_version() != "1.0"  # who would take it for the answer
        ):
            self._transport.write(_CONTINUE)

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        if self._most is not None and self._size <= self._most:
            self._body.append(part)
        elif self._size > LINGER_BYTES:
            raise self._body_too_large()
        else:
            self._body = []

    def on_message_complete(self) -> None:
        request = self._request
        if request is None:
            return
        if request.is_last and self._parser.should_upgrade() and _has_body(request):
            return  # the parser leaves out the body: _pass_over_upgrade
        if self._is_watched:
            self._unwatch()
        self._request = None
        if request.is_last:
            self._takes_more = False
        if self._most is not None and self._size > self._most:
            self.server.handler.refuse(request, self._body_too_large())
            return
        body = self._body
        request.body = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        self.server.handler.handle(request)

    # answers and the end

    def send_answers(self) -> None:
        """Write the answers that are next."""
        if self._is_lost:
            return
        unanswered = self._unanswered
        while unanswered and (reply := unanswered[0].reply) is not None:
            self._transport.write(reply)
            if unanswered.popleft().is_last:
                unanswered.clear()
                self._end()
                return
        if unanswered:
            return
        if self._takes_more and not self.server.is_ending:
            if self._request is None and not self._in_head:
                self.server.idle[self] = self.server.loop.time()
            if self._is_paused:
                self._read_or_pause()
        else:
            self.end_if_idle()

    def end_if_idle(self) -> None:
        """End unless a request is to be answered."""
        if self._request is None and not self._unanswered:
            self._end()

    def late(self) -> None:
        """End what has been waited for too long."""
        server = self.server
        if self in server.bodies:
            self._give_up(RefusalError(408, "the body has not come in time", CLOSE))
        elif self in server.heads:
            self._give_up(RefusalError(408, "the request has not come in time", CLOSE))
        elif self in server.lingering:
            self._transport.abort()
        else:
            self._end()

    def _end(self) -> None:
        """Close it when what is written has been sent, and what is refused has been read away."""
        self._takes_more = False
        server = self.server
        server.forget(self)
        if self._reads_away or self._transport.get_write_buffer_size():
            server.lingering[self] = server.loop.time()
        if not self._reads_away:
            self._transport.close()
        elif self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def _give_up(self, error: Exception) -> None:
        """Answer a request that can't go on, and take no other one."""
        if not self._takes_more:  # behind the last one anything may come
            return
        self._takes_more = False
        self._reads_away = True
        self._body = []
        self.server.forget(self)
        refusal = _refusal(error)
        if refusal is None:
            self._transport.abort()
            return
        request, self._request = self._request, None
        if request is not None:
            self.server.handler.refuse(request, refusal)
            return
        request = Request(self, "GET", b"/", {}, is_last=True)
        self._unanswered.append(request)
        request.answer(refusal.status, [PLAIN, *refusal.headers], f"{refusal}\n".encode())

    def _bound_framing(self, size: int) -> None:
        """Refuse a chunked body that brings far more than its bytes.

        The parser keeps a trailer until it is whole, and reads over extensions of chunks.
        """
        self._fed += size
        if self._fed > _MOST_FRAMING * self._size + _FRAMING_BYTES:
            raise RefusalError(400, "the chunks or trailers are too long", CLOSE)

    def _read_away(self, size: int) -> None:
        self._away += size
        if self._away > LINGER_BYTES:
            self._transport.abort()

    def _pass_over_upgrade(self, rest: bytes) -> None:
        """Read the body of a request that offers another protocol; it goes on as HTTP/1.1 here.

        llhttp takes what follows such a head for the other protocol. Java's own client offers
        HTTP/2 so with each of its requests.
        """
        request = self._request
        if request is None:  # it has no body, and is handled
            return
        self._parser = httptools.HttpRequestParser(_Body(self))
        name = "transfer-encoding" if "transfer-encoding" in request.headers else "content-length"
        head = f"POST / HTTP/1.1\r\n{name}: {request.headers[name]}\r\n\r\n".encode("latin-1")
        try:
            self._parser.feed_data(head + rest)
        except (httptools.HttpParserError, RefusalError) as error:
            self._give_up(error)

    # clocks and flow

    def _watch(self) -> None:
        """Start the clock of a head or body that has not come whole, or that of idleness."""
        server = self.server
        if self._in_head or self._request is not None:
            waiting = server.heads if self._in_head else server.bodies
            waiting.setdefault(self, server.loop.time())
            server.idle.pop(self, None)
            self._is_watched = True
        elif not self._unanswered:
            server.idle[self] = server.loop.time()
        if len(self._unanswered) >= _MOST_UNANSWERED or not self._is_writable:
            self._read_or_pause()

    def _unwatch(self) -> None:
        self._is_watched = False
        self.server.heads.pop(self, None)
        self.server.bodies.pop(self, None)

    def _read_or_pause(self) -> None:
        """Read on only while answers are taken."""
        pauses = not self._is_writable or len(self._unanswered) >= _MOST_UNANSWERED
        if self._is_lost or pauses == self._is_paused:
            return
        self._is_paused = pauses
        if pauses:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _body_too_large(self) -> RefusalError:
        most = LINGER_BYTES if self._most is None else self._most
        return RefusalError(413, f"the body has more than {most:,} bytes", CLOSE)


class _BehindTheLastError(Exception):
    """A request behind one whose answer ends the connection."""


class _Body:
    """The callbacks of a parser that reads a body only."""

    def __init__(self, connection: Connection) -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


def _head_too_large() -> RefusalError:
    return RefusalError(431, f"the head has more than {MAX_HEAD_BYTES:,} bytes", CLOSE)


def _refusal(error: Exception) -> RefusalError | None:
    """Give what to answer; None where it is the collector that has failed."""
    if isinstance(error, RefusalError):
        return error
    if isinstance(error.__context__, RefusalError):  # of a callback
        return error.__context__
    if isinstance(error, httptools.HttpParserCallbackError):
        _logger.error("a request has failed", exc_info=error.__context__)
        return None
    return RefusalError(400, f"this is no HTTP/1.1: {error}", CLOSE)


def _has_body(request: Request) -> bool:
    return "content-length" in request.headers or "transfer-encoding" in request.headers
