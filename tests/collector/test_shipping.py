"""The thread that ships goes on whatever a sink does."""

import threading
import time
from pathlib import Path

from clickstream_dagster.collector.segments import (
    SealedSegment,
    checksum_start,
    framed,
    new_segment_path,
    seal,
)
from clickstream_dagster.collector.shipping import Shipper
from clickstream_dagster.collector.spool import take_folder
from tests.collector.sinks.segments import sealed_segment
from tests.served import eventually

LINES = b'{"a": 1}\n'


class SurprisingSink:
    """A sink with a mistake of its own: the first shipment ends in an error nobody has named."""

    def __init__(self) -> None:
        self.shipped: list[str] = []
        self._surprises = 1

    def ship(self, segment: SealedSegment) -> None:
        if self._surprises:
            self._surprises -= 1
            raise ZeroDivisionError
        self.shipped.append(segment.name)

    def close(self) -> None:
        pass


class ReadingSink:
    """A sink that reads what it gets, frame by frame, as those of streams do."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def ship(self, segment: SealedSegment) -> None:
        self.begun.append(segment.name)
        assert list(segment.frames())

    def close(self) -> None:
        pass


def test_ships_again_after_an_error_that_nobody_expects(tmp_path: Path) -> None:
    folder = take_folder(tmp_path)
    path = new_segment_path(folder.path)
    path.write_bytes(framed(LINES, 1, checksum_start(path)) + LINES)
    segment = seal(path, int(time.time()))
    sink = SurprisingSink()
    shipper = Shipper(tmp_path, folder, sink)

    eventually(lambda: sink.shipped == [segment.name], 20)
    assert shipper.drain(20)
    assert not segment.path.exists()


def test_gives_a_damaged_segment_to_the_sink_once_and_the_others_go_on(tmp_path: Path) -> None:
    folder = take_folder(tmp_path)
    damaged = sealed_segment(folder.path, [[LINES], [LINES]], sealed_at=1)
    damaged.path.write_bytes(damaged.path.read_bytes()[:-1] + b"\0")
    sink = ReadingSink()
    shipper = Shipper(tmp_path, folder, sink)
    eventually(lambda: sink.begun, 20)
    for number in (2, 3):
        segment = sealed_segment(folder.path, [[LINES]], sealed_at=number)
        shipper.wake()
        eventually(lambda: not segment.path.exists(), 20)  # noqa: B023

    assert not shipper.drain(20)  # it is still there
    assert damaged.path.exists()
    assert sink.begun.count(damaged.name) == 1


def test_a_shipper_that_is_told_to_end_while_it_turns_round_ends_at_once(tmp_path: Path) -> None:
    """`drain` comes between the shipper's looks at its two events, whichever it takes first."""
    folder = take_folder(tmp_path)
    shipper = Shipper(tmp_path, folder, ReadingSink())
    wake, told = shipper._wake, threading.Event()

    class Turning(threading.Event):
        """The event that says that all ends: it is set behind the shipper's look at it."""

        def is_set(self) -> bool:
            before = super().is_set()
            if not told.is_set():
                self.set()
                wake.set()
                told.set()
            return before

    shipper._ending = Turning()
    wake.set()
    assert told.wait(20)
    shipper._thread.join(10)
    assert not shipper._thread.is_alive()
