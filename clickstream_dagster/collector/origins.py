"""Which pages may send: the allow list of CORS (seed 000, "Ingestion endpoint")."""

import re
from collections.abc import Iterable

from clickstream_dagster.collector.requests import Headers
from clickstream_dagster.errors import SettingError

_ENTRY = re.compile(r"(https?)://(\*\.)?([a-z0-9-]+(?:\.[a-z0-9-]+)*)(:[0-9]{1,5})?", re.IGNORECASE)
_METHODS = "GET, POST, OPTIONS"
_HEADERS = (
    "Content-Type, Content-Encoding, Authorization, X-Write-Key, DNT, X-CustomHeader, Keep-Alive, "
    "User-Agent, X-Requested-With, If-Modified-Since, Cache-Control"
)
_MAX_AGE_SECONDS = "7200"  # browsers keep a preflight's answer no longer
_REMEMBERED = 1024
_LONGEST_ORIGIN = 512  # a name of a host has at most 253 characters


class Origins:
    """The origins that may send.

    An entry is `https://host`, `https://*.host` for every name below it (not for `host` itself),
    each with a port if it is not the usual one, or `*` for everybody. No entry: no other origin
    may. Raises SettingError for anything else.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        patterns = []
        self._everybody = False
        for entry in entries:
            if entry == "*":
                self._everybody = True
                continue
            parts = _ENTRY.fullmatch(entry)
            if parts is None:
                raise SettingError(
                    f"origin {entry!r}: write https://www.example.com, https://*.example.com or *"
                )
            scheme, wildcard, host, port = parts.groups()
            below = r"(?:[a-z0-9_-]+\.)+" if wildcard else ""
            patterns.append(f"{scheme}://{below}{re.escape(host)}{port or ''}")
        # fullmatch anchors it: www.example.com.evil.net is not www.example.com.
        self._allowed = re.compile("|".join(patterns) or "(?!)", re.IGNORECASE)
        self._answers: dict[str, Headers] = {}

    def headers(self, origin: str | None) -> Headers:
        """Give the headers of an answer to a page of this origin; none if it may not read it."""
        if origin is None or len(origin) > _LONGEST_ORIGIN:
            return []
        answer = self._answers.get(origin)
        if answer is None:
            answer = self._headers(origin)
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            self._answers[origin] = answer
        return answer

    def preflight_headers(self, origin: str | None) -> Headers:
        """Give the headers of an answer to an OPTIONS request."""
        allowed = self.headers(origin)
        if not allowed:
            return []
        return [
            *allowed,
            ("access-control-allow-methods", _METHODS),
            ("access-control-allow-headers", _HEADERS),
            ("access-control-max-age", _MAX_AGE_SECONDS),
        ]

    def _headers(self, origin: str) -> Headers:
        if not (self._everybody and _is_origin(origin)) and not self._allowed.fullmatch(origin):
            return []
        # With credentials a browser takes no `*`: the origin is named.
        return [
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", "true"),
            ("vary", "Origin"),
        ]


def _is_origin(text: str) -> bool:
    return text.isascii() and text.isprintable()
