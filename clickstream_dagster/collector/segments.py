"""Segments of the write-ahead log: files of framed sink records.

A frame is what one write adds: a header, then whole lines of newline-delimited JSON. Its checksum
tells a frame that is on the disk from one that a crash has torn: reading ends before the first
frame that is not whole. No such frame has been acknowledged, since it was not yet synced.

A shipped segment's file is written over by the next one: to sync blocks that a file has already
takes the system less than half of the time. Checksums begin with the segment's name, so a frame
that is left of the file's earlier life is none.
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

_UUID_CHARACTERS = 36
_FRAME_BYTES = 8 << 20  # of what is written: readers hold one frame in memory

_HEADER = struct.Struct("<4sIII")  # magic, bytes, records, CRC-32 of the bytes
_MAGIC = b"clk2"
_OPEN_SUFFIX = ".open"
_SEALED_SUFFIX = ".sealed"
_SPARE = "spare"


class SegmentError(ClickstreamError):
    """A segment that can't be read."""


class DamagedSegmentError(SegmentError):
    """A segment that has changed since it was sealed: to read it again gives no more."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Whole lines of sink records, and how many they are."""

    lines: bytes
    records: int


def checksum_start(path: Path) -> int:
    """Give what the checksums of a segment begin with: that of its unique name, open or sealed."""
    return isal_zlib.crc32(path.stem[-_UUID_CHARACTERS:].encode())


def framed(lines: bytes, records: int, start: int) -> bytes:
    """Give the header of a frame of `lines`, which follow it; `start` is the checksum_start."""
    return _HEADER.pack(_MAGIC, len(lines), records, isal_zlib.crc32(lines, start))


def frames_of(lines: list[bytes], start: int) -> Iterator[bytes]:
    """Give lines, in their order, as frames that read_frames takes; few lines are one frame.

    A line has MAX_RECORD_BYTES at most (processing/limits.py), far less than MAX_FRAME_BYTES.
    """
    group: list[bytes] = []
    size = 0
    for line in lines:
        if group and size + len(line) > _FRAME_BYTES:
            yield _frame(group, start)
            group, size = [], 0
        group.append(line)
        size += len(line)
    yield _frame(group, start)


def _frame(lines: list[bytes], start: int) -> bytes:
    joined = b"".join(lines)
    return framed(joined, len(lines), start) + joined


def read_frames(stream: BinaryIO, start: int) -> Iterator[Frame]:
    """Read frames up to the end, or up to the first one that is not whole or not this segment's.

    `start` is the checksum_start.
    """
    while len(header := stream.read(_HEADER.size)) == _HEADER.size:
        magic, size, records, checksum = _HEADER.unpack(header)
        if magic != _MAGIC or size > MAX_FRAME_BYTES:
            return
        lines = stream.read(size)
        if len(lines) < size or isal_zlib.crc32(lines, start) != checksum:
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
                for frame in read_frames(stream, checksum_start(self.path)):
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


def new_segment(folder: Path) -> Path:
    """Make the file of a segment that is to be written from its beginning on, maybe a spare one.

    Its name is on the disk before anything else: what is written to it can't be found under the
    name that its file had before.
    """
    path = new_segment_path(folder)
    try:
        (folder / _SPARE).rename(path)
    except FileNotFoundError:
        path.touch(mode=0o600, exist_ok=False)
    sync_folder(folder)
    return path


def keep_spare(segment: SealedSegment) -> None:
    """Take a segment out of the log, and leave its file to the next one; there is one at most."""
    segment.path.rename(segment.path.with_name(_SPARE))


def remove_spare(folder: Path) -> None:
    """Remove the spare file, which holds what has been shipped."""
    (folder / _SPARE).unlink(missing_ok=True)


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

    What follows the last whole frame was torn by a crash, or is of another segment: it is cut off.
    """
    with path.open("r+b") as stream:
        frames = read_frames(stream, checksum_start(path))
        whole = sum(_HEADER.size + len(frame.lines) for frame in frames)
        stream.truncate(whole)
        os.fsync(stream.fileno())
    if not whole:
        path.unlink()
        return None
    return seal(path, now)
