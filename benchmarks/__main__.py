"""`make bench`: generation, processing beside its floor, and the models, in one run."""

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Measured, run
from benchmarks.processing import (
    CLICKSTREAM,
    compare_engines,
    compare_history,
    compare_sizes,
    floor_of,
    generate,
    process,
)
from clickstream_dagster.processing.workers import cores


def main(events: int) -> None:
    """Measure with so many generated events, a tenth and five times of them; print tables."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="clickstream-bench-") as folder:
        directory = Path(folder)
        _whole_chain(console, directory, events)
        compare_sizes(console, directory, [events // 10, events, 5 * events])
        compare_engines(console, directory, events // 2)
        compare_history(console, directory, events // 10)


def _whole_chain(console: Console, directory: Path, events: int) -> None:
    raw, lake = directory / "raw", directory / "lake"
    table = Table(title=f"{events:,} events on {cores()} cores")
    for column in ("step", "seconds", "events/s", "peak memory", "times the floor"):
        table.add_column(column, justify="left" if column == "step" else "right")

    def add(step: str, seconds: float, peak: int, ratio: float | None = None) -> None:
        table.add_row(
            step,
            f"{seconds:.1f}",
            f"{events / seconds:,.0f}",
            f"{peak / 2**30:.2f} GiB",
            "" if ratio is None else f"{ratio:.2f}",
        )

    def add_measured(step: str, measured: Measured, floor: float | None = None) -> None:
        ratio = measured.seconds / floor if floor else None
        add(step, measured.seconds, measured.peak_bytes, ratio)

    with console.status("generating"):
        add_measured("generate", generate(raw, events))
    with console.status("measuring the floor"):
        floor, peak = floor_of(raw)
    add("floor: gunzip, decode, parse", floor, peak, 1.0)
    with console.status("processing"):
        add_measured("process", process(raw, lake), floor)
    with console.status("processing again"):
        add_measured("process again", process(raw, lake), floor)
    with console.status("modelling"):
        model = ("--sink", str(lake), "--project-id", "demo")
        warehouse = str(directory / "warehouse.duckdb")
        add_measured(
            "model, from nothing", run([CLICKSTREAM, "model", *model, "--warehouse", warehouse])
        )
    console.print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
