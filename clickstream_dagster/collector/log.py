"""The write-ahead log of one worker process: what is answered 200 is on the disk.

The event loop hands lines over in groups; one thread writes and syncs each group by one call, and
the next group forms meanwhile (group commit). All state but the file is the event loop's.
"""

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from clickstream_dagster.collector import segments

MAX_WAITING_BYTES = 32 << 20
"""Lines that wait for the disk; more are refused, so that a slow disk can't fill the memory."""

FAILED = 70
"""Exit code of a process whose log has failed by other than the disk (sysexits.h, EX_SOFTWARE)."""

_LOOK_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class Sync(StrEnum):
    """When a write is forced to the disk."""

    ALWAYS = "always"
    """Before the request is answered: survives loss of power."""
    INTERVAL = "interval"
    """Once a second: survives the death of the process, loss of power may cost a second."""
    NEVER = "never"
    """When the system likes, and when a segment is sealed: survives the death of the process."""


class LogError(Exception):
    """Lines that the log could not keep; they are not on the disk, or not for sure."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """When segments are sealed and what disk space is left alone.

    A segment is sealed at `segment_bytes` of lines, or `segment_seconds` after its first one.
    Below `min_free_bytes` of free space on the disk nothing is taken.
    """

    segment_bytes: int
    segment_seconds: float
    min_free_bytes: int
    sync: Sync = Sync.ALWAYS


class Log:
    """Lines go in, sealed segments come out in `folder`; `on_sealed` is called for each, by the
    writing thread. Should that thread fail, of a lack of memory say, the process ends.
    """

    def __init__(
        self,
        folder: Path,
        settings: LogSettings,
        on_sealed: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._on_sealed = on_sealed
        self._loop = loop
        self._lines: list[bytes] = []
        self._waiting: list[Callable[[LogError | None], None]] = []
        self._in_flight = self._waiting
        self._waiting_bytes = 0
        self._is_writing = False
        self._groups: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._segment: _OpenSegment | None = None
        self._left_open: list[Path] = []
        self.refusal: str | None = _shortage(folder, settings.min_free_bytes)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the disk that nothing more is taken."""
        return self._waiting_bytes > MAX_WAITING_BYTES

    def add(self, line: bytes, on_written: Callable[[LogError | None], None]) -> None:
        """Take a line with its newline. `on_written` is called on the loop when it is kept.

        It gets the error of a line that is not. Before that the line is not acknowledged.
        """
        self._lines.append(line)
        self._waiting.append(on_written)
        self._waiting_bytes += len(line)
        if not self._is_writing:
            self._is_writing = True
            # What else is ready in this turn of the loop goes along.
            self._loop.call_soon(self._hand_over)

    def close(self) -> None:
        """Write what waits, seal the segment and end the thread. No line may come after it."""
        if self._lines:
            self._groups.put(self._lines)
        self._groups.put(None)
        self._thread.join()

    def _hand_over(self) -> None:
        lines, self._lines = self._lines, []
        self._in_flight, self._waiting = self._waiting, []
        self._waiting_bytes = 0
        self._groups.put(lines)

    def _group_done(self, error: LogError | None) -> None:
        written, self._in_flight = self._in_flight, []
        # First the next group: it is written while the answers of this one are made.
        if self._lines:
            self._hand_over()
        else:
            self._is_writing = False
        for on_written in written:
            try:
                on_written(error)
            except Exception:
                _logger.exception("a request can't be answered")

    def _run(self) -> None:
        try:
            self._write_groups()
        except BaseException:
            # No request would be answered any more. Whoever comes next to the folder seals what
            # is in it, as after a kill.
            _logger.critical("the log has failed: its process ends", exc_info=True)
            os._exit(FAILED)

    def _write_groups(self) -> None:
        look_at = time.monotonic() + _LOOK_SECONDS
        while True:
            try:
                lines = self._groups.get(timeout=max(0.0, look_at - time.monotonic()))
            except queue.Empty:
                self._look()
                look_at = time.monotonic() + _LOOK_SECONDS
                continue
            if lines is None:
                self._seal()
                return
            error = self._write(lines)
            try:
                self._loop.call_soon_threadsafe(self._group_done, error)
            except RuntimeError:  # the loop is closed: nobody waits for the answer
                continue
            if time.monotonic() >= look_at:
                self._look()
                look_at = time.monotonic() + _LOOK_SECONDS

    def _write(self, lines: list[bytes]) -> LogError | None:
        try:
            if self._segment is None:
                self._segment = _OpenSegment(self._folder)
            self._segment.write(lines, sync=self._settings.sync is Sync.ALWAYS)
        except OSError as error:
            _logger.error("the log can't be written", extra={"error": str(error)})
            self.refusal = f"the log can't be written: {error.strerror}"
            self._give_up_segment()
            return LogError(str(error))
        if self._segment.size >= self._settings.segment_bytes:
            self._seal()
        return None

    def _look(self) -> None:
        self.refusal = _shortage(self._folder, self._settings.min_free_bytes)
        self._seal_left_open()
        segment = self._segment
        if segment is None:
            return
        if time.monotonic() - segment.born >= self._settings.segment_seconds:
            self._seal()
        elif self._settings.sync is Sync.INTERVAL:
            try:
                segment.sync()
            except OSError as error:
                _logger.error("the log can't be synced", extra={"error": str(error)})
                self._give_up_segment()

    def _seal(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.finish()
            segment.close()
            segments.seal(segment.path, int(time.time()))
        except OSError as error:
            self._leave_open(segment.path, error)
        else:
            self._on_sealed()

    def _give_up_segment(self) -> None:
        """Go on with another segment: where a write or sync has failed, nothing is sure."""
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.close()
            sealed = segments.recover(segment.path, int(time.time()))
        except OSError as error:
            self._leave_open(segment.path, error)
        else:
            if sealed:
                self._on_sealed()

    def _leave_open(self, path: Path, error: OSError) -> None:
        self._left_open.append(path)
        _logger.error(
            "a segment stays open until what is whole of it can be sealed",
            extra={"segment": path.name, "error": str(error)},
        )

    def _seal_left_open(self) -> None:
        left, self._left_open = self._left_open, []
        for path in left:
            try:
                sealed = path.exists() and segments.recover(path, int(time.time()))
            except OSError:  # it has been told
                self._left_open.append(path)
            else:
                if sealed:
                    self._on_sealed()


class _OpenSegment:
    """The file that is written."""

    def __init__(self, folder: Path) -> None:
        self.path = segments.new_segment(folder)
        self.size = 0
        self.born = time.monotonic()
        self._start = segments.checksum_start(self.path)
        self._handle = os.open(self.path, os.O_WRONLY)

    def write(self, lines: list[bytes], *, sync: bool) -> None:
        for frame in segments.frames_of(lines, self._start):
            _write_all(self._handle, frame)
            self.size += len(frame)
        if sync:
            os.fdatasync(self._handle)

    def sync(self) -> None:
        os.fdatasync(self._handle)

    def finish(self) -> None:
        """Cut off what the file holds of an earlier segment, and sync it."""
        os.ftruncate(self._handle, self.size)
        os.fdatasync(self._handle)

    def close(self) -> None:
        os.close(self._handle)


def _write_all(handle: int, payload: bytes) -> None:
    left = memoryview(payload)
    while left:
        left = left[os.write(handle, left) :]


def _shortage(folder: Path, min_free_bytes: int) -> str | None:
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        return f"the disk of the log does not answer: {error.strerror}"
    free = disk.f_bavail * disk.f_frsize
    if free >= min_free_bytes:
        return None
    return f"{free >> 20} MB are free on the disk of the log, {min_free_bytes >> 20} MB are needed"
