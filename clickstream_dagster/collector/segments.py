"""Segments of the write-ahead log: files of framed sink records.

A frame is what one write adds: a header, then whole lines of newline-delimited JSON. Its checksum
tells a frame that is on the disk from one that a crash has torn: reading ends before the first
frame that is not whole. No such frame has been acknowledged, since it was not yet synced.
"""

import os
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from isal import isal_zlib

from clickstream_dagster.durable_files import sync_folder
from clickstream_dagster.errors import ClickstreamError

MAX_FRAME_BYTES = 64 << 20
"""No frame has more; a header that says so is damage."""

_FRAME_BYTES = 8 << 20  # of what is written: readers hold one frame in memory

_HEADER = struct.Struct("<4sIII")  # magic, bytes, records, CRC-32 of the bytes
_MAGIC = b"clk1"
_OPEN_SUFFIX = ".open"
_SEALED_SUFFIX = ".sealed"


class SegmentError(ClickstreamError):
    """A segment that can't be read."""


class DamagedSegmentError(SegmentError):
    """A segment that has changed since it was sealed: to read it again gives no more."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Whole lines of sink records, and how many they are."""

    lines: bytes
    records: int


def framed(lines: bytes, records: int) -> bytes:
    """Give the header of a frame of `lines`; the lines follow it."""
    return _HEADER.pack(_MAGIC, len(lines), records, isal_zlib.crc32(lines))


def frames_of(lines: list[bytes]) -> Iterator[bytes]:
    """Give lines, in their order, as frames that read_frames takes; few lines are one frame.

    A line has MAX_RECORD_BYTES at most (processing/limits.py), far less than MAX_FRAME_BYTES.
    """
    group: list[bytes] = []
    size = 0
    for line in lines:
        if group and size + len(line) > _FRAME_BYTES:
            yield _frame(group)
            group, size = [], 0
        group.append(line)
        size += len(line)
    yield _frame(group)


def _frame(lines: list[bytes]) -> bytes:
    joined = b"".join(lines)
    return framed(joined, len(lines)) + joined


def read_frames(stream: BinaryIO) -> Iterator[Frame]:
    """Read frames up to the end, or up to the first one that is not whole."""
    while len(header := stream.read(_HEADER.size)) == _HEADER.size:
        magic, size, records, checksum = _HEADER.unpack(header)
        if magic != _MAGIC or size > MAX_FRAME_BYTES:
            return
        lines = stream.read(size)
        if len(lines) < size or isal_zlib.crc32(lines) != checksum:
            return
        yield Frame(lines, records)


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """A segment that is complete and waits for the sink.

    `sealed_at` is in whole seconds of Unix time. `name` is `<sealed_at>-<uuid>`: unique, and the
    same at every attempt to ship it, also behind a restart.
    """

    path: Path
    sealed_at: int

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(_SEALED_SUFFIX)

    def frames(self) -> Iterator[Frame]:
        """Read what it holds, a frame at a time (a few MB at most, usually far less).

        Raises SegmentError when the file can't be read, DamagedSegmentError behind its last whole
        frame when it is damaged: it was whole when it was sealed.
        """
        whole = 0
        try:
            with self.path.open("rb") as stream:
                for frame in read_frames(stream):
                    whole += _HEADER.size + len(frame.lines)
                    yield frame
                size = os.fstat(stream.fileno()).st_size
        except OSError as error:
            raise SegmentError(f"segment {self.path} can't be read: {error}") from error
        if whole < size:
            raise DamagedSegmentError(
                f"segment {self.path} is damaged behind byte {whole:,} of {size:,}: the disk has "
                "lost or changed what was on it; look at the file, then remove it"
            )


def new_segment_path(folder: Path) -> Path:
    """Give a path for a segment that is to be written."""
    return folder / f"{uuid.uuid4()}{_OPEN_SUFFIX}"


def open_segments(folder: Path) -> list[Path]:
    """Give the segments that nobody has sealed."""
    return sorted(folder.glob(f"*{_OPEN_SUFFIX}"))


def sealed_segments(folder: Path) -> list[SealedSegment]:
    """Give the sealed segments, oldest first."""
    found = [
        SealedSegment(path, int(path.name.partition("-")[0]))
        for path in folder.glob(f"*{_SEALED_SUFFIX}")
    ]
    return sorted(found, key=lambda segment: (segment.sealed_at, segment.path))


def seal(path: Path, now: int) -> SealedSegment:
    """Make an open segment a sealed one, at `now` (seconds of Unix time). Its data are synced."""
    sealed = path.with_name(f"{now}-{path.name.removesuffix(_OPEN_SUFFIX)}{_SEALED_SUFFIX}")
    path.rename(sealed)
    sync_folder(path.parent)
    return SealedSegment(sealed, now)


def recover(path: Path, now: int) -> SealedSegment | None:
    """Seal an open segment that its writer has left; None, and no file, if it holds nothing.

    What follows the last whole frame was torn by a crash and is cut off.
    """
    with path.open("r+b") as stream:
        whole = sum(_HEADER.size + len(frame.lines) for frame in read_frames(stream))
        stream.truncate(whole)
        os.fsync(stream.fileno())
    if not whole:
        path.unlink()
        return None
    return seal(path, now)
