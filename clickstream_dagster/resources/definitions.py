"""What a project means by session, view, day and so on: the definitions that the models go by.

docs/definitions.md has the formulas; dbt gets the values as vars, whose defaults are the same.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args
from zoneinfo import available_timezones

from clickstream_dagster.errors import SettingError
from clickstream_dagster.resources.funnels import Funnel, funnels_of
from clickstream_dagster.resources.names import require_name

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DAY_MINUTES = 24 * 60

_DEFAULT_VIEWS = MappingProxyType({"_screen_view": "_screen_name", "_page_view": "_page_title"})


@dataclass(frozen=True, slots=True)
class Definitions:
    """The definitions of a project; without arguments those of seed 000, with days in UTC.

    `view_events` gives for each event that counts as a view the parameter with the view's name.
    Raises SettingError for values that can't be.
    """

    session_idle_minutes: int = 30
    engaged_session_ms: int = 10_000
    engaged_session_views: int = 1
    retention_days: int = 42
    week_start: Weekday = "monday"
    time_zone: str = "UTC"
    view_events: Mapping[str, str] = field(default_factory=lambda: dict(_DEFAULT_VIEWS))
    first_touch_events: tuple[str, ...] = ("_first_open", "_first_visit")
    purchase_events: tuple[str, ...] = ("purchase",)
    funnels: tuple[Funnel, ...] = ()

    def __post_init__(self) -> None:
        _require_between("session_idle_minutes", self.session_idle_minutes, 1, DAY_MINUTES)
        _require_between("engaged_session_ms", self.engaged_session_ms, 0, 2**31 - 1)
        _require_between("engaged_session_views", self.engaged_session_views, 0, 1_000_000)
        _require_between("retention_days", self.retention_days, 0, 3650)
        if self.week_start not in get_args(Weekday):
            raise SettingError(
                f"week_start {self.week_start!r}: write one of {', '.join(get_args(Weekday))}"
            )
        require_zone(self.time_zone)
        for event, parameter in self.view_events.items():
            require_name("view_events", event)
            require_name("view_events", parameter)
        for key in ("first_touch_events", "purchase_events"):
            for name in getattr(self, key):
                require_name(key, name)

    def vars(self) -> dict[str, Any]:
        """Give the definitions as dbt's vars."""
        return {
            **asdict(self),
            "view_events": dict(self.view_events),
            "first_touch_events": list(self.first_touch_events),
            "purchase_events": list(self.purchase_events),
            "funnels": json.loads(json.dumps([asdict(one) for one in self.funnels])),
        }


def read_definitions(file: Path) -> Definitions:
    """Read definitions from a YAML file, with the keys of a project's block `definitions`.

    Raises SettingError, with the key, for what is no definition.
    """
    import yaml

    try:
        content = yaml.safe_load(file.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SettingError(f"the definitions {file} can't be read: {error}") from error
    known = {one.name: one.type for one in fields(Definitions)}
    if not isinstance(content, dict):
        raise SettingError(f"the definitions {file} hold no keys: write {', '.join(known)}")
    for key, value in content.items():
        if key not in known:
            raise SettingError(
                f"{file} has {key!r}, which is no definition: write {', '.join(known)}"
            )
        default = getattr(Definitions(), key)
        wanted = list if isinstance(default, tuple) else type(default)
        if type(value) is not wanted:
            raise SettingError(f"{key} {value!r} in {file}: write it as {_FORMS[wanted]}")
        if key == "funnels":
            content[key] = funnels_of(value)
        elif wanted is list:
            content[key] = tuple(value)
    return Definitions(**content)


_FORMS = {
    int: "a whole number",
    str: "a text",
    list: "a list",
    dict: "event names, each with its parameter",
}


def require_zone(zone: str) -> None:
    """Raise SettingError for what is no time zone of the IANA database."""
    if zone != "UTC" and zone not in _zones():
        raise SettingError(
            f"time_zone {zone!r} is not in the IANA database: write UTC or Europe/Berlin"
        )


@cache
def _zones() -> frozenset[str]:
    # Both are files beside the zones, whatever this machine is set to; no engine knows them.
    return frozenset(available_timezones()) - {"Factory", "localtime"}


def _require_between(key: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise SettingError(f"{key} {value}: write a whole number from {least:,} to {most:,}")
