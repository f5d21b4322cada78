"""Bearer tokens of an OIDC provider, checked against the issuer's keys (OpenID Connect Core)."""

import asyncio
import hashlib
import json
import logging
import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clickstream_dagster.errors import SettingError

if TYPE_CHECKING:
    from jwt import PyJWK

_DISCOVERY = "/.well-known/openid-configuration"
# Never HMAC: its key is public here. Never none.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
_FETCH_SECONDS = 5
_LEEWAY_SECONDS = 30
_KEYS_LIVE_SECONDS = 900
_RETRY_SECONDS = 5
_FETCH_AGAIN_SECONDS = 60  # for a key that is not there: else anybody could make us ask the issuer
_LONGEST_TOKEN = 16_384
_LONGEST_DOCUMENT = 1 << 20
_REMEMBERED = 10_000

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The provider: `issuer` is its URL, as its tokens name it; `audience` the id of our client.

    Raises SettingError unless the issuer is an https URL (http on this machine).
    """

    issuer: str
    audience: str

    def __post_init__(self) -> None:
        if not _is_private(self.issuer):
            raise SettingError(f"OIDC issuer {self.issuer!r}: write its https:// address")


class Tokens:
    """Tells good tokens from bad ones; a good one is remembered until it runs out."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._keys: dict[str | None, PyJWK] = {}
        self._keys_live_until = self._ask_again_at = 0.0
        self._fetching = threading.Lock()
        self._good: dict[bytes, float] = {}

    async def accepts(self, authorization: str | None) -> bool:
        """Give whether a header `Authorization: Bearer …` holds a token that is valid now."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= _LONGEST_TOKEN:
            return False
        digest = hashlib.sha256(token.encode()).digest()
        good_until = self._good.get(digest)
        if good_until is None:
            # Keys may have to be fetched, and a signature is arithmetic: neither on the loop.
            good_until = await asyncio.to_thread(self._good_until, token)
            if good_until is not None:
                if len(self._good) >= _REMEMBERED:
                    self._good.clear()
                self._good[digest] = good_until
        return good_until is not None and time.time() < good_until

    def _good_until(self, token: str) -> float | None:
        import jwt

        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError:
            return None
        return float(claims["exp"]) + _LEEWAY_SECONDS

    def _key(self, key_id: str | None) -> "PyJWK | None":
        """Give a key of the issuer; keys are asked for when they are old, or one is unknown."""
        with self._fetching:
            now = time.monotonic()
            is_known = key_id in self._keys and now < self._keys_live_until
            if not is_known and now >= self._ask_again_at:
                self._fetch(now)
            return self._keys.get(key_id)

    def _fetch(self, now: float) -> None:
        import jwt

        try:
            found = _document(self._settings.issuer.rstrip("/") + _DISCOVERY)
            known = jwt.PyJWKSet.from_dict(_document(found["jwks_uri"])).keys
            keys = {
                key.key_id: key
                for key in known
                if key.key_id and key.public_key_use in ("sig", None)
            }
            if not keys:
                raise ValueError("none of the issuer's keys is for signatures and has an id")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
            # Those that are known go on.
            self._ask_again_at = now + _RETRY_SECONDS
            _logger.error("the issuer's keys can't be fetched", extra={"error": str(error)})
            return
        if self._keys:
            self._ask_again_at = now + _FETCH_AGAIN_SECONDS
        self._keys, self._keys_live_until = keys, now + _KEYS_LIVE_SECONDS


def _is_private(address: str) -> bool:
    """Whether nobody on the way can read or change what is fetched: https, or this machine."""
    parts = urlsplit(address)
    is_local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_local)
    )


def _document(address: str) -> dict:
    """Fetch a JSON document. Raises ValueError for one from an open way, or of many bytes."""
    if not _is_private(address):
        raise ValueError(f"{address!r} is no https:// address")
    with urllib.request.urlopen(address, timeout=_FETCH_SECONDS) as answer:
        if not _is_private(answer.url):
            raise ValueError(f"{address} leads to {answer.url!r}, which is no https:// address")
        text = answer.read(_LONGEST_DOCUMENT + 1)
    if len(text) > _LONGEST_DOCUMENT:
        raise ValueError(f"{address} is longer than {_LONGEST_DOCUMENT} bytes")
    return json.loads(text)
