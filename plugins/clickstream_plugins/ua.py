"""The built-in user agent enrichment: browser, operating system, device, category and bot flag.

Seed 000, "Built-in plugins" (UAEnrichment) and "Device fields". Each distinct user agent of a
task is parsed once, by ua-parser's Rust engine.
"""

import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import lru_cache

import pyarrow as pa

from clickstream_dagster.processing.distinct import look_up_distinct, with_fields
from clickstream_dagster.processing.events import EVENT
from clickstream_dagster.processing.plugins import ArrowPlugin

# Programs that name themselves without being in ua-parser's list of spiders.
_PROGRAM = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|headless|lighthouse|monitor|preview|scrap|fetcher"
    r"|googleother|mediapartners|phantomjs|httpclient|postman|insomnia"
    r"|^(curl|wget|python|java|go-http|libwww|httpie|axios|node)",
    re.IGNORECASE,
)
_TELEVISION = re.compile(
    r"smart-?tv|\btv\b|web0s|hbbtv|appletv|googletv|roku|crkey|bravia|\baft[a-z]{1,4}\b",
    re.IGNORECASE,
)
# An Android browser without "Mobile" runs on a tablet; an app's user agent never says "Mobile".
_TABLET = re.compile(
    r"ipad|tablet(?! pc)|kindle|silk|playbook|nexus (7|9|10)|sm-t\d"
    r"|^mozilla.*android(?!.*mobile)",
    re.IGNORECASE,
)
# okhttp and Dart are what Android and Flutter apps send when they set no user agent of their own.
_MOBILE = re.compile(
    r"mobi|iphone|ipod|android|windows phone|cfnetwork.*darwin|^okhttp|^dart", re.IGNORECASE
)
_MOST_CHARACTERS = 1_000  # a header may be longer; what matters stands in front
_DESKTOP_OS = {
    "Windows",
    "Mac OS X",
    "Linux",
    "Ubuntu",
    "Debian",
    "Fedora",
    "Chrome OS",
    "FreeBSD",
    "OpenBSD",
    "NetBSD",
    "Solaris",
}


@dataclass(frozen=True, slots=True)
class UserAgent:
    """What a user agent says, in the order of the columns of `device`."""

    ua_browser: str | None
    ua_browser_version: str | None
    ua_os: str | None
    ua_os_version: str | None
    ua_device: str | None
    ua_device_category: str | None
    is_bot: bool


_TYPE = pa.struct(
    [(name, pa.string()) for name in UserAgent.__slots__ if name != "is_bot"]
    + [("is_bot", pa.bool_())]
)


def parse_user_agent(text: str) -> UserAgent:
    """Read a user agent. Versions are major.minor.patch, as far as they are given.

    The category is one of Bot, Tablet, Mobile, PC and Other.
    """
    from ua_parser import parse

    result = parse(text)
    browser, os, device = result.user_agent, result.os, result.device
    is_bot = (device is not None and device.family == "Spider") or bool(_PROGRAM.search(text))
    return UserAgent(
        ua_browser=browser.family if browser else None,
        ua_browser_version=_version(browser.major, browser.minor, browser.patch)
        if browser
        else None,
        ua_os=os.family if os else None,
        ua_os_version=_version(os.major, os.minor, os.patch) if os else None,
        ua_device=device.family if device else None,
        ua_device_category=_category(text, os.family if os else None, is_bot),
        is_bot=is_bot,
    )


@lru_cache(maxsize=200_000)
def _fields_of(text: str) -> tuple[str | bool | None, ...]:
    return astuple(parse_user_agent(text))


def _version(*parts: str | None) -> str | None:
    given: list[str] = []
    for part in parts:
        if not part:
            break
        given.append(part)
    return ".".join(given) or None


def _category(text: str, os_family: str | None, is_bot: bool) -> str:
    if is_bot:
        return "Bot"
    if _TELEVISION.search(text):
        return "Other"
    if _TABLET.search(text):
        return "Tablet"
    if _MOBILE.search(text):
        return "Mobile"
    return "PC" if os_family in _DESKTOP_OS else "Other"


class UaEnrichment(ArrowPlugin):
    """Fill device.ua_* and is_bot from the user agent."""

    output_schema = EVENT

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the events with their user agent read."""
        for batch in batches:
            found = look_up_distinct(
                batch.column("user_agent"),
                lambda text: _fields_of(text[:_MOST_CHARACTERS]),
                _TYPE,
            )
            *device, is_bot = found.flatten()
            names = _TYPE.names[:-1]
            batch = with_fields(batch, "device", dict(zip(names, device, strict=True)))
            place = batch.schema.get_field_index("is_bot")
            yield batch.set_column(place, "is_bot", is_bot.fill_null(False))
