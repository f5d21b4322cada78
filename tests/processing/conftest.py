"""A Sail engine for the whole session, and a lake to process into."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.engines import spark_session
from clickstream_dagster.processing.job import process_batch
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.processing.settings import BatchSettings
from tests.processing.records_input import write_object


@pytest.fixture(scope="package")
def spark() -> Iterator[object]:
    """A session that ends before tests of another folder: Dagster's would be the same one."""
    with spark_session("sail") as session:
        yield session


class Pipeline:
    """Batches of records into one lake, and what the lake holds."""

    def __init__(self, spark: object, directory: Path) -> None:
        self.spark = spark
        self.directory = directory
        self.sink = directory / "lake"
        self.lake = Lake(str(self.sink), "demo")

    def process(self, batch: str, *objects: list, **settings: object) -> BatchCounters:
        """Write each list of records as one raw object and process them as a batch."""
        source = self.directory / "raw" / batch
        for number, records in enumerate(objects):
            write_object(source / f"{number:03d}.log.gz", records)
        source.mkdir(parents=True, exist_ok=True)
        return self.run(batch, source, **settings)

    def run(self, batch: str, source: Path, **settings: object) -> BatchCounters:
        """Process a directory of raw objects as a batch."""
        chosen = {"project_id": "demo", "app_ids": ("shop",), "sink": str(self.sink), **settings}
        return process_batch(
            self.spark, BatchSettings(batch=batch, **chosen), list(list_objects(str(source)))
        )

    def rows(self, table: str) -> list[dict]:
        """Give the rows of a table, ordered by where they came from."""
        rows = self.lake.table(table).scan().to_arrow().to_pylist()
        return sorted(
            rows,
            key=lambda row: (
                (row["event_id"] or "", row["source_object"])
                if table == "bad_event"
                else (row["event_date"], row["event_id"])
            ),
        )


@pytest.fixture
def pipeline(spark: object, tmp_path: Path) -> Pipeline:
    return Pipeline(spark, tmp_path)


@pytest.fixture(scope="session")
def city_database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MMDB file with one place for 203.0.112.0/23's neighbour and one for an IPv6 network."""
    from mmdb_writer import MMDBWriter
    from netaddr import IPSet

    writer = MMDBWriter(6, "Test-City", languages=["en"], ipv4_compatible=True)
    writer.insert_network(
        IPSet(["81.2.69.0/24"]),
        {
            "city": {"names": {"en": "London", "de": "London"}},
            "continent": {"code": "EU", "names": {"en": "Europe"}},
            "country": {"iso_code": "GB", "names": {"en": "United Kingdom"}},
            "subdivisions": [{"iso_code": "ENG", "names": {"en": "England"}}],
            "location": {"metro_code": 501},
        },
    )
    writer.insert_network(
        IPSet(["2001:218::/32"]),
        {
            "continent": {"names": {"en": "Asia"}},
            "country": {"iso_code": "JP", "names": {"en": "Japan"}},
        },
    )
    path = tmp_path_factory.mktemp("geo") / "city.mmdb"
    writer.to_db_file(str(path))
    return str(path)
