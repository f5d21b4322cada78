"""`make bench`: generation, processing, its floor and the models, in one run on this machine."""

import json
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Measured, run
from clickstream_dagster.processing.workers import cores

CLICKSTREAM = str(Path(sys.executable).parent / "clickstream")
PROJECT = ("--project-id", "demo", "--app-id", "demo_web", "--app-id", "demo_mobile")


def main(events: int) -> None:
    """Measure with so many generated events and print a table."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="clickstream-bench-") as directory:
        raw, lake = f"{directory}/raw", f"{directory}/lake"
        warehouse = f"{directory}/warehouse.duckdb"
        table = Table(title=f"{events:,} events on {cores()} cores")
        for column in ("step", "seconds", "events/s", "peak memory", "times the floor"):
            table.add_column(column, justify="left" if column == "step" else "right")

        def add(step: str, seconds: float, peak: int | None, ratio: float | None) -> None:
            table.add_row(
                step,
                f"{seconds:.1f}",
                f"{events / seconds:,.0f}",
                "" if peak is None else f"{peak / 2**30:.2f} GiB",
                "" if ratio is None else f"{ratio:.2f}",
            )

        with console.status("generating"):
            generated = run([CLICKSTREAM, "generate", "--out", raw, "--events", str(events)])
        add("generate", generated.seconds, generated.peak_bytes, None)
        with console.status("measuring the floor"):
            measured = run([sys.executable, "-m", "benchmarks.floor", raw])
        floor = float(measured.output.split()[0])
        add("floor: gunzip, decode, parse", floor, measured.peak_bytes, 1.0)
        with console.status("processing"):
            processed = _process(raw, lake)
        add("process", processed.seconds, processed.peak_bytes, processed.seconds / floor)
        with console.status("processing again"):
            again = _process(raw, lake)
        add("process again", again.seconds, again.peak_bytes, again.seconds / floor)
        with console.status("modelling"):
            model = ("--sink", lake, "--project-id", "demo", "--warehouse", warehouse)
            modelled = run([CLICKSTREAM, "model", *model])
        add("model, from nothing", modelled.seconds, modelled.peak_bytes, None)
        console.print(table)
        size = sum(path.stat().st_size for path in Path(raw).rglob("*.gz"))
        counters = json.loads(processed.output.splitlines()[-1])
        console.print(
            f"{size / 1e6:,.0f} MB of raw objects, {size / 1e6 / processed.seconds:.1f} MB/s;"
            f" {counters['written']:,} events written in {counters['data_files']} files;"
            f" load before: {os.getloadavg()[0]:.1f}"
        )


def _process(raw: str, lake: str) -> Measured:
    return run([CLICKSTREAM, "process", "--source", raw, "--sink", lake, *PROJECT])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
