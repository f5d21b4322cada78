"""The processes of a collector: one that watches, and workers that answer."""

import gc
import logging
import logging.config
import multiprocessing
import os
import resource
import signal
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clickstream_dagster.collector.access import Access, AccessFile
from clickstream_dagster.collector.metrics import prepare_folder, remove_folder, serve_metrics
from clickstream_dagster.collector.report import report_spool
from clickstream_dagster.collector.settings import CollectorSettings
from clickstream_dagster.collector.spool import claim
from clickstream_dagster.durable_files import make_folders, sync_folder
from clickstream_dagster.errors import SettingError

if TYPE_CHECKING:
    from clickstream_dagster.collector.app import Collector

_FILES_BESIDE_CONNECTIONS = 256
_HEADER_MS = 15_000
_BACKLOG = 4_096
_KILL_GRACE_SECONDS = 15
_LOOK_SECONDS = 2.0
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
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
        except OSError as error:
            raise SettingError(
                f"TLS with {self.certificate} and {self.key}: {error}; write PEM files of a "
                "certificate and its key without a password, which this user may read"
            ) from error


class LogFormat(StrEnum):
    """How lines of the log are written."""

    JSON = "json"
    TEXT = "text"


def run_collector(
    settings: CollectorSettings,
    access: Callable[[], Access],
    *,
    listen: tuple[str, int],
    metrics: tuple[str, int] | None,
    workers: int,
    log_format: LogFormat,
    report_seconds: float | None = None,
    tls: TlsFiles | None = None,
    ends_with_stdin: bool = False,
) -> None:
    """Collect until a signal ends it, or its standard input; SIGTERM, SIGINT and that drain.

    `access` is asked every few seconds: who may send changes without a restart. `listen` and
    `metrics` are address and port. Every `report_seconds` the log tells what is in the spool. With
    `tls` it speaks HTTPS, and SIGHUP takes renewed files.
    Raises SettingError when a setting can't work.
    """
    from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
    from granian.http import HTTP1Settings
    from granian.server import Server

    from clickstream_dagster.collector.sinks import sink_of

    logs = _log_config(log_format)
    logging.config.dictConfig(logs)
    _prepare_spool(settings)
    sink_of(settings.sink, settings.sink_settings).close()  # a wrong one is told before the start
    connections = _possible_connections(settings.connections)
    file = AccessFile(settings.spool)
    file.write(access())
    folder = prepare_folder(settings.spool)
    if metrics is not None:
        try:
            serve_metrics(settings.spool, *metrics)
        except OSError as error:
            raise SettingError(f"metrics at {metrics[0]}:{metrics[1]}: {error}") from error
    threading.Thread(target=_follow, args=(access, file), name="access", daemon=True).start()
    if report_seconds is not None:
        report = partial(report_spool, settings.spool, report_seconds)
        threading.Thread(target=report, name="report", daemon=True).start()
    if ends_with_stdin:
        threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    multiprocessing.set_start_method("spawn", force=True)  # threads run here, forks are not safe
    server = Server(
        "collector",
        address=listen[0],
        port=listen[1],
        interface=Interfaces.RSGI,
        workers=workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,  # else a connection that says nothing is never closed
        websockets=False,
        backlog=_BACKLOG,
        backpressure=connections,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_MS),
        log_dictconfig=logs,
        respawn_failed_workers=True,
        ssl_cert=tls.certificate if tls else None,
        ssl_key=tls.key if tls else None,
        ssl_protocol_min=SSLProtocols.tls12,  # phones before Android 10 speak no 1.3
        workers_kill_timeout=int(settings.drain_seconds) + _KILL_GRACE_SECONDS,
    )
    try:
        server.serve(target_loader=partial(_worker, settings), wrap_loader=False)
    finally:
        remove_folder(folder)


def default_workers() -> int:
    """Give a worker for each core that this process may use."""
    return len(os.sched_getaffinity(0))


def _worker(settings: CollectorSettings) -> "Collector":
    from clickstream_dagster.collector.app import Collector
    from clickstream_dagster.collector.sinks import sink_of

    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    collector = Collector(settings, sink_of(settings.sink, settings.sink_settings))
    # What is loaded now stays, and requests leave no cycles behind: to look for them rarely saves
    # a tenth of a worker's time at a thousand connections.
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    return collector


def _prepare_spool(settings: CollectorSettings) -> None:
    try:
        if not settings.spool.is_dir():
            make_folders(settings.spool.parent)
            settings.spool.mkdir(mode=0o700, exist_ok=True)
            sync_folder(settings.spool.parent)
        claim(settings.spool, settings.sink_settings.project_id)
    except OSError as error:
        raise SettingError(f"the spool {settings.spool} can't be made: {error}") from error


def _possible_connections(wanted: int) -> int:
    """Raise the limit of open files as far as may be; give how many connections it leaves room for.

    More connections than that would take the files of the log.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + _FILES_BESIDE_CONNECTIONS
    if hard != resource.RLIM_INFINITY:
        files = min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    possible = min(wanted, files - _FILES_BESIDE_CONNECTIONS)
    if possible < 1:
        raise SettingError(
            f"this process may open {files} files, more than {_FILES_BESIDE_CONNECTIONS} are "
            "needed; raise the limit (ulimit -n)"
        )
    if possible < wanted:
        _logger.warning(
            "a worker takes fewer connections than it was told, for want of open files",
            extra={"wanted": wanted, "connections": possible},
        )
    return possible


def _end_with_parent() -> None:
    """Drain when the main process is gone: nobody tells this worker any more who may send."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    _logger.error("the main process has ended")
    while True:  # a worker that has only just started misses the first
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(_LOOK_SECONDS)


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    _logger.info("standard input has ended")
    os.kill(os.getpid(), signal.SIGTERM)


def _follow(access: Callable[[], Access], file: AccessFile) -> None:
    """Pass on each change of who may send. A wrong one is told, and the last good one stays."""
    last = None
    while True:
        try:
            now = access()
            if last is not None and now != last:
                file.write(now)
                _logger.info("apps and origins have changed", extra={"apps": now.app_ids})
            last = now
        except Exception as error:
            _logger.error("apps and origins stay as they are", extra={"error": str(error)})
        threading.Event().wait(_LOOK_SECONDS)


def _log_config(log_format: LogFormat) -> dict:
    formatter = (
        {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s %(process)d %(message)s",
        }
        if log_format is LogFormat.JSON
        else {"format": "%(asctime)s %(levelname)s %(process)d %(message)s"}
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {
            "out": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "stream": "ext://sys.stderr",
            }
        },
        "loggers": {"_granian": {}},  # granian sets its level
        "root": {"level": "INFO", "handlers": ["out"]},
    }
