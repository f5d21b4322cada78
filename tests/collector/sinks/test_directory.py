"""The directory sink: a raw file per segment, whole or not there, and once."""

import os
import resource
import signal
import subprocess
import sys

import pytest

from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.batches.windows import key_time_ms
from clickstream_dagster.collector.segments import SegmentError
from clickstream_dagster.collector.sinks.directory import DirectorySink
from clickstream_dagster.collector.sinks.sink import SinkError
from clickstream_dagster.errors import SettingError
from tests.collector.sinks.segments import SEALED_AT, lines_of, record, sealed_segment

FRAMES = [[record(1), record(2)], [record(3)]]
LINES = [record(1), record(2), record(3)]
HOUR = "year=2026/month=11/day=25/hour=15"

SHIP = """
import os, sys
from pathlib import Path
from clickstream_dagster.collector.segments import sealed_segments
from clickstream_dagster.collector.sinks import directory

{patch}
sink = directory.DirectorySink(Path(sys.argv[2]))
sink.ship(sealed_segments(Path(sys.argv[1]))[0])
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def segment(tmp_path):
    return sealed_segment(tmp_path / "spool", FRAMES)


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "sink" / "raw"


def files(raw):
    return sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file())


def test_a_segment_becomes_one_file_that_the_arrival_sensor_finds(segment, raw):
    sink = DirectorySink(raw)
    sink.ship(segment)
    (found,) = list_objects(str(raw))
    assert found.uri == f"{raw}/{HOUR}/{segment.name}.log.gz"
    assert key_time_ms(found.uri, 0) == SEALED_AT * 1000
    assert lines_of((raw / HOUR / f"{segment.name}.log.gz").read_bytes()) == LINES
    assert (sink.counters.records, sink.counters.bytes) == (3, found.size)


def test_a_repeat_leaves_the_file_as_it_is_so_that_it_is_no_new_arrival(segment, raw):
    DirectorySink(raw).ship(segment)
    before = list(list_objects(str(raw)))
    again = DirectorySink(raw)
    again.ship(segment)
    assert list(list_objects(str(raw))) == before
    assert again.counters.records == 0


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param("", id="before the segment is deleted"),
        pytest.param(
            "Path.rename = lambda *paths: os.kill(os.getpid(), 9)",
            id="before the file has its name",
        ),
    ],
)
def test_a_process_that_is_killed_and_a_later_one_leave_one_file(segment, raw, patch):
    killed = subprocess.run(
        [sys.executable, "-c", SHIP.format(patch=patch), segment.path.parent, raw], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    name = f"{HOUR}/{segment.name}.log.gz"
    assert files(raw) == [name if not patch else f"{HOUR}/.{segment.name}.log.gz"]
    assert len(list(list_objects(str(raw)))) == (0 if patch else 1)
    DirectorySink(raw).ship(segment)
    assert files(raw) == [name]
    assert lines_of((raw / name).read_bytes()) == LINES


def test_a_file_that_can_not_be_written_is_an_error_and_leaves_nothing(segment, raw):
    sink = DirectorySink(raw)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))  # as a full disk: a write falls short
    try:
        with pytest.raises(SinkError, match=r"the raw file .* can't be written"):
            sink.ship(segment)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert files(raw) == []
    assert sink.counters.errors == 1
    sink.ship(segment)
    assert len(files(raw)) == 1


def test_a_segment_that_is_gone_is_an_error_of_the_segment(segment, raw):
    sink = DirectorySink(raw)
    os.unlink(segment.path)
    with pytest.raises(SegmentError, match="can't be read"):
        sink.ship(segment)
    assert files(raw) == []


def test_a_file_in_the_place_of_the_directory_is_a_setting_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"the sink .*file/raw can't be made: .*; name a dir"):
        DirectorySink(tmp_path / "file" / "raw")
