"""What a worker does with requests: checks who sends, and keeps what is sent.

The contract is that of seed 000, "Ingestion endpoint", as the SDKs rely on it: stored is exactly
200 with an empty body; an unknown app 403, a body over the limit 413, what can't be stored 400,
and 503 with Retry-After while nothing can be taken.
"""

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import orjson

from clickstream_dagster.collector import pixels
from clickstream_dagster.collector.access import Access, AccessFile
from clickstream_dagster.collector.addresses import ClientAddresses
from clickstream_dagster.collector.bodies import decoded, text_of
from clickstream_dagster.collector.connections import LINGER_BYTES
from clickstream_dagster.collector.log import Log, LogError, LogSettings
from clickstream_dagster.collector.metrics import WorkerMetrics
from clickstream_dagster.collector.origins import Origins
from clickstream_dagster.collector.queries import parameters, without
from clickstream_dagster.collector.records import Records
from clickstream_dagster.collector.refusal import RefusalError
from clickstream_dagster.collector.requests import CLOSE, PLAIN, Request
from clickstream_dagster.collector.settings import CollectorSettings
from clickstream_dagster.collector.shipping import Shipper
from clickstream_dagster.collector.spool import take_folder
from clickstream_dagster.collector.tokens import Tokens
from clickstream_dagster.errors import SettingError
from clickstream_dagster.processing.limits import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from clickstream_dagster.collector.sinks.sink import Sink

_RETRY_AFTER = ("retry-after", "10")
_JSON = ("content-type", "application/json")
_NO_STORE = ("cache-control", "no-store")
_WRITE_KEY = "writeKey"
_PIXEL_METHODS = ("GET", "HEAD")

_logger = logging.getLogger(__name__)


class Collector:
    """A worker's handler of requests (`requests.Handler`), on one event loop.

    It takes a folder of the spool, and writes and ships, until `close`.
    """

    def __init__(
        self, settings: CollectorSettings, sink: "Sink", loop: asyncio.AbstractEventLoop
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._loop = loop
        self._records = Records(take_fake_ip=settings.dev)
        self._addresses = ClientAddresses(settings.trusted_proxies)
        self._tokens = Tokens(settings.oidc) if settings.oidc else None
        self._checks: set[asyncio.Task[None]] = set()
        self._access_file = AccessFile(settings.spool)
        access = self._access_file.changed()
        if access is None:
            raise SettingError(f"{settings.spool} has no access.json: start the collector anew")
        self._use(access)
        self._reading_bytes = 0
        self._metrics = WorkerMetrics()
        self._folder = take_folder(settings.spool)
        self._shipper = Shipper(settings.spool, self._folder, sink)
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

    def close(self) -> None:
        """Write, seal and ship what is there; no request may be open any more."""
        self._log.close()
        if not self._shipper.drain(self._settings.drain_seconds):
            _logger.warning("segments stay in the log for the next start")
        self._metrics.publish_sink(self._sink.counters)
        self._metrics.publish()
        self._folder.release()

    def tick(self) -> None:
        """Each second: changed access, metrics."""
        access = self._access_file.changed()
        if access is not None:
            self._use(access)
        self._metrics.publish_sink(self._sink.counters)
        self._metrics.publish()

    def admit(self, request: Request) -> int | None:
        """Give the most bytes of a body, within the bounds of disk and memory."""
        if request.path != self._settings.path or request.method == "OPTIONS":
            return None
        log = self._log
        if log.refusal:
            raise RefusalError(503, log.refusal, _RETRY_AFTER, CLOSE)
        if log.is_full:
            raise _too_slow()
        most = self._settings.body_bytes
        headers = request.headers
        if "transfer-encoding" in headers:
            size = most
        else:
            size = int(headers.get("content-length", 0))
            if size > max(most, LINGER_BYTES):
                raise RefusalError(413, f"the body has more than {most:,} bytes", CLOSE)
        if self._reading_bytes + size > self._settings.reading_bytes:
            raise RefusalError(503, "too many bodies are on their way", _RETRY_AFTER, CLOSE)
        self._reading_bytes += size
        request.admitted = size
        return most

    def handle(self, request: Request) -> None:
        """Answer a request: keep it, refuse it, or tell what was asked."""
        self._reading_bytes -= request.admitted
        if request.path != self._settings.path:
            self._answer_other(request)
            return
        headers = request.headers
        if request.method == "OPTIONS":
            request.answer(204, self._origins.preflight_headers(headers.get("origin")))
            return
        given = parameters(request.query)
        known_app = self._known(given)
        try:
            if not known_app or self._app_keys:
                self._check(known_app, headers.get("x-write-key") or given.get(_WRITE_KEY))
            if self._tokens is None:
                self._store(request, given, known_app)
                return
        except RefusalError as refusal:
            self._refuse(request, refusal, known_app)
            return
        check = self._loop.create_task(self._store_if_token(request, given, known_app))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)

    def refuse(self, request: Request, refusal: RefusalError) -> None:
        """Answer a request that can't be read, or be admitted."""
        self._reading_bytes -= request.admitted
        given = parameters(request.query)
        app_id = self._known(given)
        is_events = request.path == self._settings.path
        if is_events and refusal.status == 413:  # who may not send is told that before
            try:
                self._check(app_id, request.headers.get("x-write-key") or given.get(_WRITE_KEY))
            except RefusalError as stranger:
                refusal = RefusalError(stranger.status, str(stranger), *stranger.headers, CLOSE)
        self._refuse(request, refusal, app_id)

    def abandon(self, request: Request) -> None:
        """Forget a request whose sender has left in the middle of the body."""
        self._reading_bytes -= request.admitted
        self._metrics.count(self._known(parameters(request.query)), 400)

    def _check(self, app_id: str, key: str | None) -> None:
        """Raise RefusalError for who may not send."""
        if self._settings.needs_app:
            if not self._app_ids:
                raise RefusalError(400, "no app is registered")
            if not app_id:
                raise RefusalError(403, "the parameter appId names no registered app")
        if app_id in self._app_keys and not self._access.accepts_key(app_id, key):
            raise RefusalError(401, f"app {app_id} needs its write key in X-Write-Key")

    async def _store_if_token(
        self, request: Request, given: dict[str, str], known_app: str
    ) -> None:
        assert self._tokens is not None
        try:
            if not await self._tokens.accepts(request.headers.get("authorization")):
                raise RefusalError(
                    401, "a valid bearer token is needed", ("www-authenticate", "Bearer")
                )
            self._store(request, given, known_app)
        except RefusalError as refusal:
            self._refuse(request, refusal, known_app)
        except Exception:
            _logger.exception("a token can't be checked")
            refusal = RefusalError(503, "the token can't be checked", _RETRY_AFTER)
            self._refuse(request, refusal, known_app)

    def _store(self, request: Request, given: dict[str, str], known_app: str) -> None:
        """Hand a request to the log; it is answered when it is on the disk."""
        query, headers, method = request.query, request.headers, request.method
        if _WRITE_KEY in given:  # a secret: it is not kept
            query = without(query, _WRITE_KEY)
        rid = self._records.next_id()
        encoding = headers.get("content-encoding")
        text = text_of(request.body if encoding is None else decoded(request.body, encoding))
        if not text and method in _PIXEL_METHODS:
            text = pixels.events_of(given, rid, time.time_ns() // 1_000_000)
        if not text:
            self._confirm(request, known_app)
            return
        line = self._records.line(
            rid,
            method,
            request.path,
            query,
            given,
            self._addresses.client(request.peer, headers.get("x-forwarded-for", "")),
            headers.get("user-agent"),
            text,
        )
        if len(line) > MAX_RECORD_BYTES:
            raise RefusalError(413, f"the record would have more than {MAX_RECORD_BYTES:,} bytes")
        if self._log.is_full:  # by bodies that came meanwhile, or grew when they were unpacked
            raise _too_slow()
        self._log.add(line, partial(self._written, request, known_app, text))

    def _written(self, request: Request, known_app: str, text: str, error: LogError | None) -> None:
        if error is not None:
            refusal = RefusalError(503, f"the log can't be written: {error}", _RETRY_AFTER)
            self._refuse(request, refusal, known_app)
            return
        self._metrics.count_events(known_app, text)
        self._confirm(request, known_app)

    def _confirm(self, request: Request, known_app: str) -> None:
        shared = self._origins.headers(request.headers.get("origin"))
        self._metrics.count(known_app, 200, len(request.body))
        if request.method in _PIXEL_METHODS:
            request.answer(200, [*pixels.HEADERS, *shared], pixels.GIF)
        else:
            request.answer(200, shared)

    def _refuse(self, request: Request, refusal: RefusalError, app_id: str) -> None:
        self._metrics.count(app_id, refusal.status)
        shared = self._origins.headers(request.headers.get("origin"))
        headers = [PLAIN, *refusal.headers, *shared]
        request.answer(refusal.status, headers, f"{refusal}\n".encode())

    def _known(self, given: dict[str, str]) -> str:
        """Give the app of a request if it is registered, else an empty text."""
        app_id = given.get("appId", "")
        return app_id if app_id in self._app_ids else ""

    def _answer_other(self, request: Request) -> None:
        if request.path == "/ping":
            body = orjson.dumps({"timestamp": round(time.time(), 3)})
            request.answer(200, [_JSON, _NO_STORE], body)
        elif request.path != "/health":
            told = f"send events to {self._settings.path}\n"
            request.answer(404, [PLAIN], told.encode())
        elif self._log.refusal:
            request.answer(503, [PLAIN, _NO_STORE], f"{self._log.refusal}\n".encode())
        else:
            request.answer(200, [PLAIN, _NO_STORE], b"ok\n")

    def _use(self, access: Access) -> None:
        self._access = access
        self._app_ids = frozenset(access.app_ids)
        self._app_keys = frozenset(access.key_hashes)
        self._origins = Origins(access.origins)


def _too_slow() -> RefusalError:
    return RefusalError(503, "the disk is too slow for so much", _RETRY_AFTER, CLOSE)
