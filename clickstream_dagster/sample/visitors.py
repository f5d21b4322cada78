"""Who visits: people with a device and a memory, some of them for the first time."""

import uuid
from dataclasses import dataclass
from random import Random

from clickstream_dagster.sample import devices
from clickstream_dagster.sample.places import COUNTRIES, Country, address_in, client_address
from clickstream_dagster.sample.plan import TrafficPlan

SESSION_TIMEOUT_MS = 1_800_000
"""Two visits with less between them would be one session (seed 000, "Session definition")."""

NEW_SHARE = 0.3
SESSIONS_PER_REGULAR = 6
EVENTS_PER_SESSION = 13
"""What a session has on average; only the number of regulars hangs on it."""

_DAY_MS = 86_400_000
_PLATFORM_SHARES = {"Web": 0.5, "Android": 0.3, "iOS": 0.2}


@dataclass(slots=True)
class Visitor:
    """What the SDK and the shop remember of somebody between sessions. Times are device time."""

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


@dataclass(frozen=True, slots=True)
class Profile:
    """What never changes about a visitor; made anew from the seed for each session.

    `systems` are the versions of the device's operating system, from the present one on.
    """

    app_id: str
    platform: str
    unique_id: str
    device_id: str
    advertising_id: str
    user_agent: str
    address: str
    device: devices.Browser | devices.Phone
    systems: tuple[str, ...]
    screen: tuple[int, int]
    language: str
    carrier: str
    network_type: str
    consent: bool


def uuid_from(rng: Random) -> str:
    """A version 4 UUID, drawn from `rng`."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def platforms_of(app_id: str) -> tuple[str, ...]:
    """The platforms an app sends from, read from its id (see TrafficPlan)."""
    name = app_id.lower()
    found = {
        "Web": "web" in name,
        "Android": "android" in name or "mobile" in name,
        "iOS": "ios" in name or "mobile" in name,
    }
    return tuple(p for p, named in found.items() if named) or tuple(found)


class Audience:
    """Everybody who may visit: regulars from before the traffic starts, and newcomers."""

    def __init__(self, plan: TrafficPlan, rng: Random) -> None:
        self._plan = plan
        self._rng = rng
        self._seats = [(app, p) for app in plan.app_ids for p in platforms_of(app)]
        self._seat_weights = [_PLATFORM_SHARES[p] for _, p in self._seats]
        regulars = plan.events / (EVENTS_PER_SESSION * SESSIONS_PER_REGULAR)
        self._pools = {
            country.code: [
                self._regular(country, number)
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
                free = visitor.last_end_ms + SESSION_TIMEOUT_MS < start_ms
                if free and not visitor.clock_error_ms:
                    return visitor
        visitor = Visitor(f"{country.code}/{len(pool)}", country, start_ms, start_ms)
        pool.append(visitor)
        return visitor

    def stranger(self, kind: str, number: int, start_ms: int) -> Visitor:
        """Somebody who comes once: a device with a wrong clock, or a bot."""
        country = self._rng.choice(COUNTRIES)
        return Visitor(f"{kind}/{number}", country, start_ms, start_ms)

    def profile(self, visitor: Visitor) -> Profile:
        """The device and the network of a visitor."""
        rng = Random(f"{self._plan.seed}/{visitor.key}")
        app_id, platform = rng.choices(self._seats, self._seat_weights)[0]
        if visitor.bot:
            app_id, platform = next((s for s in self._seats if s[1] == "Web"), self._seats[0])
        country = visitor.country
        unique_id = uuid_from(rng)
        if platform == "Web":
            device, user_agent, screen = _browser(visitor, rng)
            systems, device_id = (), uuid_from(rng)
        else:
            phones = devices.ANDROID_PHONES if platform == "Android" else devices.IPHONES
            device = rng.choice(phones)
            present = int(rng.random() * len(device.systems))
            systems, screen = device.systems[present:], device.screen
            if platform == "Android":
                device_id = f"{rng.getrandbits(64):016x}"
                user_agent = (
                    f"amplify-android:2.14.11 ({device.make} {device.model}; "
                    f"Android {systems[0]}; {country.language}_{country.code})"
                )
            else:
                unique_id, device_id = unique_id.upper(), uuid_from(rng).upper()
                user_agent = f"{self._plan.project_id}/42 CFNetwork/1568.200.51 Darwin/24.1.0"
        mobile = rng.random() < 0.4
        return Profile(
            app_id=app_id,
            platform=platform,
            unique_id=unique_id,
            device_id=device_id,
            advertising_id=uuid_from(rng) if rng.random() < 0.5 else "",
            user_agent=user_agent,
            address=address_in(visitor.bot.network, rng)
            if visitor.bot
            else client_address(country, rng),
            device=device,
            systems=systems,
            screen=screen,
            language=country.language if rng.random() < 0.9 else "en",
            carrier=rng.choice(country.carriers),
            network_type="Mobile" if mobile else "WIFI",
            consent=rng.random() < 0.7,
        )

    def _regular(self, country: Country, number: int) -> Visitor:
        rng, start_ms = self._rng, self._plan.start_ms
        age = rng.random() ** 2
        first = start_ms - int((1 + 89 * age) * _DAY_MS)
        return Visitor(
            key=f"{country.code}/{number}",
            country=country,
            first_touch_ms=first,
            last_end_ms=first + int(rng.random() * (start_ms - first)),
            sessions=1 + int(age * 20),
            bundles=int(age * 200),
            user_id=f"u{number:05}{country.code.lower()}" if rng.random() < 0.4 else None,
        )


def _pick(pool: list[Visitor], rng: Random) -> Visitor:
    """A regular in three of five cases, the most faithful first, else one of the latest."""
    if rng.random() < 0.6:
        return pool[int(len(pool) * rng.random() ** 2)]
    return pool[-1 - int(len(pool) * rng.random() ** 3)]


def _browser(visitor: Visitor, rng: Random) -> tuple[devices.Browser, str, tuple[int, int]]:
    browser = rng.choices(devices.BROWSERS, [b.share for b in devices.BROWSERS])[0]
    user_agent = browser.user_agent.replace("{v}", rng.choice(browser.versions))
    return (
        browser,
        visitor.bot.user_agent if visitor.bot else user_agent,
        rng.choice(browser.screens),
    )
