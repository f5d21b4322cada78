"""`make bench-arrivals`: the arrival sensor and an opening, before 10,000 to 1,000,000 objects.

The objects lie in the hour folders of 30 days, in a directory and on an S3 server over HTTP. Each
step runs in a process of its own, whose peak memory is printed, imports included.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.raw_keys import DAYS, RawKeys

SIZES = (10_000, 100_000, 1_000_000)


def main(sizes: tuple[int, ...]) -> None:
    """Measure with each number of objects and print a table."""
    console = Console(width=100)
    # Late in a day: its hours wait one by one when the days before it have been taken whole.
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    now = midnight - timedelta(hours=1)
    table = Table(title=f"{DAYS} days of raw objects")
    for column in ("source", "objects", "step", "result", "seconds", "peak memory"):
        side = "left" if column in ("source", "step") else "right"
        table.add_column(column, justify=side, no_wrap=True)
    for size in sizes:
        keys = RawKeys(size, int(now.timestamp()))
        for place in (in_a_directory, on_s3):
            with (
                console.status(f"{size:,} objects"),
                tempfile.TemporaryDirectory(prefix="clickstream-bench-") as lake,
                place(keys) as source,
            ):
                for step in STEPS:
                    done = _run(step, source, lake, now)
                    table.add_row(
                        "S3" if source.startswith("s3:") else "directory",
                        f"{size:,}",
                        step,
                        f"{done['number']:,} {done['unit']}",
                        f"{done['seconds']:.2f}",
                        f"{done['peak'] / 2**20:,.0f} MiB",
                    )
    console.print(table)
    console.print(f"load before: {os.getloadavg()[0]:.1f}")


@contextmanager
def in_a_directory(keys: RawKeys) -> Iterator[str]:
    """Make empty files; give their directory."""
    with tempfile.TemporaryDirectory(prefix="clickstream-bench-raw-") as raw:
        folder = ""
        for place in range(keys.count):
            path = f"{raw}/{keys[place]}"
            if os.path.dirname(path) != folder:
                folder = os.path.dirname(path)
                os.makedirs(folder)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        yield raw


@contextmanager
def on_s3(keys: RawKeys) -> Iterator[str]:
    """Start the server; give the address of its bucket."""
    command = [sys.executable, "-m", "benchmarks.listing_server"]
    server = subprocess.Popen(
        [*command, str(keys.count), str(keys.end_seconds)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout
        os.environ["CLICKSTREAM_BENCH_S3"] = server.stdout.readline().strip()
        os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "none"
        yield "s3://bucket/raw"
    finally:
        server.kill()
        server.wait()


def _run(step: str, source: str, lake: str, now: datetime) -> dict:
    command = [sys.executable, "-m", "benchmarks.arrivals", step, source, lake, now.isoformat()]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def measure(step: str, source: str, lake: str, now: datetime) -> dict:
    """Do one step in this process."""
    from clickstream_dagster.automation.arrivals import Cursor, windows_with_arrivals
    from clickstream_dagster.components import ClickstreamProject

    def project(interval: str):
        start = (now - timedelta(days=DAYS)).strftime("%Y-%m-%dT%H:%M")
        attributes = {
            "project_id": "bench",
            "app_ids": ["bench"],
            "start_date": start,
            "interval": interval,
            "grace_minutes": 0,
            "raw": source,
            "lake": lake,
            "warehouses": [],
            "s3": {"endpoint_url": os.environ.get("CLICKSTREAM_BENCH_S3"), "region": "us-east-1"},
        }
        return ClickstreamProject.from_attributes_dict(attributes=attributes).project(Path(lake))

    days, hours = project("1 day"), project("1 hour")
    last_hour = hours.window((now - timedelta(hours=1)).strftime("%Y-%m-%d-%H:%M"))
    began = time.perf_counter()
    if step.startswith("tick"):
        windows, _ = windows_with_arrivals(hours, Cursor(), now)
        number, unit = len(windows), "windows"
    elif step == TAKE:
        ledger = days.ledger()
        partitions = days.partitions.get_partition_keys(current_time=now)
        openings = (ledger.open(days.window(partition)) for partition in partitions)
        number, unit = sum(len(manifest.objects) for manifest in openings), "objects"
    else:
        number, unit = len(hours.ledger().open(last_hour).objects), "objects"
    return {
        "seconds": time.perf_counter() - began,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "number": number,
        "unit": unit,
    }


TAKE = f"opening of all {DAYS - 1} days"
STEPS = ("tick, nothing taken", TAKE, "tick, days taken", "opening of the last hour")


if __name__ == "__main__":
    if len(sys.argv) == 5:
        step, source, lake, now = sys.argv[1:]
        print(json.dumps(measure(step, source, lake, datetime.fromisoformat(now))))
    else:
        main(tuple(int(size) for size in sys.argv[1:]) or SIZES)
