"""The Spark engine of a run: Sail in this process, a local JVM, or any Spark Connect server."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from clickstream_dagster.batches.ledger import Manifest
    from clickstream_dagster.processing.counters import BatchCounters
    from clickstream_dagster.processing.settings import BatchSettings


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

    def process(
        self,
        context: dg.AssetExecutionContext,
        settings: "BatchSettings",
        manifest: "Manifest",
        address: str,
    ) -> "BatchCounters":
        """Process the objects of a window's manifest in this process. Raises ClickstreamError."""
        from clickstream_dagster.processing import workers

        if self.engine == "sail":
            workers.start(sum(raw.size for raw in manifest.objects))
        from clickstream_dagster.processing.job import process_batch

        return process_batch(
            self.session, settings, manifest.objects, progress=lambda step: context.log.debug(step)
        )


@contextmanager
def _session(engine: str) -> "Iterator[SparkSession]":
    from clickstream_dagster.processing import engines

    engines.check_engine(engine)
    if engine == "spark":
        with engines.spark_session(engine) as session:
            yield session
        return
    from dagster_pyspark import LazyPySparkResource

    with ExitStack() as stack:
        address = stack.enter_context(engines.connect_address(engine))
        session = LazyPySparkResource(spark_config={"spark.remote": address}).spark_session
        engines.prepare(session, in_this_process=engine == "sail")
        stack.callback(session.stop)
        yield session
