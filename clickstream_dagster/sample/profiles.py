"""What a visitor comes with: app, device, network. Drawn anew from the seed for each session."""

import uuid
from dataclasses import dataclass
from random import Random

from clickstream_dagster.sample import devices
from clickstream_dagster.sample.places import address_in, client_address
from clickstream_dagster.sample.plan import TrafficPlan
from clickstream_dagster.sample.visitors import Visitor

_PLATFORM_SHARES = {"Web": 0.5, "Android": 0.3, "iOS": 0.2}


@dataclass(frozen=True, slots=True)
class _Hardware:
    """A device of a visitor: `systems` are its operating system's versions from now on."""

    unique_id: str
    device_id: str
    user_agent: str
    device: devices.Browser | devices.Phone
    screen: tuple[int, int]
    systems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """What never changes about a visitor.

    `address` is the `X-Forwarded-For` header, `screen` is (height, width), `systems` are the
    versions of the operating system from the present one on (none in a browser).
    """

    app_id: str
    platform: str
    unique_id: str
    device_id: str
    advertising_id: str
    user_agent: str
    address: str
    device: devices.Browser | devices.Phone
    screen: tuple[int, int]
    systems: tuple[str, ...]
    language: str
    carrier: str
    network_type: str
    consent: bool


def platforms_of(app_id: str) -> tuple[str, ...]:
    """The platforms an app sends from, read from its id (see TrafficPlan)."""
    name = app_id.lower()
    named = {
        "Web": "web" in name,
        "Android": "android" in name or "mobile" in name,
        "iOS": "ios" in name or "mobile" in name,
    }
    return tuple(platform for platform, is_named in named.items() if is_named) or tuple(named)


class Profiles:
    """The profiles of a plan's visitors: the same visitor always gets the same one."""

    def __init__(self, plan: TrafficPlan) -> None:
        self._seed = plan.seed
        self._project_id = plan.project_id
        self._seats = [(app, platform) for app in plan.app_ids for platform in platforms_of(app)]
        self._weights = [_PLATFORM_SHARES[platform] for _, platform in self._seats]

    def of(self, visitor: Visitor) -> Profile:
        """The profile of a visitor; a bot prefers web sites."""
        rng = Random(f"{self._seed}/{visitor.key}")
        country, bot = visitor.country, visitor.bot
        app_id, platform = rng.choices(self._seats, self._weights)[0]
        if bot:
            app_id, platform = next((s for s in self._seats if s[1] == "Web"), self._seats[0])
        hardware = self._hardware(platform, f"{country.language}_{country.code}", rng)
        return Profile(
            app_id=app_id,
            platform=platform,
            unique_id=hardware.unique_id,
            device_id=hardware.device_id,
            advertising_id=_uuid(rng) if rng.random() < 0.5 else "",
            user_agent=bot.user_agent if bot else hardware.user_agent,
            address=address_in(bot.network, rng) if bot else client_address(country, rng),
            device=hardware.device,
            screen=hardware.screen,
            systems=hardware.systems,
            language=country.language if rng.random() < 0.9 else "en",
            carrier=rng.choice(country.carriers),
            network_type="Mobile" if rng.random() < 0.4 else "WIFI",
            consent=rng.random() < 0.7,
        )

    def _hardware(self, platform: str, locale: str, rng: Random) -> _Hardware:
        if platform == "Web":
            browser = rng.choices(devices.BROWSERS, [b.share for b in devices.BROWSERS])[0]
            user_agent = browser.user_agent.replace("{v}", rng.choice(browser.versions))
            return _Hardware(
                _uuid(rng), _uuid(rng), user_agent, browser, rng.choice(browser.screens)
            )
        phone = rng.choice(devices.ANDROID_PHONES if platform == "Android" else devices.IPHONES)
        systems = phone.systems[int(rng.random() * len(phone.systems)) :]
        if platform == "Android":
            user_agent = (
                f"amplify-android:2.14.11 ({phone.make} {phone.model}; "
                f"Android {systems[0]}; {locale})"
            )
            device_id = f"{rng.getrandbits(64):016x}"
            return _Hardware(_uuid(rng), device_id, user_agent, phone, phone.screen, systems)
        user_agent = f"{self._project_id}/42 CFNetwork/1568.200.51 Darwin/24.1.0"
        unique_id, device_id = _uuid(rng).upper(), _uuid(rng).upper()
        return _Hardware(unique_id, device_id, user_agent, phone, phone.screen, systems)


def _uuid(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
