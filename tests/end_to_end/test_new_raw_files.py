"""The live demo lists only what has changed, and gives each raw file once."""

import os
import time
from pathlib import Path

from clickstream_dagster.batches import objects
from clickstream_dagster.demo.raw_files import NewRawFiles

HOURS = ("year=2026/month=01/day=01/hour=00", "year=2026/month=01/day=01/hour=01")


def put(raw: Path, hour: str, name: str, seconds_ago: float) -> Path:
    """Write a raw file, as if it had come some seconds ago."""
    file = raw / hour / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    then = time.time() - seconds_ago
    os.utime(file.parent, (then, then))
    return file


def names(new: NewRawFiles) -> list[str]:
    return [Path(one.uri).name for one in new.take()]


def test_each_file_is_given_once_wherever_it_turns_up(tmp_path: Path) -> None:
    new = NewRawFiles(tmp_path / "raw")
    assert names(new) == []
    put(tmp_path / "raw", HOURS[1], "2-b.log.gz", 30)
    assert names(new) == ["2-b.log.gz"]
    put(tmp_path / "raw", HOURS[0], "1-a.log.gz", 20)
    put(tmp_path / "raw", HOURS[1], "1-z.log.gz", 20)
    assert names(new) == ["1-a.log.gz", "1-z.log.gz"]
    assert names(new) == []


def test_a_file_that_comes_within_a_tick_of_the_clock_is_found(tmp_path: Path) -> None:
    new = NewRawFiles(tmp_path / "raw")
    folder = put(tmp_path / "raw", HOURS[0], "1-a.log.gz", 0).parent
    moment = folder.stat().st_mtime_ns
    assert names(new) == ["1-a.log.gz"]
    put(tmp_path / "raw", HOURS[0], "1-b.log.gz", 0)
    os.utime(folder, ns=(moment, moment))
    assert names(new) == ["1-b.log.gz"]


def test_hours_without_new_files_are_not_listed(tmp_path: Path, monkeypatch) -> None:
    new = NewRawFiles(tmp_path / "raw")
    for hour in HOURS:
        put(tmp_path / "raw", hour, "1-a.log.gz", 30)
    new.take()
    listed: list[str] = []
    real = objects.list_objects
    monkeypatch.setattr(
        objects, "list_objects", lambda source: listed.append(source) or real(source)
    )
    put(tmp_path / "raw", HOURS[1], "2-b.log.gz", 20)
    assert names(new) == ["2-b.log.gz"]
    assert listed == [str(tmp_path / "raw" / HOURS[1])]
