"""What every sink is: it takes a sealed segment whole, or says why not."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from clickstream_dagster.collector.segments import SealedSegment
from clickstream_dagster.errors import ClickstreamError


class SinkError(ClickstreamError):
    """A sink that did not take a segment; the segment stays in the log and is shipped again."""


@dataclass(slots=True)
class SinkCounters:
    """What a sink has done since it was made, for `/metrics`. They only grow.

    `records` and `bytes` (as sent, so compressed where the sink compresses) count what the sink has
    taken. `requests` are calls over the network, messages to Kafka, or files; `retries` those of
    them that repeat an earlier one; `throttled` answers that ask to slow down: of a call, or in
    Kinesis of a record. `errors` are the times that a segment was not taken.
    """

    records: int = 0
    bytes: int = 0
    requests: int = 0
    retries: int = 0
    throttled: int = 0
    errors: int = 0

    @contextmanager
    def counting_errors(self) -> Iterator[None]:
        """Count what is raised as an error."""
        try:
            yield
        except ClickstreamError:
            self.errors += 1
            raise


class Sink(Protocol):
    """Where segments go. One thread calls it, in each worker process.

    A worker makes its sink before it answers the first request, so a setting that can't work is
    found early. Another thread may read the counters.
    """

    counters: SinkCounters

    def ship(self, segment: SealedSegment) -> None:
        """Give the segment's records to the sink; return when the sink has confirmed all of them.

        May be called again with the same segment, in this process or in a later one: what goes
        twice carries the same `rid`. Raises SinkError when the sink is out of reach, or refuses,
        after a few attempts and less than a minute or two; SegmentError when the segment can't be
        read.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
