"""Batches and maintenance at the same time: the lake ends as one that was left alone."""

import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clickstream_dagster.processing import maintenance
from clickstream_dagster.processing.lake import TABLES, Lake
from clickstream_dagster.processing.maintenance import MaintenanceSettings, maintain

CLICKSTREAM = str(Path(sys.executable).parent / "clickstream")
BATCHES = 12


def process(sink: Path, batches: list[tuple[str, Path]]) -> None:
    """Process batches one after the other, each from a directory of raw objects."""
    from clickstream_dagster.batches.objects import list_objects
    from clickstream_dagster.processing.engines import spark_session
    from clickstream_dagster.processing.job import process_batch
    from clickstream_dagster.processing.settings import BatchSettings

    with spark_session("sail") as spark:
        for name, source in batches:
            settings = BatchSettings("demo", ("demo_web", "demo_mobile"), str(sink), name)
            assert (
                process_batch(spark, settings, list(list_objects(str(source)))).imbalance() is None
            )


def keep_maintaining(sink: Path, stop: object, told: object) -> None:
    """Maintain the lake again and again until told to stop; tell what was compacted."""
    maintenance._QUIET_MS = -1_000
    while not stop.is_set():
        lake = Lake(str(sink), "demo")
        if all(lake.has(name) for name in TABLES):
            report = maintain(lake, MaintenanceSettings())
            told.put((report.compacted_files, report.conflicts))
        time.sleep(1)


def content(sink: Path, *, without: str | None = None) -> dict[str, list[str]]:
    lake = Lake(str(sink), "demo")
    return {
        name: sorted(
            json.dumps({key: value for key, value in row.items() if key != without}, default=str)
            for row in lake.table(name).scan().to_arrow().to_pylist()
        )
        for name in TABLES
    }


@pytest.mark.heavy
def test_batches_and_maintenance_at_the_same_time_lose_and_double_nothing(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    command = [CLICKSTREAM, "generate", "--out", raw, "--events", "20000", "--days", "2"]
    subprocess.run(command, check=True, capture_output=True)
    objects = sorted(raw.rglob("*.gz"))
    rounds: list[list[tuple[str, Path]]] = [[], [], []]
    for number in range(BATCHES):
        whole, part = tmp_path / "in" / f"{number}", tmp_path / "again" / f"{number}"
        for place, path in enumerate(objects[number::BATCHES]):
            for folder in (whole, part) if place % 2 else (whole,):
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / f"{place}-{path.name}")
        # Some run again with fewer objects and once more with all, some had fewer at first. They
        # end with all: what a batch gives up was taken from others, and would depend on the order.
        runs = ([whole, part, whole], [part, whole], [whole])[number % 3]
        for round_, folder in zip(rounds, runs, strict=False):
            round_.append((f"b{number:02}", folder))

    def share(worker: int, workers: int) -> list[tuple[str, Path]]:
        mine = {f"b{number:02}" for number in range(worker, BATCHES, workers)}
        return [run for round_ in rounds for run in round_ if run[0] in mine]

    undisturbed, sink = tmp_path / "undisturbed", tmp_path / "lake"
    context = multiprocessing.get_context("spawn")
    stop, told = context.Event(), context.Queue()
    workers = [
        context.Process(target=process, args=(undisturbed, share(0, 1))),
        *(context.Process(target=process, args=(sink, share(worker, 2))) for worker in range(2)),
    ]
    maintainer = context.Process(target=keep_maintaining, args=(sink, stop, told))
    workers[0].start()
    workers[0].join()
    for worker in (*workers[1:], maintainer):
        worker.start()
    reports: list[tuple[int, int]] = []
    while any(worker.is_alive() for worker in workers):
        time.sleep(0.5)
        while not told.empty():
            reports.append(told.get())
    stop.set()
    while maintainer.is_alive():
        maintainer.join(0.5)
        while not told.empty():
            reports.append(told.get())
    assert [process.exitcode for process in (*workers, maintainer)] == [0] * 4
    assert sum(compacted > 0 for compacted, _ in reports) > 2
    got, expected = content(sink), content(undisturbed)
    assert got["ods_event"] == expected["ods_event"]
    # Which of two batches wrote a bad record that both have is a matter of their order.
    got, expected = (content(path, without="ingest_batch") for path in (sink, undisturbed))
    assert got == expected
    files = Lake(str(sink), "demo").data_files("ods_event")
    assert len(files) < len(Lake(str(undisturbed), "demo").data_files("ods_event"))
