"""A worker process: takes connections from its socket, and answers them."""

import asyncio
import gc
import logging
import logging.config
import multiprocessing
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from clickstream_dagster.collector.connections import (
    HEAD_SECONDS,
    LINGER_SECONDS,
    Connection,
    Server,
)
from clickstream_dagster.collector.settings import CollectorSettings
from clickstream_dagster.errors import SettingError

if TYPE_CHECKING:
    from clickstream_dagster.collector.app import Collector

END_SECONDS = 10
"""How long an ending worker waits for requests that have begun to come."""

_TICK_SECONDS = 1.0
_LOOK_SECONDS = 2.0
_NO_FILES_SECONDS = 0.2
_SWITCH_SECONDS = 0.0002  # the log's thread must not wait for 5 ms to tell what is on the disk
_GC_THRESHOLDS = (50_000, 20, 100)  # new objects, then how often for older ones

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The certificate that is shown, with those up to its issuer behind it, and its key; PEM.

    Raises SettingError when they can't be read, or don't belong together.
    """

    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        except OSError as error:
            raise SettingError(
                f"TLS with {self.certificate} and {self.key}: {error}; write PEM files of a "
                "certificate and its key without a password, which this user may read"
            ) from error

    def renew(self, context: ssl.SSLContext) -> None:
        """Show what the files hold now from the next connection on.

        Raises OSError, and leaves the context as it is, when they can't be read, or don't belong
        together.
        """
        # Elsewhere first: a certificate without its key would leave a context with neither.
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self._load(context)

    def _load(self, context: ssl.SSLContext) -> None:
        # An empty password: OpenSSL would ask whoever sits at the terminal.
        context.load_cert_chain(self.certificate, self.key, password="")

    def context(self) -> ssl.SSLContext:
        """Give the settings of TLS 1.2 and 1.3 with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # phones before Android 10 speak no 1.3
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context


def run_worker(
    settings: CollectorSettings,
    connections: int,
    tls: TlsFiles | None,
    logs: dict,
    listener: socket.socket,
) -> None:
    """Answer until SIGTERM or SIGINT, then drain; SIGHUP takes renewed files of `tls`.

    `listener` is a listening socket, `connections` the most that are open at a time.
    """
    logging.config.dictConfig(logs)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    uvloop.run(_answer(settings, listener, connections, tls))


async def _answer(
    settings: CollectorSettings, listener: socket.socket, connections: int, tls: TlsFiles | None
) -> None:
    from clickstream_dagster.collector.app import Collector
    from clickstream_dagster.collector.sinks import sink_of

    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    context = tls.context() if tls else None
    loop.add_signal_handler(signal.SIGHUP, _renew, tls, context)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # it was born with it blocked
    collector = Collector(settings, sink_of(settings.sink, settings.sink_settings), loop)
    room = asyncio.Semaphore(connections)
    server = Server(collector, loop, settings.body_seconds, room)
    # What is loaded now stays, and requests leave no cycles behind: to look for them rarely saves
    # a tenth of a worker's time at a thousand connections.
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_SECONDS)
    with _ticking(loop, server, collector):
        accepting = loop.create_task(_accept(listener, server, room, context))
        accepting.add_done_callback(lambda _: ending.set())  # when it fails, another has to go on
        await ending.wait()
        accepting.cancel()
        await asyncio.wait([accepting])
        if not accepting.cancelled():
            _logger.error("connections can't be taken", exc_info=accepting.exception())
        listener.close()  # who comes now is told at once
        server.end()
        await _ended(server)
    collector.close()


async def _accept(
    listener: socket.socket,
    server: Server,
    room: asyncio.Semaphore,
    context: ssl.SSLContext | None,
) -> None:
    """Take connections while there is room; others wait in the socket's backlog."""
    listener.setblocking(False)
    beginning: set[asyncio.Task[None]] = set()
    while True:
        await room.acquire()
        try:
            client, _ = await server.loop.sock_accept(listener)
        except OSError as error:  # it has left, or there are no files
            room.release()
            _logger.warning("a connection can't be taken", extra={"error": str(error)})
            await asyncio.sleep(_NO_FILES_SECONDS)
            continue
        begin = server.loop.create_task(_begin(client, server, room, context))
        beginning.add(begin)
        begin.add_done_callback(beginning.discard)


async def _begin(
    client: socket.socket,
    server: Server,
    room: asyncio.Semaphore,
    context: ssl.SSLContext | None,
) -> None:
    """Make a connection of a client, with TLS once it has shaken hands."""
    connection = Connection(server)
    try:
        await server.loop.connect_accepted_socket(
            lambda: connection,
            client,
            ssl=context,
            ssl_handshake_timeout=HEAD_SECONDS if context else None,
            ssl_shutdown_timeout=LINGER_SECONDS if context else None,
        )
    except OSError:  # it speaks no TLS, or has left
        if not connection.has_begun:
            room.release()
    else:
        if server.is_ending:
            connection.end_if_idle()


async def _ended(server: Server) -> None:
    """Wait for the connections that still have requests, then end them all."""
    deadline = server.loop.time() + END_SECONDS
    while server.connections and server.loop.time() < deadline:
        await asyncio.sleep(0.02)
    for connection in list(server.connections):
        connection.abort()
    await asyncio.sleep(0)


@contextmanager
def _ticking(
    loop: asyncio.AbstractEventLoop, server: Server, collector: "Collector"
) -> Iterator[None]:
    def tick() -> None:
        nonlocal timer
        timer = loop.call_later(_TICK_SECONDS, tick)
        server.tick()
        collector.tick()

    timer = loop.call_later(_TICK_SECONDS, tick)
    try:
        yield
    finally:
        timer.cancel()


def _renew(tls: TlsFiles | None, context: ssl.SSLContext | None) -> None:
    if tls is None or context is None:
        return
    try:
        tls.renew(context)
    except OSError as error:
        _logger.error("the certificate stays as it is", extra={"error": str(error)})


def _end_with_parent() -> None:
    """Drain when the main process is gone: nobody tells this worker any more who may send."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    _logger.error("the main process has ended")
    while True:  # a worker that has only just started misses the first
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(_LOOK_SECONDS)
