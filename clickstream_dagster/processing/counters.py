"""What became of every record of a batch."""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class BatchCounters:
    """Counts of one attempt of a batch.

    `requests = decoded + bad_requests`, `decoded = with_events + empty` and `events = written +
    duplicate + too_old + foreign_app + bad` always hold. A request whose body can't be decoded
    counts as one event, a bad one: how many it held can't be told.
    """

    requests: int = 0
    decoded: int = 0
    with_events: int = 0
    """Requests with an event, good or bad, as they come out of the transformer."""
    empty: int = 0
    """Decoded requests without any event: their body is an empty array."""
    bad_requests: int = 0
    """Requests of which no event could be read."""
    events: int = 0
    written: int = 0
    duplicate: int = 0
    """Copies of an event that is in the batch or in the lake with an earlier arrival."""
    too_old: int = 0
    """Events that arrived more than the freshness after they happened."""
    foreign_app: int = 0
    """Events of an app that is not registered in the project."""
    bad: int = 0
    """Events in `bad_event`."""
    discarded: int = 0
    """Attributes and fields in `bad_event` that broke a limit; their events went on."""
    bad_repeated: int = 0
    """Bad records and discarded parts that `bad_event` holds already: not written again."""
    bot: int = 0
    """Written events of crawlers and other programs."""
    late: int = 0
    """Written events that arrived more than an hour after they happened."""
    corrected: int = 0
    """Written events whose time was shifted, for their clock was wrong."""
    geo_found: int = 0
    """Written events with a country."""
    ua_found: int = 0
    """Written events with a browser or an operating system read from the user agent."""
    superseded: int = 0
    """Rows of other batches that made room for an earlier copy from this one."""
    objects: int = 0
    bytes: int = 0
    """Size of the raw objects, as stored."""
    data_files: int = 0

    def as_dict(self) -> dict[str, int]:
        """Give the counts by name."""
        return asdict(self)

    def add(self, counts: dict[str, int]) -> None:
        """Add counts by name; a name that is not known is a mistake of the caller."""
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + count)

    def imbalance(self) -> str | None:
        """Say what does not add up, None when every record is accounted for."""
        requests = self.decoded + self.bad_requests
        if self.requests != requests:
            return f"{self.requests} requests came in, {requests} are accounted for"
        if self.empty < 0 or self.decoded != self.with_events + self.empty:
            return f"{self.decoded} requests were decoded, {self.with_events} have events"
        events = self.written + self.duplicate + self.too_old + self.foreign_app + self.bad
        if self.events != events:
            return f"{self.events} events came in, {events} are accounted for"
        return None
