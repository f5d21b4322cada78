"""An engine that is warm: one batch after the other in one session, the second one measured."""

import sys
import tempfile
import time

from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.processing.engines import spark_session
from clickstream_dagster.processing.job import process_batch
from clickstream_dagster.processing.settings import BatchSettings


def warm_seconds(engine: str, source: str) -> float:
    """Give the wall seconds of the second of two equal batches into two empty lakes."""
    objects = list(list_objects(source))
    seconds = 0.0
    with spark_session(engine) as spark:
        for _ in range(2):
            with tempfile.TemporaryDirectory(prefix="clickstream-bench-") as sink:
                settings = BatchSettings("demo", ("demo_web", "demo_mobile"), sink, "bench")
                started = time.perf_counter()
                process_batch(spark, settings, objects)
                seconds = time.perf_counter() - started
    return seconds


if __name__ == "__main__":
    print(warm_seconds(*sys.argv[1:]))
