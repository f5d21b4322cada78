"""The processes of a collector: one that watches, and workers that answer."""

import logging
import logging.config
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from multiprocessing.context import SpawnProcess

from clickstream_dagster.collector.access import Access, AccessFile
from clickstream_dagster.collector.metrics import prepare_folder, remove_folder, serve_metrics
from clickstream_dagster.collector.report import report_spool
from clickstream_dagster.collector.settings import CollectorSettings
from clickstream_dagster.collector.spool import claim
from clickstream_dagster.collector.worker import END_SECONDS, TlsFiles, run_worker
from clickstream_dagster.durable_files import make_folders, sync_folder
from clickstream_dagster.errors import SettingError

_FILES_BESIDE_CONNECTIONS = 256
_BACKLOG = 4_096
_KILL_GRACE_SECONDS = 5
_LOOK_AT_WORKERS_SECONDS = 0.5
_BETWEEN_STARTS_SECONDS = 3.0  # of one worker: to start takes most of a second of a core
_LOOK_SECONDS = 2.0

_logger = logging.getLogger(__name__)


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
    with ExitStack() as open_ones:
        listeners = [open_ones.enter_context(one) for one in _listeners(*listen, workers)]
        start = partial(_start_worker, settings, connections, tls, logs)
        try:
            _keep_running(start, listeners, settings.drain_seconds + END_SECONDS)
        finally:
            remove_folder(folder)


def default_workers() -> int:
    """Give a worker for each core that this process may use."""
    return len(os.sched_getaffinity(0))


def _start_worker(
    settings: CollectorSettings,
    connections: int,
    tls: TlsFiles | None,
    logs: dict,
    listener: socket.socket,
) -> SpawnProcess:
    # Threads run here: forks are not safe.
    worker = multiprocessing.get_context("spawn").Process(
        target=run_worker, args=(settings, connections, tls, logs, listener)
    )
    # A SIGHUP that is passed on to a worker before it can take it would end it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        worker.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    _logger.info("a worker has been started", extra={"worker": worker.pid})
    return worker


def _keep_running(
    start: Callable[[socket.socket], SpawnProcess],
    listeners: list[socket.socket],
    seconds_to_end: float,
) -> None:
    """Keep a worker for each socket until a signal ends them; SIGHUP is passed on to them."""
    ending = threading.Event()
    workers: list[SpawnProcess] = []

    def pass_on(signal_number: int, _frame: object) -> None:
        for worker in workers:
            if worker.pid is not None and worker.is_alive():
                os.kill(worker.pid, signal_number)

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: ending.set())
    signal.signal(signal.SIGHUP, pass_on)
    workers += [start(listener) for listener in listeners]
    started = [time.monotonic()] * len(workers)
    while not ending.wait(_LOOK_AT_WORKERS_SECONDS):
        now = time.monotonic()
        for place, worker in enumerate(workers):
            if not worker.is_alive() and now >= started[place] + _BETWEEN_STARTS_SECONDS:
                started[place] = now
                told = {"worker": worker.pid, "exit_code": worker.exitcode}
                _logger.error("a worker has ended", extra=told)
                try:
                    workers[place] = start(listeners[place])
                except OSError as error:  # no memory, or too many processes: the others go on
                    _logger.error("no worker can be started", extra={"error": str(error)})
    _logger.info("the workers are told to end")
    for listener in listeners:
        listener.close()
    pass_on(signal.SIGTERM, None)
    deadline = time.monotonic() + seconds_to_end + _KILL_GRACE_SECONDS
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        if worker.is_alive():
            _logger.error("a worker does not end, it is killed", extra={"worker": worker.pid})
            worker.kill()
            worker.join()


def _listeners(address: str, port: int, number: int) -> list[socket.socket]:
    """Open a socket for each worker: the system spreads connections over them evenly.

    They stay open here, so what waits for a worker that has died is taken by its successor.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        # Alone, to see that no other collector listens there: several may share an address.
        _listener(family, address, port, shares=False).close()
        return [_listener(family, address, port) for _ in range(number)]
    except OSError as error:
        raise SettingError(f"{address}:{port} can't be listened to: {error}") from error


def _listener(
    family: socket.AddressFamily, address: str, port: int, *, shares: bool = True
) -> socket.socket:
    # [::] takes IPv4, too; that is the system's habit, not Python's.
    is_both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    return socket.create_server(
        (address, port), family=family, backlog=_BACKLOG, reuse_port=shares, dualstack_ipv6=is_both
    )


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
        "root": {"level": "INFO", "handlers": ["out"]},
    }
