"""The thread that ships goes on whatever a sink does."""

import time
from pathlib import Path

from clickstream_dagster.collector.segments import SealedSegment, framed, new_segment_path, seal
from clickstream_dagster.collector.shipping import Shipper
from clickstream_dagster.collector.spool import take_folder
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


def test_ships_again_after_an_error_that_nobody_expects(tmp_path: Path) -> None:
    folder = take_folder(tmp_path)
    path = new_segment_path(folder.path)
    path.write_bytes(framed(LINES, 1) + LINES)
    segment = seal(path, int(time.time()))
    sink = SurprisingSink()
    shipper = Shipper(tmp_path, folder, sink)

    eventually(lambda: sink.shipped == [segment.name], 20)
    assert shipper.drain(20)
    assert not segment.path.exists()
