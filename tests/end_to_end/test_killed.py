"""A process killed at any moment leaves nothing visible, and the next run ends as if alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from clickstream_dagster.processing.lake import TABLES, Lake

Process = subprocess.Popen[str]
KILLS = int(os.environ.get("CLICKSTREAM_KILLS", "12"))
CLICKSTREAM = Path(sys.executable).parent / "clickstream"
# A batch as small as these would do without workers.
WITH_WORKERS = """
from clickstream_dagster.processing import stage_pass, workers
stage_pass.SPREAD_BYTES = workers.SPREAD_BYTES = 0
from clickstream_dagster.cli import app
app()
"""


def start(source: Path, sink: Path, command: Sequence[object] = (CLICKSTREAM,)) -> Process:
    """Start the processing of a source as one batch, in a group of its own."""
    return subprocess.Popen(
        [
            *(*command, "process", "--source", source, "--sink", sink, "--batch", "killed"),
            *("--project-id", "demo", "--app-id", "demo_web", "--app-id", "demo_mobile"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("SPARK_")},
        start_new_session=True,
    )


def finish(source: Path, sink: Path) -> dict[str, int]:
    process = start(source, sink)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


def kill(process: Process, after: float, *, alone: bool) -> bool:
    """Kill a process after some seconds, with all it has started or alone; say if it was at work.

    Workers of one that is killed alone have to notice it by themselves.
    """
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        if alone:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()
    return process.returncode == -signal.SIGKILL


def content(sink: Path) -> dict[str, list[str]]:
    """Give the rows of both tables, in an order of their own."""
    lake = Lake(str(sink), "demo")
    return {
        name: sorted(
            json.dumps(row, default=str) for row in lake.table(name).scan().to_arrow().to_pylist()
        )
        for name in TABLES
    }


def orphans(sink: Path) -> set[str]:
    """Give the data files that no snapshot knows, and what is left of staging."""
    lake = Lake(str(sink), "demo")
    known: set[str] = set()
    for name in TABLES:
        table = lake.table(name)
        for snapshot in table.metadata.snapshots:
            tasks = table.scan(snapshot_id=snapshot.snapshot_id).plan_files()
            known |= {task.file.file_path.removeprefix("file://") for task in tasks}
    files = {str(path) for path in (sink / "demo").rglob("*.parquet")}
    staged = {
        str(path)
        for path in (sink / "_staging").rglob("*")
        if path.is_file() and path.name != "lock"
    }
    return (files - known) | staged


@pytest.mark.heavy
def test_a_batch_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    subprocess.run(
        [CLICKSTREAM, "generate", "--out", raw, "--events", "20000", "--days", "2"],
        check=True,
        capture_output=True,
    )
    undisturbed = tmp_path / "undisturbed"
    started = time.monotonic()
    counters = finish(raw, undisturbed)
    seconds = time.monotonic() - started
    expected = content(undisturbed)
    assert counters["written"] == len(expected["ods_event"])

    chance = random.Random(20261124)
    sink = tmp_path / "lake"
    killed = 0
    for number in range(KILLS):
        # Every other time the batch has been committed before.
        if number % 2 == 0:
            shutil.rmtree(sink, ignore_errors=True)
        spread = number % 4 >= 2
        command = (sys.executable, "-c", WITH_WORKERS) if spread else (CLICKSTREAM,)
        started = start(raw, sink, command)
        killed += kill(started, chance.random() * seconds, alone=number % 3 == 0)
        if number % 2:
            # What was committed before the kill is still there, whole.
            assert content(sink)["ods_event"] == expected["ods_event"]
        assert finish(raw, sink) == counters
        assert content(sink) == expected
        assert orphans(sink) == set()
    assert killed > KILLS / 2
