"""The floor under processing: gunzip, decode and parse the same bytes, one process a core.

Nothing is typed, enriched, sorted or written, so no pipeline that reads JSON in Python is faster.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import orjson

from clickstream_dagster.batches.objects import RawObject, list_objects
from clickstream_dagster.processing.records import open_object, read_lines
from clickstream_dagster.processing.requests import BadBodyError, decode_body
from clickstream_dagster.processing.workers import cores


def parse_object(raw: RawObject) -> int:
    """Count the events of a raw object by parsing all of it."""
    events = 0
    with open_object(raw) as stream:
        for line in (line for lines in read_lines(stream) for line in lines.to_pylist()):
            try:
                events += len(orjson.loads(decode_body(orjson.loads(line).get("data"))))
            except (BadBodyError, orjson.JSONDecodeError):
                continue
    return events


def floor_seconds(source: str) -> tuple[float, int]:
    """Give the wall seconds and the number of events."""
    objects = list(list_objects(source))
    with ProcessPoolExecutor(cores(), mp_context=get_context("fork")) as pool:
        list(pool.map(abs, range(cores())))  # start the workers outside of the clock
        started = time.perf_counter()
        events = sum(pool.map(parse_object, objects))
        return time.perf_counter() - started, events


if __name__ == "__main__":
    print(*floor_seconds(sys.argv[1]))
