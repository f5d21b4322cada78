"""Who visits: regulars from before the traffic starts, and people who come for the first time."""

from dataclasses import dataclass
from random import Random

from clickstream_dagster.sample import devices
from clickstream_dagster.sample.places import COUNTRIES, Country
from clickstream_dagster.sample.plan import TrafficPlan

SESSION_TIMEOUT_MS = 1_800_000
"""Two visits with less between them would be one session (seed 000, "Session definition")."""

NEW_SHARE = 0.3
SESSIONS_PER_REGULAR = 6
EVENTS_PER_SESSION = 14
"""Events of an average session; only the number of regulars and the quotas' steps hang on it."""

_DAY_MS = 86_400_000


@dataclass(slots=True)
class Visitor:
    """What the SDK and the shop remember of somebody between sessions.

    Times are ms of the device's clock, which is `clock_error_ms` ahead; `revenue` is in US dollars.
    """

    key: str
    country: Country
    first_touch_ms: int
    last_end_ms: int
    sessions: int = 0
    bundles: int = 0
    user_id: str | None = None
    app_version: str = ""
    os_updates: int = 0
    revenue: float = 0.0
    clock_error_ms: int = 0
    bot: devices.Bot | None = None

    def sign_in(self) -> None:
        """Give the visitor the user id of their account."""
        place, number = self.key.split("/")
        self.user_id = f"u{int(number):05}{place.lower()}"


class Audience:
    """Everybody who may visit."""

    def __init__(self, plan: TrafficPlan, rng: Random) -> None:
        self._rng = rng
        self._strangers = 0
        regulars = plan.events / (EVENTS_PER_SESSION * SESSIONS_PER_REGULAR)
        self._pools = {
            country.code: [
                self._regular(country, number, plan.start_ms)
                for number in range(1 + int(regulars * country.share))
            ]
            for country in COUNTRIES
        }

    def next(self, country: Country, start_ms: int) -> Visitor:
        """Somebody of the country who is free to start a session at `start_ms` device time."""
        pool, rng = self._pools[country.code], self._rng
        if rng.random() >= NEW_SHARE:
            for _ in range(4):
                visitor = _pick(pool, rng)
                if visitor.last_end_ms + SESSION_TIMEOUT_MS < start_ms:
                    return visitor
        visitor = Visitor(f"{country.code}/{len(pool)}", country, start_ms, start_ms)
        pool.append(visitor)
        return visitor

    def misguided(self, start_ms: int, clock_error_ms: int) -> Visitor:
        """Somebody who comes once, with a clock that is wrong by `clock_error_ms`."""
        visitor = self._stranger("clock", start_ms)
        visitor.clock_error_ms = clock_error_ms
        return visitor

    def bot(self, start_ms: int) -> Visitor:
        """A bot, which keeps no cookies and so comes once."""
        visitor = self._stranger("bot", start_ms)
        visitor.bot = self._rng.choice(devices.BOTS)
        return visitor

    def _stranger(self, kind: str, start_ms: int) -> Visitor:
        self._strangers += 1
        country = self._rng.choice(COUNTRIES)
        return Visitor(f"{kind}/{self._strangers}", country, start_ms, start_ms)

    def _regular(self, country: Country, number: int, start_ms: int) -> Visitor:
        rng = self._rng
        age = rng.random() ** 2
        first = start_ms - int((1 + 89 * age) * _DAY_MS)
        visitor = Visitor(
            key=f"{country.code}/{number}",
            country=country,
            first_touch_ms=first,
            last_end_ms=first + int(rng.random() * (start_ms - first)),
            sessions=1 + int(age * 20),
            bundles=int(age * 200),
        )
        if rng.random() < 0.4:
            visitor.sign_in()
        return visitor


def _pick(pool: list[Visitor], rng: Random) -> Visitor:
    """A regular in three of five cases, the most faithful first, else one of the latest."""
    if rng.random() < 0.6:
        return pool[int(len(pool) * rng.random() ** 2)]
    return pool[-1 - int(len(pool) * rng.random() ** 3)]
