"""What goes wrong on the way from a device to the collector."""

import base64
from collections.abc import Callable
from enum import StrEnum
from random import Random

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000


class Trouble(StrEnum):
    """What is wrong with a request; the values are the names of the shares (TroubleShares)."""

    RETRY = "retry"
    LATE = "late"
    TOO_OLD = "too_old"
    WRONG_CLOCK = "wrong_clock"
    BOT = "bot"
    FOREIGN = "foreign"
    BROKEN = "broken"


class Quota:
    """Keeps one kind of trouble at its share of everything so far, whatever the random numbers."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._taken = 0

    def is_due(self, size: int, whole: int) -> bool:
        """Whether `size` more are due when there are `whole` of everything."""
        return self._taken + size / 2 < self._share * whole

    def add(self, size: int) -> None:
        """Count `size` of this kind."""
        self._taken += size


def lateness_ms(kind: Trouble, rng: Random) -> int:
    """How long after its first event a session is uploaded, with its device offline till then.

    Late ones stay below the default freshness of 72 hours, too old ones are beyond it.
    """
    if kind is Trouble.LATE:
        return 2 * _HOUR_MS + int(rng.random() * 44 * _HOUR_MS)
    return 3 * _DAY_MS + _HOUR_MS * 2 + int(rng.random() * 21 * _HOUR_MS)


def clock_error_ms(rng: Random) -> int:
    """How far a wrong clock is ahead (positive) or behind."""
    draw = rng.random()
    if draw < 0.45:
        return _HOUR_MS + int(rng.random() * 30 * _DAY_MS)
    if draw < 0.9:
        return -_HOUR_MS - int(rng.random() * 2.5 * _DAY_MS)
    return -365 * _DAY_MS * rng.randrange(1, 12)


def retry_delay_ms(rng: Random) -> int:
    """How long after a request its retry comes: some seconds, or up to 6 hours."""
    if rng.random() < 0.4:
        return 10_000 + int(rng.random() * 20_000)
    return 300_000 + int(rng.random() * 6 * _HOUR_MS)


def broken_body(body: str, rng: Random) -> str:
    """The body damaged in a way that no decoder can make up for."""
    damages = _PLAIN if body.startswith("[") else _ZIPPED
    return rng.choice(damages)(body)


def _cut_gzip(body: str) -> str:
    whole = base64.b64decode(body)
    return base64.b64encode(whole[: len(whole) // 2]).decode()


def _cut_base64(body: str) -> str:
    return body[: len(body) // 8 * 4 + 1]


def _cut_json(body: str) -> str:
    return body[: len(body) * 2 // 3]


def _not_json(body: str) -> str:
    return "<html><body><h1>504 Gateway Time-out</h1></body></html>"


def _not_an_array(body: str) -> str:
    return '{"message":"upload quota exceeded","code":429}'


_ZIPPED: tuple[Callable[[str], str], ...] = (_cut_gzip, _cut_base64, _not_json)
_PLAIN: tuple[Callable[[str], str], ...] = (_cut_json, _not_json, _not_an_array)
