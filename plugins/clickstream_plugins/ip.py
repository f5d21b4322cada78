"""The built-in address enrichment: the place of the client address from an MMDB database.

Seed 000, "Built-in plugins" (IpEnrichment) and "Geo fields"; geo.locale is the device's and stays
as it was sent. Each distinct address of a task is looked up once. Without a database the place
stays null.

The file may be replaced at any time by another one under its name (`os.replace`, as `clickstream
geo fetch` does it): the next batch reads the new one, a batch at work keeps the one it began with.
"""

import ipaddress
import logging
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa

from clickstream_dagster.errors import SettingError
from clickstream_dagster.processing.city_database import Version, shared_database
from clickstream_dagster.processing.distinct import look_up_distinct, with_fields
from clickstream_dagster.processing.plugins import ArrowPlugin
from clickstream_plugins.sub_continents import SUB_CONTINENTS

if TYPE_CHECKING:
    from maxminddb.reader import Reader

_log = logging.getLogger("clickstream.ip")

_KEPT_CHARACTERS = 64
_FIELDS = ("city", "continent", "country", "metro", "region", "sub_continent")
_TYPE = pa.struct([(name, pa.string()) for name in _FIELDS])


def first_public_address(text: str) -> str | None:
    """Give the first public address of an X-Forwarded-For list, None if there is none."""
    for part in text.split(","):
        # "[2001:db8::1]:443" and "192.0.2.1:443" carry a port.
        part = part.strip()
        if part.startswith("["):
            part = part[1:].partition("]")[0]
        elif part.count(":") == 1:
            part = part.partition(":")[0]
        try:
            address = ipaddress.ip_address(part)
        except ValueError:
            continue
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_global and not address.is_multicast:
            return str(address)
    return None


class IpEnrichment(ArrowPlugin):
    """Fill geo's city, region, metro, country, sub-continent and continent from the address."""

    _pinned: Version | None = None

    def check(self) -> None:
        """Raise SettingError for a database that can't be read; warn when there is none."""
        if self.context.geo_database is None:
            _log.warning(
                "no address database is set (geo_database in the YAML, --geo-db on the command"
                " line; `clickstream geo fetch` gets one): city, region, country and continent"
                " stay null"
            )
            return
        self._pinned, _ = shared_database(self.context.geo_database)

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the events with the place of their address."""
        if self.context.geo_database is None:
            yield from batches
            return
        _, reader = shared_database(self.context.geo_database, self._pinned)

        def place(text: str) -> tuple[str | None, ...] | None:
            address = first_public_address(text)
            return place_of(reader, address) if address else None

        kept = lru_cache(maxsize=200_000)(place)

        def look_up(text: str) -> tuple[str | None, ...] | None:
            # A list of proxies may be long, and hardly comes again.
            return kept(text) if len(text) <= _KEPT_CHARACTERS else place(text)

        for batch in batches:
            found = look_up_distinct(batch.column("ip"), look_up, _TYPE)
            fields = dict(zip(_FIELDS, found.flatten(), strict=True))
            yield with_fields(batch, "geo", fields)


def place_of(reader: "Reader", address: str) -> tuple[str | None, ...] | None:
    """Give the fields of geo for an address, None if its place is not known.

    Raises SettingError when the entry of the address is damaged.
    """
    import maxminddb

    try:
        record = reader.get(address)
    except ValueError:  # an IPv6 address in an IPv4 database
        return None
    except maxminddb.InvalidDatabaseError as error:
        raise SettingError(
            f"the address database is damaged: the entry of {address} can't be read: {error}; get"
            " the file again (geo_database in the YAML, --geo-db on the command line)"
        ) from error
    if not isinstance(record, dict):
        return None
    metro = (record.get("location") or {}).get("metro_code")
    regions = record.get("subdivisions") or [{}]
    code = (record.get("country") or {}).get("iso_code")
    return (
        _name(record.get("city")),
        _name(record.get("continent")),
        _name(record.get("country")),
        str(metro) if metro is not None else None,
        _name(regions[0]),
        SUB_CONTINENTS.get(code),
    )


def _name(part: dict | None) -> str | None:
    return (part or {}).get("names", {}).get("en")
