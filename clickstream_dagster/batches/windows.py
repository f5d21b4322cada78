"""Windows of the processing interval, and the time that an object's key tells."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

HOUR_MS = 3_600_000

# `<unix-seconds>-<uuid>.log.gz`, with or without milliseconds (seed 000, "Data sink - S3").
_SECONDS = re.compile(r"(\d{10})(\d{3})?[-_.]")
_FOLDER = re.compile(r"(?:^|/)year=(\d{4})/month=(\d{1,2})/day=(\d{1,2})/(?:hour=(\d{1,2})/)?")

NO_DAY = "other"


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """One processing interval: from `start` up to, and without, `end`; both UTC."""

    start: datetime
    end: datetime

    @property
    def batch(self) -> str:
        """Name of the batch that the window is processed as; sorts by time, safe in paths."""
        return f"{self.start.astimezone(UTC):%Y%m%dT%H%MZ}"

    @staticmethod
    def start_of(batch: str) -> datetime:
        """Give the start of the window that had the batch name."""
        return datetime.strptime(batch, "%Y%m%dT%H%MZ").replace(tzinfo=UTC)

    @property
    def start_ms(self) -> int:
        return round(self.start.timestamp() * 1000)

    @property
    def end_ms(self) -> int:
        return round(self.end.timestamp() * 1000)


WindowOf = Callable[[int], Window | None]
"""Gives the window of a time (ms UTC), or None for a time before the first window."""


def key_time_ms(key: str, arrival_ms: int) -> int:
    """Give the time that decides about an object's window (ms UTC).

    The seconds in the file name, else the start of its hour (or day) folder, else its arrival.
    """
    seconds = _SECONDS.match(key.rpartition("/")[2])
    if seconds:
        return int(seconds[1]) * 1000 + int(seconds[2] or 0)
    folder = _FOLDER.search(key)
    if folder:
        year, month, day, hour = (int(part or 0) for part in folder.groups())
        try:
            return round(datetime(year, month, day, hour, tzinfo=UTC).timestamp() * 1000)
        except ValueError:  # month=13: a folder that is no time
            pass
    return arrival_ms


def key_day(key: str) -> str:
    """Give the day of a key as YYYY-MM-DD: of its day folder, else of the seconds in its name.

    `other` for a key that has neither. It follows from the key alone, so it never changes.
    """
    folder = _FOLDER.search(key)
    if folder:
        return f"{folder[1]}-{folder[2]:0>2}-{folder[3]:0>2}"
    seconds = _SECONDS.match(key.rpartition("/")[2])
    return f"{datetime.fromtimestamp(int(seconds[1]), UTC):%Y-%m-%d}" if seconds else NO_DAY


def hour_folder(time_ms: int) -> str:
    """Give the hour folder that the collector writes at a time, with its closing `/`."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):year=%Y/month=%m/day=%d/hour=%H/}"
