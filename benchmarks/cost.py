"""`make bench-cost`: what processing costs a month on EMR Serverless, from processor time measured.

Measured is the work of a batch on Sail on this machine, one core taken for one vCPU of EMR. What a
job run costs beside its work is assumed: see clickstream_dagster/infra/job_cost.py.
"""

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.processing import generate, json_bytes, process
from clickstream_dagster.infra.job_cost import job_cost

_INTERVALS = {"hourly": 1, "6-hourly": 6, "daily": 24}
_SEED_USD = {
    10: {"hourly": 28, "6-hourly": 10.8, "daily": 9.6},
    100: {"hourly": 105, "6-hourly": 99, "daily": 140},
    1_000: {"hourly": 1_362, "6-hourly": 678, "daily": 873},
}


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
            one = job_cost(requests_a_second, hours, cpu_seconds_a_gb)
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
