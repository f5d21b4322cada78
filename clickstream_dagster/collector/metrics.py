"""Metrics for Prometheus: each worker counts, the main process tells the sums."""

import logging
import os
import shutil
import tempfile
import time
from collections import Counter as Counts
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the library's name

_logger = logging.getLogger(__name__)


def prepare_folder() -> Path:
    """Make the folder in which workers count; the processes started from here on use it."""
    folder = Path(tempfile.mkdtemp(prefix="collector-metrics-"))
    os.environ[_FOLDER] = str(folder)
    return folder


def remove_folder(folder: Path) -> None:
    """Remove it when the last worker is gone."""
    shutil.rmtree(folder, ignore_errors=True)


class WorkerMetrics:
    """What one worker counts. Counting is of plain numbers; `publish` passes them on."""

    def __init__(self) -> None:
        from prometheus_client import Counter

        self._requests = Counter(
            "clickstream_collector_requests", "Requests by app and status.", ["app", "status"]
        )
        self._bytes = Counter(
            "clickstream_collector_body_bytes", "Bytes of stored bodies, as sent.", ["app"]
        )
        self._sink_errors = Counter(
            "clickstream_collector_sink_errors", "Segments that the sink did not take at a try."
        )
        self._sink = Counter(
            "clickstream_collector_sink", "What the sink counts of its own.", ["kind"]
        )
        self._new_requests: Counts[tuple[str, int]] = Counts()
        self._new_bytes: Counts[str] = Counts()
        self._sink_seen: Counts[str] = Counts()

    def count(self, app_id: str, status: int, body_bytes: int = 0) -> None:
        """Count an answer. Only registered apps have names here, others are ''."""
        self._new_requests[app_id, status] += 1
        if body_bytes:
            self._new_bytes[app_id] += body_bytes

    def count_sink_error(self) -> None:
        """Count a segment that the sink did not take."""
        self._sink_errors.inc()

    def publish(self) -> None:
        """Pass on what has been counted since the last call."""
        requests, self._new_requests = self._new_requests, Counts()
        sizes, self._new_bytes = self._new_bytes, Counts()
        for (app_id, status), number in requests.items():
            self._requests.labels(app_id, str(status)).inc(number)
        for app_id, number in sizes.items():
            self._bytes.labels(app_id).inc(number)
