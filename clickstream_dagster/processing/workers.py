"""Processes that run tasks for an engine that lives in this process.

Sail runs Python functions on threads of this process. Most of a task holds no lock of the
interpreter, but takes it some thousand times a second, and each time waits for the other threads:
two tasks on two cores took as long as one after the other. In processes of their own they don't
meet. A worker starts in a second, and ends when it has had nothing to do for a while, or as soon
as the process that it works for has ended.
"""

import ctypes
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa

from clickstream_dagster.errors import TaskError
from clickstream_dagster.tuning import collect_rarely, give_way

SPREAD_BYTES = 24 << 20
"""Raw bytes of a batch from which on starting workers is quicker than doing without."""

_IDLE_SECONDS = 30
_PARENT_SECONDS = 0.1
_NICER = 10
# numpy's library for matrices, of which there are none here, would start a thread a core.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}

# malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_Result = TypeVar("_Result")
Apply = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


class _Workers:
    """Processes for the tasks of this one; without `engines`, tasks run where they are called."""

    def __init__(self) -> None:
        self.engines = 0
        self._lock = threading.Lock()
        self._executor: Executor | None = None

    def submit(self, function: Callable[..., _Result], *values: object) -> Future[_Result]:
        # An engine with processes of its own never needs it.
        from loky import ProcessPoolExecutor

        with self._lock:
            if self._executor is None:
                self._executor = ProcessPoolExecutor(
                    cores(),
                    timeout=_IDLE_SECONDS,
                    initializer=_begin,
                    initargs=(os.getpid(),),
                    env=_ENVIRONMENT,
                )
            return self._executor.submit(function, *values)

    @contextmanager
    def engine(self) -> Iterator[None]:
        """Count an engine in the block; the processes end with the last one."""
        with self._lock:
            self.engines += 1
        failed = True
        try:
            yield
            failed = False
        finally:
            with self._lock:
                self.engines -= 1
                last = not self.engines
            if last:
                self.stop(at_once=failed)

    def stop(self, *, at_once: bool) -> None:
        """End the processes; without `at_once` when they have done what they were given."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(kill_workers=at_once)


_workers = _Workers()


def start(raw_bytes: int) -> None:
    """Start the workers that a batch of so many raw bytes will soon need; don't wait for them.

    They load what they need while this process loads the same and starts the engine.
    """
    for _ in range(cores() if raw_bytes >= SPREAD_BYTES else 0):
        _workers.submit(_load)


def _load() -> None:
    """Load what tasks need, the compiled functions, too, while the engine is being started.

    It gives way to the process that starts the engine: a batch begins when that is done.
    """
    loading = threading.Thread(target=_load_nicely)
    loading.start()
    loading.join()


def _load_nicely() -> None:
    give_way(_NICER)
    from clickstream_dagster.processing import merging, stage_pass  # noqa: F401
    from clickstream_dagster.processing.requests import load_compiled

    load_compiled()


@contextmanager
def worker_processes() -> Iterator[None]:
    """Let `in_worker` use a process a core in the block; they are started when first needed."""
    keep_freed_memory()
    with _workers.engine():
        yield


def in_worker(batches: Iterator[pa.RecordBatch], function: Apply) -> Iterator[pa.RecordBatch]:
    """Run a task's function in a worker, or here, for an engine that has processes of its own.

    All that goes in is handed over at once, and so is all that comes out: both should be small.
    Raises what the function raises, and TaskError when its worker was killed.
    """
    if not _workers.engines:
        yield from function(batches)
        return
    try:
        yield from _workers.submit(_run, function, list(batches)).result()
    except BrokenProcessPool as error:
        _workers.stop(at_once=True)
        raise TaskError(
            "a process that worked for it was killed; mostly that is the system's answer to a lack"
            " of memory"
        ) from error


def _run(function: Apply, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    # What the function needs is loaded by now, and stays: no collection needs to look at it.
    gc.freeze()
    return list(function(iter(batches)))


def _begin(parent: int) -> None:
    # Ctrl-C reaches the whole group: the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    collect_rarely()
    keep_freed_memory()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process as soon as its parent has ended, however that came about.

    The next attempt at the batch may begin at once: nothing may write behind its back.
    """
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os._exit(1)


def keep_freed_memory() -> None:
    """Let this process reuse what its tasks free, instead of giving it back to the system.

    Batches of some megabytes come and go; a tenth of the processor time went into pages that the
    system cleared for each of them again. Only glibc can be told; elsewhere nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        pa.set_memory_pool(pa.system_memory_pool())


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
