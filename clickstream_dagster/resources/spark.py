"""The Spark engine of a run: Sail in this process, a local JVM, or any Spark Connect server."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

from clickstream_dagster.processing.errors import EngineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class SparkEngine(dg.ConfigurableResource):
    """Gives a Spark session, started when it is first asked for and stopped with the step.

    `engine` is `sail`, `spark` (needs a Java runtime) or `sc://host:port`.
    """

    engine: str = "sail"

    _stack: ExitStack | None = PrivateAttr(default=None)
    _session: "SparkSession | None" = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> "Iterator[SparkEngine]":
        with ExitStack() as stack:
            self._stack = stack
            try:
                yield self
            finally:
                self._stack = self._session = None

    @property
    def session(self) -> "SparkSession":
        """The session. Raises EngineError for an engine that can't be started."""
        if self._session is None:
            assert self._stack is not None, "a session lives only as long as a step"
            self._session = self._stack.enter_context(_session(self.engine))
        return self._session


@contextmanager
def _session(engine: str) -> "Iterator[SparkSession]":
    from clickstream_dagster.processing.engines import sail_server, spark_session

    if engine == "spark":
        with spark_session(engine) as session:
            yield session
        return
    from dagster_pyspark import LazyPySparkResource

    if engine != "sail" and not engine.startswith("sc://"):
        raise EngineError(
            f"engine {engine!r} is not known; write sail, spark or the address of a Spark Connect"
            " server (sc://host:port)"
        )
    with ExitStack() as stack:
        address = stack.enter_context(sail_server()) if engine == "sail" else engine
        session = LazyPySparkResource(spark_config={"spark.remote": address}).spark_session
        if engine == "sail":
            _give_up_soon(session)
        # The server makes the session with the first request; stopping one that it has not made
        # is an error in the log.
        _ = session.version
        stack.callback(session.stop)
        yield session


def _give_up_soon(session: "SparkSession") -> None:
    """Let the client try a dead server twice, not for ten minutes.

    Sail runs in this process and ends with an interrupt (Ctrl-C, a cancelled run): nothing to wait
    for.
    """
    from pyspark.sql.connect.client.retries import DefaultPolicy

    session.client.set_retry_policies([DefaultPolicy(max_retries=2)])
