"""The address of a client behind load balancers: X-Forwarded-For, read from the right.

Each proxy appends the address that it was called from. What proxies of our own have written is
true; what stands left of it was written by the caller, who may write what he likes.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from clickstream_dagster.errors import SettingError

PRIVATE_NETWORKS = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
    *("::1/128", "fc00::/7", "fe80::/10"),
)
"""Where load balancers of our own call from, unless the settings say otherwise."""

_LONGEST_HEADER = 4_096
_REMEMBERED = 8_192


class ClientAddresses:
    """Tells the address of a client.

    `trusted_proxies` are networks (`10.0.0.0/8`) or addresses. Raises SettingError for others.
    """

    def __init__(self, trusted_proxies: Iterable[str]) -> None:
        try:
            self._trusted = tuple(ipaddress.ip_network(text) for text in trusted_proxies)
        except ValueError as error:
            raise SettingError(f"trusted proxy: {error}; write 10.0.0.0/8 or 10.1.2.3") from error
        self._remembered = lru_cache(_REMEMBERED)(self._client)

    def client(self, peer: str, forwarded: str = "") -> str:
        """Give the client's address, the last one that no trusted proxy has.

        `peer` is the other end of the connection, with or without port, `forwarded` the header's
        list. Where all are trusted it is the first address; a text that is no address ends the
        list.
        """
        # Cut before it is remembered, or headers of any length would fill the memory.
        return self._remembered(peer, forwarded[-_LONGEST_HEADER:])

    def _client(self, peer: str, forwarded: str) -> str:
        client = _address(peer)
        if not forwarded or not self._is_trusted(client):
            return client
        for entry in reversed(forwarded.split(",")):
            address = _address(entry.strip())
            if _parsed(address) is None:
                break
            client = address
            if not self._is_trusted(client):
                break
        return client

    def _is_trusted(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._trusted)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _address(text: str) -> str:
    """Give an address without its port: `1.2.3.4:80`, `[::1]:80`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
