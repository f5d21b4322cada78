"""Shipping: sealed segments go to the sink, oldest first, and are deleted when it has them."""

import logging
import random
import threading
from pathlib import Path

from clickstream_dagster.collector.segments import (
    DamagedSegmentError,
    SealedSegment,
    SegmentError,
    keep_spare,
    remove_spare,
    sealed_segments,
)
from clickstream_dagster.collector.sinks.sink import Sink, SinkError
from clickstream_dagster.collector.spool import WorkerFolder, take_left_folders
from clickstream_dagster.errors import ClickstreamError
from clickstream_dagster.tuning import give_way

_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 30.0
_NICER = 5  # compression lets requests go first, and still gets its share of a busy machine

_logger = logging.getLogger(__name__)


class Shipper:
    """Ships a worker's segments in a thread of its own, and those of workers that are gone."""

    def __init__(self, spool: Path, folder: WorkerFolder, sink: Sink) -> None:
        self._spool = spool
        self._folder = folder
        self._sink = sink
        self._wake = threading.Event()
        self._ending = threading.Event()
        # Known ones: a stream would get what is whole of them again with each look.
        self._damaged: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that a segment has been sealed."""
        self._wake.set()

    def drain(self, seconds: float) -> bool:
        """Ship what is there and end; give whether all is shipped, within some seconds.

        A sink that fails now is not asked again: what is left is shipped by the next start.
        """
        self._ending.set()
        self._wake.set()
        self._thread.join(seconds)
        return not self._thread.is_alive() and not sealed_segments(self._folder.path)

    def _run(self) -> None:
        give_way(_NICER)
        failures = 0
        while True:
            self._wake.clear()  # first: drain sets the other one before it
            is_ending = self._ending.is_set()
            failures = 0 if self._ships_all() else failures + 1
            if is_ending:
                self._sink.close()
                remove_spare(self._folder.path)
                return
            if failures:
                self._ending.wait(_wait_seconds(failures))
            else:
                self._wake.wait(_LOOK_SECONDS)

    def _ships_all(self) -> bool:
        """Give whether the sink took everything; what nobody has thought of must not end it."""
        try:
            return self._ship_all()
        except Exception:
            _logger.exception("shipping is tried again")
            return False

    def _ship_all(self) -> bool:
        if not self._ship_folder(self._folder.path):
            return False
        for folder in take_left_folders(self._spool):
            try:
                if not self._ship_folder(folder.path):
                    return False
            finally:
                folder.release()
        return True

    def _ship_folder(self, path: Path) -> bool:
        for segment in sealed_segments(path):
            if segment.name in self._damaged:
                continue
            try:
                self._sink.ship(segment)
            except SinkError as error:
                self._report(segment, error)
                return False
            except SegmentError as error:  # the others are not held up by it
                self._report(segment, error)
                if isinstance(error, DamagedSegmentError):
                    self._damaged.add(segment.name)
            else:
                if path == self._folder.path:
                    keep_spare(segment)
                else:  # nobody writes there
                    segment.path.unlink()
        return True

    def _report(self, segment: SealedSegment, error: ClickstreamError) -> None:
        _logger.error(
            "a segment stays in the log", extra={"segment": segment.name, "error": str(error)}
        )


def _wait_seconds(failures: int) -> float:
    """Twice as long after each failure, and never the same for two workers."""
    longest = min(_FIRST_WAIT_SECONDS * 2 ** (failures - 1), _LONGEST_WAIT_SECONDS)
    return longest * random.uniform(0.5, 1.0)
