"""The write-ahead log: what it confirms can be read back, however much comes at once."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clickstream_dagster.collector.log import FAILED, Log, LogError, LogSettings, Sync
from clickstream_dagster.collector.segments import (
    MAX_FRAME_BYTES,
    SealedSegment,
    keep_spare,
    new_segment,
    recover,
    remove_spare,
    sealed_segments,
)
from clickstream_dagster.collector.spool import take_folder
from clickstream_dagster.processing.limits import MAX_RECORD_BYTES
from tests.served import eventually

SETTINGS = LogSettings(1 << 30, 3_600, 0, Sync.NEVER)


async def kept(log: Log, line: bytes) -> None:
    """Give a line to a log, and wait until it is kept. Raises its LogError."""
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_written(error: LogError | None) -> None:
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)

    log.add(line, on_written)
    await written


def confirmed(folder: Path, lines: list[bytes]) -> None:
    """Give lines to a log in one turn of its loop, and wait until it has confirmed them."""

    async def run() -> None:
        log = Log(folder, SETTINGS, lambda: None, asyncio.get_running_loop())
        await asyncio.gather(*(kept(log, line) for line in lines))
        await asyncio.to_thread(log.close)

    asyncio.run(run())


def test_a_group_of_any_size_is_read_back_whole_and_in_its_order(tmp_path: Path) -> None:
    """A slow disk makes large groups: all that was on its way when it stopped."""
    letters = b"abcdef"
    lines = [bytes([letter]) * (MAX_RECORD_BYTES - 1) + b"\n" for letter in letters]
    assert sum(map(len, lines)) > MAX_FRAME_BYTES

    confirmed(tmp_path, [b"first\n", *lines, b"last\n"])

    (segment,) = sealed_segments(tmp_path)
    frames = list(segment.frames())
    assert sum(frame.records for frame in frames) == len(lines) + 2
    kept = b"".join(frame.lines for frame in frames).splitlines(keepends=True)
    assert kept == [b"first\n", *lines, b"last\n"]
    assert max(len(frame.lines) for frame in frames) <= MAX_RECORD_BYTES + len(b"first\n")


def test_the_name_of_a_workers_folder_is_synced_before_anything_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    sync = os.fsync

    def noting(handle: int) -> None:
        found.append(os.readlink(f"/proc/self/fd/{handle}"))
        sync(handle)

    monkeypatch.setattr(os, "fsync", noting)
    take_folder(tmp_path)
    assert found == [str(tmp_path)]
    confirmed(tmp_path / "worker-0", [b"a\n"])
    assert found[1] == str(tmp_path / "worker-0")


def test_a_segment_that_could_not_be_sealed_is_sealed_when_the_disk_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = {"away": False}

    def of_the_disk(function):
        def call(handle: int) -> None:
            if disk["away"]:
                raise OSError(5, "Input/output error")
            function(handle)

        return call

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, of_the_disk(getattr(os, name)))

    async def run() -> None:
        settings = LogSettings(1 << 30, 3_600, 0, Sync.ALWAYS)
        log = Log(tmp_path, settings, lambda: None, asyncio.get_running_loop())
        await kept(log, b"acknowledged\n")
        disk["away"] = True
        with pytest.raises(LogError):
            await kept(log, b"refused\n")
        assert sealed_segments(tmp_path) == []
        disk["away"] = False
        await asyncio.to_thread(eventually, lambda: sealed_segments(tmp_path), 20, str)
        await asyncio.to_thread(log.close)

    asyncio.run(run())
    (segment,) = sealed_segments(tmp_path)
    assert b"".join(frame.lines for frame in segment.frames()).startswith(b"acknowledged\n")


def spare_of(folder: Path, lines: list[bytes]) -> int:
    """Leave the file of a shipped segment that held these lines; give its inode."""
    confirmed(folder, lines)
    (segment,) = sealed_segments(folder)
    keep_spare(segment)
    return (folder / "spare").stat().st_ino


def lines_of(segment: SealedSegment) -> list[bytes]:
    return b"".join(frame.lines for frame in segment.frames()).splitlines(keepends=True)


def test_a_segment_in_the_file_of_a_shipped_one_holds_its_own_lines_only(tmp_path: Path) -> None:
    shipped = spare_of(tmp_path, [b"shipped\n"] * 1_000)

    confirmed(tmp_path, [b"new\n"])

    (segment,) = sealed_segments(tmp_path)
    assert segment.path.stat().st_ino == shipped
    assert lines_of(segment) == [b"new\n"]


@pytest.mark.parametrize("lines", [[], [b"kept\n"], [b"kept, of as many bytes\n"]])
def test_a_killed_segment_in_the_file_of_a_shipped_one_is_cut_behind_its_own_frames(
    tmp_path: Path, lines: list[bytes]
) -> None:
    """Also where a frame of the shipped one begins right behind them, whole."""
    spare_of(tmp_path, [b"more\n"])
    (tmp_path / "spare").rename(tmp_path / "first")
    spare_of(tmp_path, [b"shipped, as many bytes\n"])
    with (tmp_path / "spare").open("ab") as spare:
        spare.write((tmp_path / "first").read_bytes())

    async def run() -> None:  # its segment is left open, as by SIGKILL
        log = Log(tmp_path, SETTINGS, lambda: None, asyncio.get_running_loop())
        for line in lines:
            await kept(log, line)

    asyncio.run(run())
    (left_open,) = tmp_path.glob("*.open") if lines else [new_segment(tmp_path)]

    sealed = recover(left_open, int(time.time()))

    assert (lines_of(sealed) if sealed else []) == lines
    assert list(tmp_path.glob("*.open")) == []


def test_the_new_name_of_a_shipped_segments_file_is_synced_before_it_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a loss of power could bring back the old name, with new lines that nobody would read."""
    spare_of(tmp_path, [b"shipped\n"])
    before = (tmp_path / "spare").read_bytes()
    contents: list[bytes] = []
    sync = os.fsync

    def noting(handle: int) -> None:
        if os.readlink(f"/proc/self/fd/{handle}") == str(tmp_path):
            contents.extend(path.read_bytes() for path in tmp_path.glob("*.open"))
        sync(handle)

    monkeypatch.setattr(os, "fsync", noting)
    confirmed(tmp_path, [b"new\n"])
    assert contents[0] == before


def test_one_spare_file_is_kept_at_most(tmp_path: Path) -> None:
    first = spare_of(tmp_path, [b"a\n"])
    (tmp_path / "spare").rename(tmp_path / "elsewhere")
    confirmed(tmp_path, [b"b\n"])
    (tmp_path / "elsewhere").rename(tmp_path / "spare")
    (segment,) = sealed_segments(tmp_path)

    keep_spare(segment)

    assert (tmp_path / "spare").stat().st_ino != first
    assert sealed_segments(tmp_path) == []
    remove_spare(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_fails_does_not_keep_others_from_theirs(tmp_path: Path) -> None:
    async def run() -> None:
        log = Log(tmp_path, SETTINGS, lambda: None, asyncio.get_running_loop())

        def failing(error: LogError | None) -> None:
            raise ValueError("a connection's own")

        log.add(b"first\n", failing)
        await asyncio.wait_for(kept(log, b"second\n"), 20)
        await asyncio.wait_for(kept(log, b"third\n"), 20)
        await asyncio.to_thread(log.close)

    asyncio.run(run())
    (segment,) = sealed_segments(tmp_path)
    assert lines_of(segment) == [b"first\n", b"second\n", b"third\n"]


WITHOUT_MEMORY = """
import asyncio, sys
from pathlib import Path
from clickstream_dagster.collector.log import FAILED, Log, LogSettings

def without_memory():
    raise MemoryError

async def serve():
    settings = LogSettings(segment_bytes=1, segment_seconds=60, min_free_bytes=0)
    log = Log(Path(sys.argv[1]), settings, without_memory, asyncio.get_running_loop())
    log.add(b"kept\\n", lambda error: None)
    await asyncio.Event().wait()

asyncio.run(serve())
"""


def test_a_process_whose_log_has_failed_ends_and_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_MEMORY, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == FAILED
    assert "the log has failed" in ended.stderr
    (segment,) = sealed_segments(tmp_path)
    assert lines_of(segment) == [b"kept\n"]
