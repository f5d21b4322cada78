"""The same requests give identical views however they are cut into batches, sent and replayed."""

import gzip
import json
import random
import zlib
from pathlib import Path

import duckdb
import pytest

from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.processing.bad_reasons import BadReason
from clickstream_dagster.processing.bad_records import Selection
from clickstream_dagster.processing.engines import spark_session
from clickstream_dagster.processing.job import process_batch
from clickstream_dagster.processing.replay import replay_bad_records
from clickstream_dagster.processing.settings import BatchSettings
from clickstream_dagster.resources.dbt import Warehouse, run_dbt
from clickstream_dagster.sample.command import generate_files
from clickstream_dagster.sample.plan import TrafficPlan
from clickstream_plugins import sdk
from tests.views import DAILY_REPORTS, REPORT_VIEWS, VIEWS

PLAN = TrafficPlan(events=6_000, days=4, seed=11)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Give the requests of some days of troubled traffic, each line as it was sent.

    Half of the users of the web site send no session ids.
    """
    raw = tmp_path_factory.mktemp("raw")
    generate_files(PLAN, raw)
    files = sorted(raw.rglob("*.log.gz"))
    sent = [line for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    lines = [without_session_ids(line) for line in sent]
    assert len(sent) / 10 < sum(one != other for one, other in zip(lines, sent, strict=True))
    return lines


def without_session_ids(line: bytes) -> bytes:
    """Take the session ids out of a plain request, if its user is one of those without."""
    try:
        request = json.loads(line)
        events = json.loads(request["data"])
    except ValueError:  # compressed, or broken
        return line
    if zlib.crc32(str(events[0].get("unique_id")).encode()) % 2:
        return line
    for event in events:
        event.get("attributes", {}).pop("_session_id", None)
    return json.dumps({**request, "data": json.dumps(events)}).encode()


class Arrangement:
    """Batches of lines into one lake, modelled into one warehouse, step by step."""

    def __init__(self, spark: object, directory: Path) -> None:
        self.spark = spark
        self.directory = directory
        self.sink = directory / "lake"
        self.file = directory / "warehouse.duckdb"

    def batch(self, name: str, lines: list[bytes]) -> None:
        """Process lines as a batch of two raw objects."""
        source = self.directory / "raw" / name
        source.mkdir(parents=True, exist_ok=True)
        for number in range(2):
            content = b"\n".join(lines[number::2])
            (source / f"{number}.log.gz").write_bytes(gzip.compress(content))
        settings = BatchSettings("demo", PLAN.app_ids, str(self.sink), name)
        counters = process_batch(self.spark, settings, list(list_objects(str(source))))
        assert counters.imbalance() is None

    def replay(self) -> int:
        """Process bad records again; give how many events that has written."""
        settings = BatchSettings("demo", PLAN.app_ids, str(self.sink), "unused")
        counters = replay_bad_records(lambda: self.spark, settings, Selection())
        assert counters.imbalance() is None
        return counters.batch.written

    def model(self) -> None:
        """Bring the models up to date."""
        run_dbt(["run", "--quiet"], Warehouse(self.sink, "demo", self.file))


def differences(one: Path, other: Path) -> dict[str, int]:
    """Give the number of rows that only one of two warehouses has, of each view that differs."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"attach '{one}' as one (read_only)")
        connection.execute(f"attach '{other}' as other (read_only)")
        told = dict.fromkeys((*VIEWS, *REPORT_VIEWS), "*")
        told |= dict.fromkeys(DAILY_REPORTS, "* exclude (load_id)")
        counts = {
            view: connection.execute(
                f"select (select count(*) from (select {columns} from one.demo.{view} except all"
                f" select {columns} from other.demo.{view})) + (select count(*) from ("
                f"select {columns} from other.demo.{view} except all"
                f" select {columns} from one.demo.{view}))"
            ).fetchone()[0]
            for view, columns in told.items()
        }
        rows = connection.execute(f"select count(*) from one.demo.{VIEWS[0]}").fetchone()[0]
    assert rows > PLAN.events * 0.9
    return {view: count for view, count in counts.items() if count}


@pytest.mark.heavy
def test_one_batch_equals_shuffled_repeated_and_replayed_batches(
    lines: list[bytes], tmp_path: Path
) -> None:
    with spark_session("sail") as spark:
        together = Arrangement(spark, tmp_path / "together")
        together.batch("all", lines)
        together.model()

        shuffled = random.Random(5).sample(lines, len(lines))
        parts = [shuffled[number::4] for number in range(4)]
        apart = Arrangement(spark, tmp_path / "apart")
        for number in (2, 0, 3):
            apart.batch(f"part{number}", parts[number])
        apart.model()
        # Some more arrive, some a second time under another name, one batch is replayed.
        apart.batch("part1", parts[1] + parts[2][:500])
        apart.batch("again", parts[3])
        apart.batch("part0", parts[0])
        apart.model()
    assert differences(together.file, apart.file) == {}


@pytest.mark.heavy
def test_models_take_in_what_a_replay_has_mended(
    lines: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spark_session("sail") as spark:
        right = Arrangement(spark, tmp_path / "right")
        right.batch("all", lines)
        right.model()

        mended = Arrangement(spark, tmp_path / "mended")
        with monkeypatch.context() as patch:
            short = (10, BadReason.EVENT_NAME_TOO_LONG)
            patch.setitem(sdk._NAMES_AND_IDS, "event_type", short)
            mended.batch("part0", lines[::2])
            mended.batch("part1", lines[1::2])
        mended.model()
        assert mended.replay() > PLAN.events / 4
        mended.model()
    assert differences(right.file, mended.file) == {}
