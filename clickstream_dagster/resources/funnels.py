"""Funnels that a project declares: ordered steps that users take within a time.

Names and values are checked here and quoted in SQL (dbt_project/macros/funnel.sql).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clickstream_dagster.errors import SettingError
from clickstream_dagster.resources.names import require_name

DIMENSIONS = (
    *("platform", "app_info_version", "app_info_install_source", "app_info_package_id"),
    *("geo_continent", "geo_sub_continent", "geo_country", "geo_region", "geo_metro", "geo_city"),
    *("geo_locale", "traffic_source_source", "traffic_source_medium", "traffic_source_name"),
    *("device_mobile_brand_name", "device_mobile_model_name", "device_manufacturer"),
    *("device_carrier", "device_network_type", "device_system_language"),
    *("device_operating_system", "device_operating_system_version", "ua_browser"),
    *("ua_browser_version", "ua_os", "ua_os_version", "ua_device", "ua_device_category"),
)
"""Columns of an event that a funnel can be broken down by."""

TESTS = ("equals", "one_of", "at_least", "at_most")
MOST_STEPS = 10
_NO_VALUE = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True)
class Condition:
    """What a parameter of a step's event has to be; of the four tests exactly one is given."""

    parameter: str
    equals: str | int | float | None = None
    one_of: tuple[str, ...] | None = None
    at_least: int | float | None = None
    at_most: int | float | None = None

    def __post_init__(self) -> None:
        require_name("parameter", self.parameter)
        given = [test for test in TESTS if getattr(self, test) is not None]
        if len(given) != 1:
            raise SettingError(
                f"the condition on {self.parameter} has {len(given)} tests: write exactly one of"
                f" {', '.join(TESTS)}"
            )
        value = getattr(self, given[0])
        if given[0] in ("at_least", "at_most") and not _is_number(value):
            raise SettingError(f"{given[0]} {value!r} on {self.parameter}: write a number")
        if given[0] == "one_of" and not (isinstance(value, tuple) and value):
            raise SettingError(f"one_of {value!r} on {self.parameter}: write a list of texts")
        for text in value if given[0] == "one_of" else [value]:
            if _is_number(text) and given[0] != "one_of":
                continue
            if not isinstance(text, str) or _NO_VALUE.search(text):
                raise SettingError(
                    f"{given[0]} {text!r} on {self.parameter}: write a text without backslashes"
                    " and control characters, or for equals a number"
                )


@dataclass(frozen=True, slots=True)
class Step:
    """One step: an event, with conditions on its parameters that must all hold."""

    event: str
    where: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        require_name("event", self.event)


@dataclass(frozen=True, slots=True)
class Funnel:
    """Users that take the steps in their order, all within `window_minutes` of the first one.

    `by` is a column of the first step's event that the users are counted by, or None.
    """

    name: str
    steps: tuple[Step, ...]
    window_minutes: int = 7 * 24 * 60
    by: str | None = None

    def __post_init__(self) -> None:
        require_name("funnel", self.name)
        if not 2 <= len(self.steps) <= MOST_STEPS:
            raise SettingError(
                f"funnel {self.name} has {len(self.steps)} steps: write 2 to {MOST_STEPS}"
            )
        if not 1 <= self.window_minutes <= 366 * 24 * 60:
            raise SettingError(
                f"window_minutes {self.window_minutes} of funnel {self.name}: write 1 to 527040"
            )
        if self.by is not None and self.by not in DIMENSIONS:
            raise SettingError(
                f"funnel {self.name} is by {self.by!r}: write one of {', '.join(DIMENSIONS)}"
            )


def funnels_of(values: object) -> tuple[Funnel, ...]:
    """Give the funnels of plain values, such as a YAML file has. Raises SettingError."""
    funnels = tuple(_funnel(value) for value in _listed("funnels", values))
    names = [funnel.name for funnel in funnels]
    for name in names:
        if names.count(name) > 1:
            raise SettingError(f"funnels has {name!r} twice: give each funnel a name of its own")
    return funnels


def _funnel(value: object) -> Funnel:
    given = _keys("funnel", value, ("name", "steps"), ("window_minutes", "by"))
    steps = tuple(_step(one) for one in _listed("steps", given.pop("steps")))
    if type(given.get("window_minutes", 1)) is not int:
        raise SettingError(f"window_minutes {given['window_minutes']!r}: write a whole number")
    return Funnel(steps=steps, **given)


def _step(value: object) -> Step:
    if isinstance(value, str):
        return Step(value)
    given = _keys("step", value, ("event",), ("where",))
    conditions = []
    for one in _listed("where", given.get("where") or []):
        condition = _keys("condition", one, ("parameter",), TESTS)
        if isinstance(condition.get("one_of"), list):
            condition["one_of"] = tuple(condition["one_of"])
        conditions.append(Condition(**condition))
    return Step(given["event"], tuple(conditions))


def _listed(key: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise SettingError(f"{key} {value!r}: write a list")
    return value


def _keys(
    what: str, value: object, needed: tuple[str, ...], known: tuple[str, ...]
) -> dict[str, Any]:
    if not isinstance(value, Mapping) or set(value) - {*needed, *known} or set(needed) - set(value):
        raise SettingError(
            f"the {what} {value!r}: write the keys {', '.join(needed)}, and if you like"
            f" {', '.join(known)}"
        )
    return dict(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
