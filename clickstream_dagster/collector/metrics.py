"""Metrics for Prometheus: each worker counts, the main process tells the sums."""

import fcntl
import logging
import os
import shutil
import tempfile
from collections import Counter as Counts
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from clickstream_dagster.collector.event_count import EventCount
from clickstream_dagster.collector.sinks.sink import SinkCounters
from clickstream_dagster.collector.spool import spool_state

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the library's name
_PREFIX = "metrics-"
_COUNTER_BYTES = 1 << 20  # for some thousands of counters; the library makes it larger if need be

_logger = logging.getLogger(__name__)


def prepare_folder(spool: Path) -> Path:
    """Make the folder in which workers count; the processes started from here on use it.

    It is in the spool, the one place that a collector writes to, and locked while this process
    lives. What collectors that were killed have left there is removed.
    """
    for left in spool.glob(f"{_PREFIX}*"):
        if (lock := _locked(left)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=spool))
    _locked(folder)
    os.environ[_FOLDER] = str(folder)
    return folder


def _locked(folder: Path) -> int | None:
    """Lock a folder; None when another process holds it. The system unlocks it at the end."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:  # another one that cleans up was quicker
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def remove_folder(folder: Path) -> None:
    """Remove it when the last worker is gone."""
    shutil.rmtree(folder, ignore_errors=True)


def _reserve_counters() -> None:
    """Take the disk space that this process counts in, before Prometheus' library is imported.

    The library maps a file. A page of it that finds no space on a full disk kills the process
    (SIGBUS). Where there is none by now, it counts in memory, for nobody.
    """
    if _FOLDER not in os.environ:
        return
    file = Path(os.environ[_FOLDER]) / f"counter_{os.getpid()}.db"  # the library's name
    try:
        with file.open("ab") as counters:
            os.posix_fallocate(counters.fileno(), 0, _COUNTER_BYTES)
    except OSError as error:
        file.unlink(missing_ok=True)
        del os.environ[_FOLDER]
        _logger.error("metrics leave out a worker, its disk is full", extra={"error": str(error)})


class WorkerMetrics:
    """What one worker counts. Counting is of plain numbers; `publish` passes them on."""

    def __init__(self) -> None:
        _reserve_counters()
        from prometheus_client import Counter

        self._requests = Counter(
            "clickstream_collector_requests", "Requests by app and status.", ["app", "status"]
        )
        self._bytes = Counter(
            "clickstream_collector_body_bytes", "Bytes of stored bodies, as sent.", ["app"]
        )
        self._events = Counter(
            "clickstream_collector_events",
            "Events in stored requests; above a rate they are estimated from a part of them.",
            ["app"],
        )
        self._sink = Counter(
            "clickstream_collector_sink", "What the sink counts of its own.", ["kind"]
        )
        self._new_requests: Counts[tuple[str, int]] = Counts()
        self._new_bytes: Counts[str] = Counts()
        self._new_events = EventCount()
        self._sink_seen: Counts[str] = Counts()

    def count(self, app_id: str, status: int, body_bytes: int = 0) -> None:
        """Count an answer. Only registered apps have names here, others are ''."""
        self._new_requests[app_id, status] += 1
        if body_bytes:
            self._new_bytes[app_id] += body_bytes

    def count_events(self, app_id: str, text: str) -> None:
        """Count the events in the body of a stored request."""
        self._new_events.add(app_id, text)

    def publish(self) -> None:
        """Pass on what has been counted since the last call."""
        requests, self._new_requests = self._new_requests, Counts()
        sizes, self._new_bytes = self._new_bytes, Counts()
        for (app_id, status), number in requests.items():
            self._requests.labels(app_id, str(status)).inc(number)
        for app_id, number in sizes.items():
            self._bytes.labels(app_id).inc(number)
        for app_id, number in self._new_events.take().items():
            self._events.labels(app_id).inc(number)

    def publish_sink(self, counters: SinkCounters) -> None:
        """Pass on the sink's own counters, which only grow."""
        for kind, value in asdict(counters).items():
            self._sink.labels(kind).inc(value - self._sink_seen[kind])
            self._sink_seen[kind] = value


class SpoolMetrics:
    """What lies in a spool, looked at when it is asked for: a collector of Prometheus' library."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool

    def collect(self) -> "Iterator[Metric]":
        """Give the size of the log, its segments, the age of the oldest, and the free space."""
        from prometheus_client.core import GaugeMetricFamily

        state = spool_state(self._spool)
        for name, text, value in (
            ("log_bytes", "Bytes in the log that the sink does not have yet.", state.bytes),
            ("log_segments", "Sealed segments that wait for the sink.", state.segments),
            (
                "oldest_segment_seconds",
                "Age of the oldest sealed segment that waits for the sink, 0 without one.",
                state.oldest_seconds,
            ),
            ("free_bytes", "Free space on the disk of the log.", state.free_bytes),
        ):
            yield GaugeMetricFamily(f"clickstream_collector_{name}", text, value)


def serve_metrics(spool: Path, address: str, port: int) -> None:
    """Answer `GET /metrics` in a thread of this process; raises OSError if the port is taken."""
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    registry.register(SpoolMetrics(spool))
    start_http_server(port, address, registry)
