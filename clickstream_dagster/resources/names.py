"""Names of events and parameters that a project's settings may hold."""

import re

from clickstream_dagster.errors import SettingError

NAME = re.compile(r"[\w .:/#+-]{1,50}")
NAME_RULE = "1 to 50 letters, digits, spaces and _ . : / # + -"


def require_name(key: str, name: object) -> None:
    """Raise SettingError for what can't be the name of an event or a parameter."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise SettingError(f"{key} has the name {name!r}: write {NAME_RULE}")
