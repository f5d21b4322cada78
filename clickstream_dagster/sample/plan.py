"""What traffic to make: its size, its time, its apps and its share of trouble."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

from clickstream_dagster.ids import APP_ID, APP_ID_RULE

DEFAULT_END = datetime(2026, 1, 8, tzinfo=UTC)
DEFAULT_APPS = ("demo_web", "demo_mobile")
MAX_EVENTS = 1_000_000_000
MAX_DAYS = 1000


class PlanError(ValueError):
    """A plan that cannot be carried out; the message says which value and what is allowed."""


@dataclass(frozen=True, slots=True)
class TroubleShares:
    """How much of the traffic is in trouble, as fractions of 1.

    All are shares of the events, except `broken`, which is a share of the requests. The kinds
    never meet in one request, so that their numbers add up.
    """

    retry: float = 0.01
    """Sent again with the same event ids, seconds to 6 hours later."""
    late: float = 0.01
    """Uploaded 2 to 48 hours after they happened: the device was offline."""
    too_old: float = 0.001
    """Uploaded 73 to 96 hours after they happened: beyond the default freshness of 72 hours."""
    wrong_clock: float = 0.002
    """From a device whose clock is hours or days ahead or behind, a few of them by years."""
    bot: float = 0.01
    """From a crawler or another program, by its user agent."""
    foreign: float = 0.001
    """Name an app other than the one of their request."""
    broken: float = 0.001
    """Bodies damaged on the way: cut gzip, cut base64, no JSON, no array. Extra requests: the
    intact ones are in the stream as well."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) <= 0.2:
                raise PlanError(f"share {field.name} must be from 0 to 0.2")


CLEAN = TroubleShares(0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """Traffic of `days` days that ends at `end` (UTC); equal plans give equal traffic.

    `events` counts distinct events in readable bodies, whatever else is wrong with them; retries
    and broken bodies come on top. An app whose id has "web", "android", "ios" or "mobile"
    (Android and iOS) in it sends from there only, any other app from all three.

    Raises:
        PlanError: a value is out of range.
    """

    events: int
    days: int = 7
    seed: int = 1
    project_id: str = "demo"
    app_ids: tuple[str, ...] = DEFAULT_APPS
    end: datetime = DEFAULT_END
    shares: TroubleShares = TroubleShares()

    def __post_init__(self) -> None:
        if not 1 <= self.events <= MAX_EVENTS:
            raise PlanError(f"events must be from 1 to {MAX_EVENTS:,}, not {self.events:,}")
        if not 1 <= self.days <= MAX_DAYS:
            raise PlanError(f"days must be from 1 to {MAX_DAYS:,}, not {self.days:,}")
        if self.end.tzinfo is None:
            raise PlanError("end must have a time zone")
        if not self.app_ids:
            raise PlanError("at least one app id is needed")
        for name in (self.project_id, *self.app_ids):
            if not APP_ID.fullmatch(name):
                raise PlanError(f"{name!r} is not an id: write {APP_ID_RULE}")
        if len(set(self.app_ids)) < len(self.app_ids):
            raise PlanError("an app id is given twice")

    @property
    def start_ms(self) -> int:
        """First moment of the traffic, ms UTC."""
        return int((self.end - timedelta(days=self.days)).timestamp() * 1000)

    @property
    def end_ms(self) -> int:
        """First moment after the traffic, ms UTC."""
        return int(self.end.timestamp() * 1000)
