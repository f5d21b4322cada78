"""Tasks run in processes of their own, and end with the process that they work for."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from clickstream_dagster.errors import PluginError, TaskError
from clickstream_dagster.processing import workers
from clickstream_dagster.processing.workers import in_worker, worker_processes
from tests.processing.records_input import event, plain, record

NUMBERS = pa.RecordBatch.from_pydict({"number": [1, 2, 3]})


def _with_process(batches):
    for batch in batches:
        yield batch.append_column("process", pa.array([os.getpid()] * batch.num_rows))


def _refuse(batches):
    raise PluginError("plug-in loyalty dropped the column event_id")


def _kill_itself(batches):
    os.kill(os.getpid(), signal.SIGKILL)


def _results(function) -> list[pa.RecordBatch]:
    return list(in_worker(iter([NUMBERS, NUMBERS]), function))


def test_a_task_runs_in_another_process_and_gives_all_of_its_batches() -> None:
    with worker_processes():
        first, second = _results(_with_process)
    assert first.column("number").to_pylist() == second.column("number").to_pylist() == [1, 2, 3]
    assert os.getpid() not in first.column("process").to_pylist()


def test_an_engine_that_ends_leaves_the_workers_of_another() -> None:
    with worker_processes():
        with worker_processes():
            (inner,) = {batch.column("process")[0].as_py() for batch in _results(_with_process)}
        (outer,) = {batch.column("process")[0].as_py() for batch in _results(_with_process)}
    assert os.getpid() not in (inner, outer)


def test_without_workers_a_task_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    # The engine of other tests may be up.
    monkeypatch.setattr(workers, "_workers", workers._Workers())
    assert _results(_with_process)[0].column("process")[0].as_py() == os.getpid()


def test_an_error_of_a_task_arrives_as_it_was_raised() -> None:
    with worker_processes(), pytest.raises(PluginError, match="dropped the column event_id"):
        _results(_refuse)


def test_a_killed_worker_is_told_and_the_next_task_gets_another() -> None:
    with worker_processes():
        with pytest.raises(TaskError, match="killed"):
            _results(_kill_itself)
        assert len(_results(_with_process)) == 2


_LOADED = """
import sys, numpy as np, pyarrow as pa
from clickstream_dagster.processing import json_marks, json_scan
from clickstream_dagster.processing.requests import load_compiled, requests_of
from clickstream_dagster.processing.plugins import PluginContext
from clickstream_plugins.sdk import SdkTransformer

def versions():
    functions = {**vars(json_scan), **vars(json_marks)}
    return {name: len(it.signatures) for name, it in functions.items() if hasattr(it, "signatures")}

load_compiled()
before = versions()
records = pa.array([sys.stdin.buffer.read()])
place = np.array([1])
requests = list(requests_of(records, pa.array(["object"]), place, place))
(events,) = SdkTransformer(PluginContext("demo", ("shop",))).apply(requests)
assert events.column("event_id").to_pylist() == ["e1"]
assert events.column("bad_reason").null_count == 1
assert versions() == before, (before, versions())
print(before["scan"], before["fields"], before["children"], before["texts"], before["integers"])
"""


def test_what_a_batch_needs_is_compiled_or_loaded_before_it() -> None:
    sent = event(attributes={"_a": "x", "b": [1.5], "c": True}, items=[{"id": "i"}])
    done = subprocess.run(
        [sys.executable, "-c", _LOADED],
        input=json.dumps(record(plain(sent))),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"] * 5


_PARENT = """
import os, sys, time
import pyarrow as pa
from clickstream_dagster.processing import workers
from clickstream_dagster.processing.workers import in_worker, worker_processes

def busy(batches):
    print(os.getpid(), flush=True)
    time.sleep(600)
    yield from batches

with worker_processes():
    list(in_worker(iter([pa.RecordBatch.from_pydict({"a": [1]})]), busy))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_worker_ends_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    limit = time.monotonic() + 5
    while _runs(worker) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not _runs(worker)


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
