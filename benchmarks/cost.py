"""`make bench-cost`: what processing costs a month on EMR Serverless, from processor time measured.

Measured is the work of a batch on Sail on this machine, one core taken for one vCPU of EMR. What a
job run costs beside its work is assumed: see the constants.
"""

import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.processing import generate, json_bytes, process

VCPU_HOUR_USD, GB_HOUR_USD = 0.052624, 0.0057785
"""On-demand prices of EMR Serverless in us-east-1, x86. Prices change: look them up."""

REQUEST_JSON_BYTES = 10_000
"""Requests of 1 KB, compressed to a tenth: the assumption of seed 000, "Cost"."""

START_SECONDS = 90
"""Assumed: workers get ready, the archive is unpacked, the JSON reader is compiled."""

WORKER_CORES, WORKER_GB = 4, 16
WORK_SECONDS = 600
"""A run has as many executors as its work needs to end in this time."""

_HOURS_A_MONTH = 730
_INTERVALS = {"hourly": 1, "6-hourly": 6, "daily": 24}
_SEED_USD = {
    10: {"hourly": 28, "6-hourly": 10.8, "daily": 9.6},
    100: {"hourly": 105, "6-hourly": 99, "daily": 140},
    1_000: {"hourly": 1_362, "6-hourly": 678, "daily": 873},
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A month of job runs: executors and seconds of a run, and all runs' hours and USD."""

    executors: int
    run_seconds: float
    vcpu_hours: float
    gb_hours: float

    @property
    def usd(self) -> float:
        return self.vcpu_hours * VCPU_HOUR_USD + self.gb_hours * GB_HOUR_USD


def estimate(requests_a_second: int, hours: int, cpu_seconds_a_gb: float) -> Estimate:
    """Estimate a month of runs every so many hours; GB are those of the requests' JSON."""
    gigabytes = requests_a_second * 3_600 * hours * REQUEST_JSON_BYTES / 1e9
    work = gigabytes * cpu_seconds_a_gb
    executors = math.ceil(work / (WORKER_CORES * WORK_SECONDS))
    run_seconds = START_SECONDS + work / (WORKER_CORES * executors)
    # The driver is a worker, too.
    worker_hours = (executors + 1) * run_seconds / 3_600 * _HOURS_A_MONTH / hours
    return Estimate(executors, run_seconds, WORKER_CORES * worker_hours, WORKER_GB * worker_hours)


def main(events: int) -> None:
    """Measure a batch of so many events and print the table."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    with tempfile.TemporaryDirectory(prefix="clickstream-bench-") as folder:
        raw = Path(folder) / "raw"
        with console.status("measuring"):
            generate(raw, events)
            gigabytes = sum(map(json_bytes, raw.rglob("*.gz"))) / 1e9
            measured = process(raw, Path(folder) / "lake")
    cpu_seconds_a_gb = measured.cpu_seconds / gigabytes
    table = Table(title=f"A month of processing: {cpu_seconds_a_gb:.0f} vCPU s a GB of JSON")
    for column in ("requests/s", "interval", "executors", "run, s", "vCPU h", "USD", "seed, USD"):
        table.add_column(column, justify="right")
    for requests_a_second, of_seed in _SEED_USD.items():
        for interval, hours in _INTERVALS.items():
            one = estimate(requests_a_second, hours, cpu_seconds_a_gb)
            table.add_row(
                f"{requests_a_second:,}",
                interval,
                str(one.executors),
                f"{one.run_seconds:.0f}",
                f"{one.vcpu_hours:,.1f}",
                f"{one.usd:,.1f}",
                f"{of_seed[interval]:,}",
            )
    console.print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
