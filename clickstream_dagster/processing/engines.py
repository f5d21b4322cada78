"""Spark engines: Sail in this process, or a local JVM Spark, or any Spark Connect server."""

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from clickstream_dagster.errors import EngineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ENGINES = ("sail", "spark")

# malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


@contextmanager
def sail_server() -> Iterator[str]:
    """Start a Sail server in this process and give its Spark Connect address.

    Listens on a free loopback port only, and stops with the block.
    """
    _keep_freed_memory()
    # Sail narrates every session it opens; warnings still pass.
    os.environ.setdefault("RUST_LOG", "warn,sail_common::actor=error")
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    try:
        _, port = server.listening_address
        yield f"sc://127.0.0.1:{port}"
    finally:
        server.stop()


@contextmanager
def spark_session(engine: str) -> "Iterator[SparkSession]":
    """Give a Spark session on `sail`, `spark` (local JVM) or an `sc://host:port` address.

    Raises EngineError for any other engine, and for `spark` without a Java runtime.
    """
    from pyspark.sql import SparkSession

    check_engine(engine)
    with ExitStack() as stack:
        if engine == "spark":
            session = _local_session()
        else:
            address = stack.enter_context(sail_server()) if engine == "sail" else engine
            session = SparkSession.builder.remote(address).create()
            prepare(session, in_this_process=engine == "sail")
        stack.callback(session.stop)
        yield session


def _keep_freed_memory() -> None:
    """Let this process reuse what its tasks free, instead of giving it back to the system.

    Batches of some megabytes come and go; a tenth of the processor time went into pages that the
    system cleared for each of them again. Only glibc can be told; elsewhere nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        pa.set_memory_pool(pa.system_memory_pool())


def check_engine(engine: str) -> None:
    """Raise EngineError unless the engine is known and can be started here."""
    if engine not in ENGINES and not engine.startswith("sc://"):
        raise EngineError(
            f"engine {engine!r} is not known; write one of {', '.join(ENGINES)}"
            " or the address of a Spark Connect server (sc://host:port)"
        )
    if engine == "spark":
        _require_java()


def prepare(session: "SparkSession", *, in_this_process: bool) -> None:
    """Make a new session of a Spark Connect server ready for use.

    A server in this process ends with it (Ctrl-C, a cancelled run): then there is nothing to wait
    for, and the client tries twice instead of for ten minutes.
    """
    from pyspark.sql.connect.client.retries import DefaultPolicy

    if in_this_process:
        session.client.set_retry_policies([DefaultPolicy(max_retries=2)])
    # The server makes the session with the first request; stopping one that it has not made is
    # an error in the log.
    _ = session.version


def _local_session() -> "SparkSession":
    from pyspark.sql import SparkSession

    # Workers must have this environment's packages.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return (
        SparkSession.builder.master(f"local[{cores()}]")
        .appName("clickstream")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )


def parallelism(session: "SparkSession") -> int:
    """Number of tasks that run at once: what the session is told, else the cores of this process.

    A cluster is told by `spark.default.parallelism`: its cores when it has grown to its most
    executors, for at the start it has few.
    """
    told = session.conf.get("spark.default.parallelism", None)
    return int(told) if told else cores()


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _require_java() -> None:
    java_home = os.environ.get("JAVA_HOME")
    if (java_home and os.path.exists(os.path.join(java_home, "bin", "java"))) or shutil.which(
        "java"
    ):
        return
    raise EngineError(
        "engine 'spark' needs a Java runtime (17 or later) and none was found: install one and"
        " set JAVA_HOME, or use the engine 'sail', which needs none"
    )
