"""User agents and addresses become columns, once per distinct value."""

import logging
import pickle
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import maxminddb
import pyarrow as pa
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from clickstream_dagster.errors import SettingError
from clickstream_dagster.processing.events import EVENT, conform
from clickstream_dagster.processing.plugins import PluginContext
from clickstream_plugins.ip import IpEnrichment, first_public_address, place_of
from clickstream_plugins.sub_continents import SUB_CONTINENTS
from clickstream_plugins.ua import UaEnrichment, parse_user_agent
from tests.plugins.events_input import rows_of
from tests.processing.conftest import Pipeline
from tests.processing.records_input import event, plain, record

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/120.0.6099.71 Safari/537.36"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 16_4 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/16.4 Mobile/15E148 Safari/604.1"
)
IPAD = IPHONE.replace("iPhone; CPU iPhone OS", "iPad; CPU OS")
PIXEL = (
    "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/114.0.0.0 Mobile Safari/537.36"
)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def enrich(plugin: type, column: str, given: list[str | None], database: str | None = None) -> list:
    context = PluginContext("demo", ("shop",), database)
    table = conform(pa.table({column: pa.array(given, pa.string())}), EVENT)
    batches = plugin(context).apply(iter(table.to_batches()))
    return [row for batch in batches for row in batch.to_pylist()]


def test_long_lists_of_addresses_are_not_kept(city_database: str) -> None:
    plugin = IpEnrichment(PluginContext("demo", ("shop",), city_database))
    proxy = "proxy" * 800

    def batches() -> Iterator[pa.RecordBatch]:
        for network in range(20):
            given = [f"{proxy}, 81.2.69.{n}, 198.51.{network}.1" for n in range(250)]
            table = pa.table({"ip": pa.array(given, pa.string())})
            yield from conform(table, EVENT).to_batches()

    tracemalloc.start()
    try:
        for rows in plugin.apply(batches()):
            assert set(rows.column("geo").field("city").to_pylist()) == {"London"}
            held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 8 << 20  # all of them are 20 MB


@pytest.mark.parametrize(
    ("text", "browser", "version", "os", "category", "is_bot"),
    [
        (CHROME, "Chrome", "120.0.6099", "Windows", "PC", False),
        (IPHONE, "Mobile Safari", "16.4", "iOS", "Mobile", False),
        (IPAD, "Mobile Safari", "16.4", "iOS", "Tablet", False),
        (PIXEL, "Chrome Mobile", "114.0.0", "Android", "Mobile", False),
        (GOOGLEBOT, "Googlebot", "2.1", "Other", "Bot", True),
        ("curl/8.4.0", "curl", "8.4.0", None, "Bot", True),
        ("something else", None, None, None, "Other", False),
    ],
)
def test_a_user_agent_is_read(
    text: str, browser: str, version: str, os: str, category: str, is_bot: bool
) -> None:
    found = parse_user_agent(text)
    assert (found.ua_browser, found.ua_browser_version) == (browser, version)
    assert found.ua_os in (os, None)
    assert (found.ua_device_category, found.is_bot) == (category, is_bot)


def test_user_agents_fill_the_device_and_leave_the_rest() -> None:
    rows = enrich(UaEnrichment, "user_agent", [CHROME, None, GOOGLEBOT, CHROME])
    assert [row["device"]["ua_browser"] for row in rows] == ["Chrome", None, "Googlebot", "Chrome"]
    assert [row["is_bot"] for row in rows] == [False, False, True, False]
    assert rows[0]["device"]["vendor_id"] is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("81.2.69.142", "81.2.69.142"),
        ("10.0.0.1, 192.168.1.1, 81.2.69.142, 8.8.8.8", "81.2.69.142"),
        ("unknown, 81.2.69.142:443", "81.2.69.142"),
        ("[2001:218::1]:8080", "2001:218::1"),
        ("::ffff:81.2.69.142", "81.2.69.142"),
        ("::ffff:10.0.0.1, 2001:218::1%eth0", "2001:218::1%eth0"),
        ("100.64.0.1, 169.254.1.1, 172.16.0.1, fe80::1, fc00::1, ::1, 224.0.0.1", None),
        ("127.0.0.1", None),
        ("shop.example", None),
        ("", None),
    ],
)
def test_the_first_public_address_counts(text: str, address: str | None) -> None:
    assert first_public_address(text) == address


def test_addresses_fill_the_place(city_database: str) -> None:
    given = ["10.0.0.1, 81.2.69.142", "2001:218::5", "9.9.9.9", "127.0.0.1", None]
    rows = enrich(IpEnrichment, "ip", given, city_database)
    assert {key: value for key, value in rows[0]["geo"].items() if value} == {
        "city": "London",
        "continent": "Europe",
        "country": "United Kingdom",
        "metro": "501",
        "region": "England",
        "sub_continent": "Northern Europe",
    }
    assert [row["geo"]["country"] for row in rows[1:]] == ["Japan", None, None, None]
    assert rows[1]["geo"]["sub_continent"] == "Eastern Asia"


def test_the_locale_stays_the_device_s(city_database: str) -> None:
    plugin = IpEnrichment(PluginContext("demo", ("shop",), city_database))
    found = rows_of(plugin, {"ip": "81.2.69.1", "geo": {"locale": "de-AT"}}, {"ip": "81.2.69.1"})
    assert [(row["geo"]["locale"], row["geo"]["city"]) for row in found] == [
        ("de-AT", "London"),
        (None, "London"),
    ]


def city_file(path: Path, city: str) -> str:
    """Write a database in which 81.2.69.0/24 is in a city; swapped in at once, as a fetch does."""
    writer = MMDBWriter(6, "Test-City", languages=["en"], ipv4_compatible=True)
    writer.insert_network(IPSet(["81.2.69.0/24"]), {"city": {"names": {"en": city}}})
    writer.to_db_file(f"{path}.new")
    Path(f"{path}.new").replace(path)
    return str(path)


def test_a_replaced_database_is_read_by_the_next_batch_and_not_by_the_one_at_work(
    tmp_path: Path,
) -> None:
    def cities(plugin: IpEnrichment) -> list[str]:
        return [row["geo"]["city"] for row in rows_of(plugin, {"ip": "81.2.69.1"})]

    path = city_file(tmp_path / "city.mmdb", "London")
    context = PluginContext("demo", ("shop",), path)
    at_work = IpEnrichment(context)
    at_work.check()
    # A task of the batch that has begun before the swap, and one that begins after it.
    table = conform(pa.table({"ip": pa.array(["81.2.69.1"] * 2)}), EVENT)
    running = at_work.apply(iter(table.to_batches(max_chunksize=1)))
    next(running)
    city_file(Path(path), "Paris")
    assert next(running).column("geo")[0].as_py()["city"] == "London"
    following = IpEnrichment(context)
    following.check()
    assert cities(following) == ["Paris"]
    assert cities(pickle.loads(pickle.dumps(at_work))) == ["London"]
    city_file(Path(path), "Rome")
    assert cities(IpEnrichment(context)) == ["Rome"]


def test_a_replaced_database_reaches_the_next_batch_of_the_same_engine(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    for city in ("London", "Paris"):
        path = city_file(tmp_path / "city.mmdb", city)
        records = [record(plain(event(city)), ip="81.2.69.1", rid=city)]
        pipeline.process(city, records, geo_database=path)
    found = {row["event_id"]: row["geo"]["city"] for row in pipeline.rows("ods_event")}
    assert found == {"London": "London", "Paris": "Paris"}


def test_every_country_has_one_sub_continent() -> None:
    assert len(SUB_CONTINENTS) == 250
    expected = {
        "US": "Northern America",
        "BR": "South America",
        "DE": "Western Europe",
        "IN": "Southern Asia",
        "ZA": "Southern Africa",
        "AU": "Australia and New Zealand",
    }
    assert {code: SUB_CONTINENTS[code] for code in expected} == expected


def test_without_a_database_the_place_is_null_and_one_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        IpEnrichment(PluginContext("demo", ("shop",))).check()
    assert [record.message for record in caplog.records if "no address database" in record.message]
    assert enrich(IpEnrichment, "ip", ["81.2.69.142"])[0]["geo"] is None


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 100])
def test_an_unreadable_database_is_named(tmp_path: object, content: bytes | None) -> None:
    path = tmp_path / "broken.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError, match=r"broken\.mmdb can't be read.*--geo-db"):
        IpEnrichment(PluginContext("demo", ("shop",), str(path))).check()


def test_a_damaged_entry_is_an_error_not_an_unknown_place(
    city_database: str, tmp_path: Path
) -> None:
    content = bytearray(Path(city_database).read_bytes())
    place = content.index(b"London")
    content[place - 3 : place + 6] = b"\xff" * 9
    broken = tmp_path / "damaged.mmdb"
    broken.write_bytes(content)
    with pytest.raises(SettingError, match=r"damaged\.mmdb can't be read"):
        IpEnrichment(PluginContext("demo", ("shop",), str(broken))).check()
    damaged = pytest.raises(SettingError, match=r"the entry of 81\.2\.69\.1")
    with maxminddb.open_database(broken) as reader, damaged:
        place_of(reader, "81.2.69.1")
