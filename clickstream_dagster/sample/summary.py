"""What the generated traffic holds, to compare with what the pipeline finds in it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clickstream_dagster.sample.requests import RawRequest
from clickstream_dagster.sample.trouble import Trouble


@dataclass(slots=True)
class TrafficSummary:
    """Counts of one run. All count events, except `requests`, `broken`, `files` and `bytes`.

    `events` are distinct events in readable bodies, with the late, too old, wrong-clock, bot and
    foreign ones; `duplicates` come on top. `too_old` are all events that arrive more than 72 hours
    after they happened, whatever their clock says, except the kinds that are kept at any age
    (`_first_open`, `_profile_set`). A pipeline with that freshness writes
    `events - too_old - foreign`. `requests` are all records, with retries and the `broken` ones;
    `bytes` are compressed bytes of `files`, or bytes of the bodies that were posted.
    """

    requests: int = 0
    events: int = 0
    duplicates: int = 0
    late: int = 0
    too_old: int = 0
    wrong_clock: int = 0
    bots: int = 0
    foreign: int = 0
    broken: int = 0
    files: int = 0
    bytes: int = 0

    def watch(self, requests: Iterable[RawRequest]) -> Iterator[RawRequest]:
        """Pass the requests on, and count them."""
        for request in requests:
            self.requests += 1
            size, trouble = request.events, request.trouble
            if trouble is Trouble.RETRY:
                self.duplicates += size
            else:
                self.events += size
                if trouble is not None:
                    self._count(trouble, size)
                self.too_old += request.too_old
            yield request

    def _count(self, trouble: Trouble, size: int) -> None:
        if trouble is Trouble.LATE:
            self.late += size
        elif trouble is Trouble.WRONG_CLOCK:
            self.wrong_clock += size
        elif trouble is Trouble.BOT:
            self.bots += size
        elif trouble is Trouble.FOREIGN:
            self.foreign += size
        elif trouble is Trouble.BROKEN:
            self.broken += 1
