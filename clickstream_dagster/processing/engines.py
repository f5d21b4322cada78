"""Spark engines: Sail in this process, or a local JVM Spark, or any Spark Connect server."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from clickstream_dagster.errors import EngineError
from clickstream_dagster.processing.workers import cores, worker_processes

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ENGINES = ("sail", "spark")
CONNECT_SECONDS = 20.0
"""For how long a Spark Connect server may be silent before it is taken to be none."""


@contextmanager
def sail_server() -> Iterator[str]:
    """Start a Sail server in this process and give its Spark Connect address.

    Listens on a free loopback port only, and stops with the block.
    """
    # Sail narrates every session it opens; warnings still pass.
    os.environ.setdefault("RUST_LOG", "warn,sail_common::actor=error")
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    with worker_processes():
        server.start(background=True)
        try:
            _, port = server.listening_address
            yield f"sc://127.0.0.1:{port}"
        finally:
            server.stop()


@contextmanager
def connect_address(engine: str) -> Iterator[str]:
    """Give the Spark Connect address of `sail`, started here, or of a server that answers.

    Raises EngineError where nobody answers.
    """
    if engine == "sail":
        with sail_server() as address:
            yield address
    else:
        require_answer(engine)
        yield engine


@contextmanager
def spark_session(engine: str) -> "Iterator[SparkSession]":
    """Give a Spark session on `sail`, `spark` (local JVM) or an `sc://host:port` address.

    Raises EngineError for any other engine, for `spark` without a Java runtime, and for an address
    where nobody answers.
    """
    from pyspark.sql import SparkSession

    check_engine(engine)
    with ExitStack() as stack:
        if engine == "spark":
            session = _local_session()
        else:
            address = stack.enter_context(connect_address(engine))
            session = SparkSession.builder.remote(address).create()
            prepare(session, in_this_process=engine == "sail")
        stack.callback(session.stop)
        yield session


def check_engine(engine: str) -> None:
    """Raise EngineError unless the engine is known and can be started here."""
    if engine not in ENGINES and not engine.startswith("sc://"):
        raise EngineError(
            f"engine {engine!r} is not known; write one of {', '.join(ENGINES)}"
            " or the address of a Spark Connect server (sc://host:port)"
        )
    if engine == "spark":
        _require_java()


def require_answer(address: str) -> None:
    """Raise EngineError unless a server answers at a Spark Connect address in CONNECT_SECONDS.

    The client itself tries for ten minutes, which is right for a server that it has spoken with.
    """
    import grpc
    from pyspark.errors import PySparkException
    from pyspark.sql.connect.client import DefaultChannelBuilder

    try:
        channel = DefaultChannelBuilder(address).toChannel()
    except (PySparkException, ValueError) as error:
        raise EngineError(f"engine {address}: {error}; write sc://host:port") from error
    try:
        grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
    except grpc.FutureTimeoutError as error:
        raise EngineError(
            f"no Spark Connect server answers at {address} within {CONNECT_SECONDS:g} s; start it,"
            " or correct the address and what lies between"
        ) from error
    finally:
        channel.close()


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
