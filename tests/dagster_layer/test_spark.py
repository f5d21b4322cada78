"""The engine of a run starts when it is needed and ends with the run, interrupted or not."""

import subprocess
import sys
import time

import dagster as dg
import pytest

from clickstream_dagster.errors import EngineError
from clickstream_dagster.resources.spark import SparkEngine

INTERRUPTED = """
import os, signal, time
from clickstream_dagster.resources.spark import SparkEngine
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
with SparkEngine(engine="sail").yield_for_execution(None) as engine:
    assert engine.session.range(3).count() == 3
    os.kill(os.getpid(), signal.SIGINT)
    while True:  # any thread may be given the signal: this one is not always woken by it
        time.sleep(0.1)
"""


def test_a_step_has_one_session():
    with SparkEngine(engine="sail").yield_for_execution(dg.build_init_resource_context()) as engine:
        assert engine.session is engine.session
        assert engine.session.range(3).count() == 3


def test_an_engine_that_is_not_known_is_told():
    with (
        SparkEngine(engine="flink").yield_for_execution(dg.build_init_resource_context()) as engine,
        pytest.raises(EngineError, match="'flink' is not known"),
    ):
        _ = engine.session


def test_an_interrupt_ends_the_process_at_once():
    # Sail ends with the interrupt; a client that went on trying would hold the process up.
    begin = time.monotonic()
    answer = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60
    )
    assert "KeyboardInterrupt" in answer.stderr
    assert time.monotonic() - begin < 30
