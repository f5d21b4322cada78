"""Values as they are written on the command line."""

from enum import StrEnum
from typing import TypeVar

from clickstream_dagster.errors import SettingError

Choice = TypeVar("Choice", bound=StrEnum)


def one_of(choices: type[Choice], text: str, name: str) -> Choice:
    """Give the member that a text names. Raises SettingError for another text."""
    try:
        return choices(text)
    except ValueError:
        raise SettingError(f"{name} {text!r}: write {', '.join(choices)}") from None


def host_and_port(text: str, name: str) -> tuple[str, int]:
    """Give `HOST:PORT` as two, an IPv6 host in brackets. Raises SettingError for another text."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise SettingError(f"{name} {text!r}: write an address and a port, e.g. 127.0.0.1:8088")
    return host, int(port)
