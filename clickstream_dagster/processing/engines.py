"""Spark engines: Sail in this process, or a local JVM Spark, or any Spark Connect server."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clickstream_dagster.processing.errors import EngineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ENGINES = ("sail", "spark")


@contextmanager
def sail_server() -> Iterator[str]:
    """Start a Sail server in this process and give its Spark Connect address.

    Listens on a free loopback port only, and stops with the block.
    """
    # Sail narrates every session it opens; warnings still pass.
    os.environ.setdefault("RUST_LOG", "warn,sail_common::actor=error")
    from pysail.spark import SparkConnectServer

    _keep_freed_memory()
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

    if engine == "sail":
        with sail_server() as address:
            session = SparkSession.builder.remote(address).create()
            try:
                yield session
            finally:
                session.stop()
        return
    if engine == "spark":
        _require_java()
        # Workers must have this environment's packages.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        session = (
            SparkSession.builder.master(f"local[{parallelism()}]")
            .appName("clickstream")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .getOrCreate()
        )
    elif engine.startswith("sc://"):
        session = SparkSession.builder.remote(engine).create()
    else:
        raise EngineError(
            f"engine {engine!r} is not known; write one of {', '.join(ENGINES)}"
            " or the address of a Spark Connect server (sc://host:port)"
        )
    try:
        yield session
    finally:
        session.stop()


def parallelism() -> int:
    """Number of tasks that run at once on this machine: the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _keep_freed_memory() -> None:
    """Let the allocator reuse large blocks instead of asking the system for zeroed ones.

    Batches of some ten megabytes come and go all the time; with glibc's defaults a quarter of the
    processor time went into clearing pages. Elsewhere than on glibc nothing is changed.
    """
    import ctypes

    import pyarrow as pa

    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 64 << 20)
    pa.set_memory_pool(pa.system_memory_pool())


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
