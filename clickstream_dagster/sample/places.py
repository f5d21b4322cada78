"""Where users live: country, language, clock, and the networks they come from."""

import ipaddress
from dataclasses import dataclass
from functools import cache
from random import Random


@dataclass(frozen=True, slots=True)
class Country:
    """A country as an SDK and a network see it.

    `zone_hours` is the standard offset east of UTC, `share` its part of all users. The networks
    are public ones of its providers; a few of them are also in MaxMind's small test database, so
    that a demo without a full one finds some cities.
    """

    code: str
    name: str
    language: str
    zone_hours: float
    share: float
    currency: str
    usd_rate: float
    carriers: tuple[str, ...]
    cities: tuple[str, ...]
    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]
    privacy_banner: bool = False

    @property
    def zone_ms(self) -> int:
        """Offset east of UTC in ms, as `zone_offset` of an event."""
        return int(self.zone_hours * 3_600_000)


COUNTRIES = (
    Country(
        "US", "United States", "en", -6, 0.30, "USD", 1.0,
        ("T-Mobile", "Verizon", "AT&T"), ("Chicago", "Austin", "Seattle"),
        ("73.0.0.0/9", "98.192.0.0/11", "71.160.0.0/12", "214.78.0.0/19", "216.160.83.56/29"),
        ("2600:1700::/32", "2601:40::/28"),
    ),
    Country(
        "IN", "India", "hi", 5.5, 0.13, "INR", 0.0119,
        ("Jio", "Airtel"), ("Mumbai", "Pune", "Delhi"),
        ("49.32.0.0/12", "117.192.0.0/11"), ("2409:4000::/26",),
    ),
    Country(
        "CN", "China", "zh", 8, 0.10, "CNY", 0.139,
        ("China Mobile", "China Unicom"), ("Shanghai", "Beijing", "Changchun"),
        ("114.80.0.0/13", "117.136.0.0/14", "175.16.199.0/24"), ("2409:8000::/28",),
    ),
    Country(
        "DE", "Germany", "de", 1, 0.09, "EUR", 1.08,
        ("Telekom.de", "Vodafone.de", "o2 - de"), ("Berlin", "Hamburg", "Köln"),
        ("84.128.0.0/11", "91.0.0.0/11"), ("2003:c0::/28", "2a02:d980::/29"), True,
    ),
    Country(
        "GB", "United Kingdom", "en", 0, 0.09, "GBP", 1.27,
        ("EE", "O2 - UK", "Three"), ("London", "Leeds", "Bristol"),
        ("81.128.0.0/13", "86.128.0.0/11", "81.2.69.160/27", "2.125.160.216/29"),
        ("2a00:23c0::/28", "2a02:f900::/29"), True,
    ),
    Country(
        "JP", "Japan", "ja", 9, 0.09, "JPY", 0.0067,
        ("NTT DOCOMO", "SoftBank", "au"), ("東京", "大阪"),
        ("126.0.0.0/10", "153.128.0.0/11"), ("2001:240::/32", "2001:268::/32"),
    ),
    Country(
        "BR", "Brazil", "pt", -3, 0.08, "BRL", 0.18,
        ("Vivo", "Claro BR", "TIM"), ("São Paulo", "Recife"),
        ("177.32.0.0/12", "189.32.0.0/12"), ("2804:14c::/32",),
    ),
    Country(
        "FR", "France", "fr", 1, 0.06, "EUR", 1.08,
        ("Orange F", "SFR", "Free"), ("Paris", "Lyon", "Nîmes"),
        ("90.0.0.0/11", "82.64.0.0/14"), ("2a01:cb00::/28", "2a02:d340::/29"), True,
    ),
    Country(
        "AU", "Australia", "en", 10, 0.04, "AUD", 0.66,
        ("Telstra", "Optus"), ("Sydney", "Perth"),
        ("1.120.0.0/14", "101.160.0.0/12"), ("2001:8000::/24",),
    ),
    Country(
        "SE", "Sweden", "sv", 1, 0.02, "SEK", 0.095,
        ("Telia", "Tele2"), ("Stockholm", "Linköping"),
        ("78.64.0.0/13", "89.160.20.128/25"), ("2001:2000::/24", "2a02:d200::/29"), True,
    ),
)  # fmt: skip


@cache
def _range(network: str) -> tuple[int, int]:
    parsed = ipaddress.ip_network(network)
    return int(parsed.network_address), parsed.num_addresses


def address_in(network: str, rng: Random) -> str:
    """An address of a network, neither its first nor its last."""
    first, size = _range(network)
    return str(ipaddress.ip_address(first + 1 + int(rng.random() * (size - 2))))


def client_address(country: Country, rng: Random) -> str:
    """The `X-Forwarded-For` of a user: one of four on IPv6, one of 30 behind a company's proxy."""
    if rng.random() < 0.25:
        return address_in(rng.choice(country.ipv6), rng)
    address = address_in(rng.choice(country.ipv4), rng)
    if rng.random() < 1 / 30:
        return f"{address_in('10.0.0.0/8', rng)}, {address}"
    return address
