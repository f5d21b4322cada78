"""What every sink is: it takes a sealed segment whole, or says why not."""

from typing import Protocol

from clickstream_dagster.collector.segments import SealedSegment
from clickstream_dagster.errors import ClickstreamError


class SinkError(ClickstreamError):
    """A sink that did not take a segment; the segment stays in the log and is shipped again."""


class Sink(Protocol):
    """Where segments go. One thread calls it, in each worker process.

    A worker makes its sink before it answers the first request, so a setting that can't work is
    found early.
    """

    def ship(self, segment: SealedSegment) -> None:
        """Give the segment's records to the sink; return when the sink has confirmed all of them.

        May be called again with the same segment, in this process or in a later one: what goes
        twice carries the same `rid`. Raises SinkError when the sink is out of reach, or refuses.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
