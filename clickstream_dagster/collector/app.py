"""The HTTP side of a worker: what a browser or a phone talks to (an RSGI application).

The contract is that of seed 000, "Ingestion endpoint", as the SDKs rely on it: stored is exactly
200 with an empty body; an unknown app 403, a body over the limit 413, what can't be stored 400,
and 503 with Retry-After while nothing can be taken.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import orjson
from granian.rsgi import ProtocolClosed

from clickstream_dagster.collector import pixels
from clickstream_dagster.collector.access import Access, AccessFile
from clickstream_dagster.collector.addresses import ClientAddresses
from clickstream_dagster.collector.bodies import decoded, text_of
from clickstream_dagster.collector.log import Log, LogError, LogSettings
from clickstream_dagster.collector.metrics import WorkerMetrics
from clickstream_dagster.collector.origins import Headers, Origins
from clickstream_dagster.collector.queries import parameters, without
from clickstream_dagster.collector.records import Records
from clickstream_dagster.collector.refusal import RefusalError
from clickstream_dagster.collector.settings import CollectorSettings
from clickstream_dagster.collector.shipping import Shipper
from clickstream_dagster.collector.spool import take_folder
from clickstream_dagster.collector.tokens import Tokens
from clickstream_dagster.errors import SettingError
from clickstream_dagster.processing.limits import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from granian.rsgi import HTTPProtocol, Scope

    from clickstream_dagster.collector.sinks.sink import Sink

_RETRY_AFTER = ("retry-after", "10")
_PLAIN = ("content-type", "text/plain; charset=utf-8")
_JSON = ("content-type", "application/json")
_NO_STORE = ("cache-control", "no-store")
_CLOSE = ("connection", "close")
_WRITE_KEY = "writeKey"
_TICK_SECONDS = 1.0
_READ_AWAY_BYTES = 4 << 20  # of a body that is too large, so that its sender sees why

_logger = logging.getLogger(__name__)


class Collector:
    """A worker's application. The server calls it for each request, on one event loop."""

    def __init__(self, settings: CollectorSettings, sink: "Sink") -> None:
        self._settings = settings
        self._sink = sink
        self._records = Records(take_fake_ip=settings.dev)
        self._addresses = ClientAddresses(settings.trusted_proxies)
        self._tokens = Tokens(settings.oidc) if settings.oidc else None
        self._access_file = AccessFile(settings.spool)
        access = self._access_file.changed()
        if access is None:
            raise SettingError(f"{settings.spool} has no access.json: start the collector anew")
        self._use(access)
        self._reading: dict[asyncio.Task[Any], tuple[float, int]] = {}
        self._overdue: set[asyncio.Task[Any]] = set()
        self._reading_bytes = 0

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take a folder of the spool and begin to write and ship; called before any request."""
        settings = self._settings
        self._metrics = WorkerMetrics()
        self._folder = take_folder(settings.spool)
        self._shipper = Shipper(settings.spool, self._folder, self._sink)
        self._log = Log(
            self._folder.path,
            LogSettings(
                settings.segment_bytes,
                settings.segment_seconds,
                settings.min_free_bytes,
                settings.sync,
            ),
            self._shipper.wake,
            loop,
        )
        self._loop = loop
        self._ticker = loop.call_later(_TICK_SECONDS, self._tick)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write, seal and ship what is there; called when no request is open any more."""
        self._ticker.cancel()
        self._log.close()
        if not self._shipper.drain(self._settings.drain_seconds):
            _logger.warning("segments stay in the log for the next start")
        self._metrics.publish_sink(self._sink.counters)
        self._metrics.publish()
        self._folder.release()

    async def __rsgi__(self, scope: "Scope", protocol: "HTTPProtocol") -> None:
        """Answer a request."""
        if scope.proto != "http":
            protocol.close(403)
            return
        path = scope.path
        if path != self._settings.path:
            self._answer_other(path, protocol)
            return
        headers = scope.headers
        origin = headers.get("origin")
        if scope.method == "OPTIONS":
            protocol.response_empty(204, self._origins.preflight_headers(origin))
            return
        shared = self._origins.headers(origin)
        query = scope.query_string
        given = parameters(query)
        app_id = given.get("appId", "")
        known_app = app_id if app_id in self._app_ids else ""
        try:
            if not known_app or self._app_keys or self._tokens:
                await self._permit(known_app, given.get(_WRITE_KEY), headers, protocol)
            if _WRITE_KEY in given:  # a secret: it is not kept
                query = without(query, _WRITE_KEY)
            body = await self._body(headers, protocol)
            is_pixel = scope.method in ("GET", "HEAD")
            rid = self._records.next_id()
            encoding = headers.get("content-encoding")
            text = text_of(body if encoding is None else decoded(body, encoding))
            if is_pixel and not text:
                text = pixels.events_of(given, rid, time.time_ns() // 1_000_000)
            if text:
                line = self._records.line(
                    rid,
                    scope.method,
                    path,
                    query,
                    given,
                    self._addresses.client(scope.client, headers.get_all("x-forwarded-for")),
                    headers.get("user-agent"),
                    text,
                )
                await self._stored(line)
                self._metrics.count_events(known_app, text)
        except RefusalError as refusal:
            self._refuse(protocol, refusal, shared, known_app)
            return
        self._metrics.count(known_app, 200, len(body))
        if is_pixel:
            protocol.response_bytes(200, [*pixels.HEADERS, *shared], pixels.GIF)
        else:
            protocol.response_empty(200, shared)

    async def _permit(
        self, app_id: str, key: str | None, headers: Any, protocol: "HTTPProtocol"
    ) -> None:
        """Raise RefusalError for who may not send, with the body read away: he is to see why."""
        try:
            await self._check(app_id, key, headers)
        except RefusalError as refusal:
            try:
                await self._body(headers, protocol)
            except RefusalError:  # there is more of it
                refusal.headers += (_CLOSE,)
            raise

    async def _check(self, app_id: str, key: str | None, headers: Any) -> None:
        """Raise RefusalError for who may not send."""
        if self._settings.needs_app:
            if not self._app_ids:
                raise RefusalError(400, "no app is registered")
            if not app_id:
                raise RefusalError(403, "the parameter appId names no registered app")
        if app_id in self._app_keys and not self._access.accepts_key(
            app_id, headers.get("x-write-key") or key
        ):
            raise RefusalError(401, f"app {app_id} needs its write key in X-Write-Key")
        if self._tokens and not await self._tokens.accepts(headers.get("authorization")):
            raise RefusalError(
                401, "a valid bearer token is needed", ("www-authenticate", "Bearer")
            )

    async def _body(self, headers: Any, protocol: "HTTPProtocol") -> bytes:
        """Read the body within the bounds of size, time and memory."""
        log = self._log
        if log.refusal:
            raise RefusalError(503, log.refusal, _RETRY_AFTER, _CLOSE)
        if log.is_full:
            raise _too_slow()
        length = headers.get("content-length")
        most = self._settings.body_bytes
        size = most if length is None else int(length)
        if size > max(most, _READ_AWAY_BYTES):
            raise self._too_large()
        if self._reading_bytes + size > self._settings.reading_bytes:
            raise RefusalError(503, "too many bodies are on their way", _RETRY_AFTER, _CLOSE)
        task = asyncio.current_task(self._loop)
        self._reading[task] = (time.monotonic(), size)
        self._reading_bytes += size
        try:
            if length is not None and size <= most:
                return await protocol()
            return await self._chunks(protocol, most)
        except asyncio.CancelledError:
            if task not in self._overdue:
                raise
            task.uncancel()
            self._overdue.discard(task)
            raise RefusalError(408, "the body has not come in time", _CLOSE) from None
        except ProtocolClosed:  # its sender has left
            raise RefusalError(400, "the body ends in the middle", _CLOSE) from None
        finally:
            del self._reading[task]
            self._reading_bytes -= size

    async def _chunks(self, protocol: "HTTPProtocol", most: int) -> bytes:
        body, size = bytearray(), 0
        async for chunk in protocol:
            size += len(chunk)
            if size <= most:
                body += chunk
            elif size > _READ_AWAY_BYTES:
                break  # a connection that is closed before all is read loses the answer
        if size > most:
            raise self._too_large()
        return bytes(body)

    def _too_large(self) -> RefusalError:
        most = self._settings.body_bytes
        return RefusalError(413, f"the body has more than {most:,} bytes", _CLOSE)

    async def _stored(self, line: bytes) -> None:
        if len(line) > MAX_RECORD_BYTES:
            raise RefusalError(413, f"the record would have more than {MAX_RECORD_BYTES:,} bytes")
        if self._log.is_full:  # by bodies that came meanwhile, or grew when they were unpacked
            raise _too_slow()
        try:
            await self._log.add(line)
        except LogError as error:
            raise RefusalError(503, f"the log can't be written: {error}", _RETRY_AFTER) from error

    def _refuse(
        self, protocol: "HTTPProtocol", refusal: RefusalError, shared: Headers, app_id: str
    ) -> None:
        self._metrics.count(app_id, refusal.status)
        protocol.response_str(refusal.status, [_PLAIN, *refusal.headers, *shared], f"{refusal}\n")

    def _answer_other(self, path: str, protocol: "HTTPProtocol") -> None:
        if path == "/ping":
            body = orjson.dumps({"timestamp": round(time.time(), 3)})
            protocol.response_bytes(200, [_JSON, _NO_STORE], body)
        elif path != "/health":
            protocol.response_str(404, [_PLAIN], f"send events to {self._settings.path}\n")
        elif self._log.refusal:
            protocol.response_str(503, [_PLAIN, _NO_STORE], f"{self._log.refusal}\n")
        else:
            protocol.response_str(200, [_PLAIN, _NO_STORE], "ok\n")

    def _tick(self) -> None:
        """Each second: late bodies, changed access, metrics."""
        self._ticker = self._loop.call_later(_TICK_SECONDS, self._tick)
        latest = time.monotonic() - self._settings.body_seconds
        for task, (since, _) in list(self._reading.items()):
            if since > latest:
                break  # they are in the order of their beginning
            self._overdue.add(task)
            task.cancel()
        access = self._access_file.changed()
        if access is not None:
            self._use(access)
        self._metrics.publish_sink(self._sink.counters)
        self._metrics.publish()

    def _use(self, access: Access) -> None:
        self._access = access
        self._app_ids = frozenset(access.app_ids)
        self._app_keys = frozenset(access.key_hashes)
        self._origins = Origins(access.origins)


def _too_slow() -> RefusalError:
    return RefusalError(503, "the disk is too slow for so much", _RETRY_AFTER, _CLOSE)
