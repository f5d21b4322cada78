"""How many events stored requests hold: counted as far as a small share of the time allows.

Bodies are kept as they come, so that their events would have to be unpacked to be counted. That is
done for a hundredth of a worker's time: all requests of most sites. Above that, requests that were
not looked at count as those of their app that were.
"""

import time
import zlib
from collections import Counter

import pybase64

SHARE = 0.01
MAX_UNPACKED_BYTES = 1 << 20  # what comes behind it is not counted

_GZIP = "H4sI"  # how base64 of gzip begins
_EVENT = b'"event_type"'


class EventCount:
    """Counts the events of an app's requests. `take` is called once a second."""

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._seconds_left = share
        self._events: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._unseen: Counter[str] = Counter()
        self._mean: dict[str, float] = {}

    def add(self, app_id: str, text: str) -> None:
        """Count the body of a stored request."""
        if self._seconds_left <= 0:
            self._unseen[app_id] += 1
            return
        started = time.perf_counter()
        self._events[app_id] += events_in(text)
        self._seen[app_id] += 1
        self._seconds_left -= time.perf_counter() - started

    def take(self) -> dict[str, int]:
        """Give the events by app since the last call."""
        found = dict(self._events)
        for app_id, seen in self._seen.items():
            self._mean[app_id] = self._events[app_id] / seen
        for app_id, unseen in self._unseen.items():
            estimate = round(unseen * self._mean.get(app_id, 1))
            found[app_id] = found.get(app_id, 0) + estimate
        self._seconds_left = self._share
        self._events, self._seen, self._unseen = Counter(), Counter(), Counter()
        return found


def events_in(text: str) -> int:
    """Give the number of events in a body, one at least: what can't be read is one in processing.

    Counted are the keys `event_type`, which each event has.
    """
    body = text.encode()
    if text.startswith(_GZIP):
        try:
            body = zlib.decompressobj(31).decompress(pybase64.b64decode(body), MAX_UNPACKED_BYTES)
        except (ValueError, zlib.error):
            return 1
    return max(1, body.count(_EVENT))
