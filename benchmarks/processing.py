"""Processing beside its floor, on other engines, for more events and on top of a history."""

import json
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Measured, run
from clickstream_dagster.processing.workers import cores

CLICKSTREAM = str(Path(sys.executable).parent / "clickstream")
PROJECT = ("--project-id", "demo", "--app-id", "demo_web", "--app-id", "demo_mobile")
HISTORY_DAYS = 30


def generate(directory: Path, events: int, *options: str) -> Measured:
    """Write the raw objects of so many events."""
    return run(
        [CLICKSTREAM, "generate", "--out", str(directory), "--events", str(events), *options]
    )


def process(raw: Path, lake: Path, *options: str) -> Measured:
    """Process a directory of raw objects into a lake; the last line of the output is counters."""
    command = [CLICKSTREAM, "process", "--source", str(raw), "--sink", str(lake)]
    return run([*command, *PROJECT, *options])


def floor_of(raw: Path) -> tuple[float, int]:
    """Give the seconds of the floor under these raw objects, and the peak memory."""
    measured = run([sys.executable, "-m", "benchmarks.floor", str(raw)])
    return float(measured.output.split()[0]), measured.peak_bytes


def compare_sizes(console: Console, directory: Path, sizes: list[int]) -> None:
    """Print processing beside its floor for batches of several sizes."""
    table = bench_table(
        f"Processing into an empty lake, on {cores()} cores, everything included",
        *("events", "floor, s", "process, s", "times the floor"),
        *("events/s a core", "raw MB/s a core", "JSON MB/s a core", "peak memory"),
    )
    for events in sizes:
        raw, lake = directory / f"raw-{events}", directory / f"lake-{events}"
        with console.status(f"processing {events:,} events"):
            generate(raw, events)
            floor, _ = floor_of(raw)
            measured = process(raw, lake)
            unpacked = sum(map(json_bytes, raw.rglob("*.gz")))
        counters = json.loads(measured.output.splitlines()[-1])
        share = measured.seconds * cores()
        table.add_row(
            f"{events:,}",
            f"{floor:.2f}",
            f"{measured.seconds:.1f}",
            f"{measured.seconds / floor:.2f}",
            f"{counters['events'] / share:,.0f}",
            f"{counters['bytes'] / share / 1e6:.1f}",
            f"{unpacked / share / 1e6:.1f}",
            f"{measured.peak_bytes / 2**30:.2f} GiB",
        )
        shutil.rmtree(raw)
        shutil.rmtree(lake)
    console.print(table)


def compare_engines(console: Console, directory: Path, events: int) -> None:
    """Print the same batch on Sail and on a local JVM Spark, both warm."""
    raw = directory / "raw-engines"
    generate(raw, events)
    table = bench_table(
        f"{events:,} events, warm: the second batch of a session", "engine", "s", "x"
    )
    seconds: dict[str, float] = {}
    for engine in ("sail", "spark"):
        with console.status(f"processing on {engine}"):
            measured = run([sys.executable, "-m", "benchmarks.warm", engine, str(raw)])
        seconds[engine] = float(measured.output.split()[-1])
        name = f"{engine} (JVM, local[{cores()}])" if engine == "spark" else engine
        table.add_row(name, f"{seconds[engine]:.1f}", f"{seconds[engine] / seconds['sail']:.2f}")
    console.print(table)
    shutil.rmtree(raw)


def compare_history(console: Console, directory: Path, events_a_day: int) -> None:
    """Print a day's batch on an empty lake and behind HISTORY_DAYS of others, each a batch."""
    raw = directory / "raw-history"
    days = HISTORY_DAYS + 1
    generate(raw, days * events_a_day, "--days", str(days))
    *history, last = sorted(raw.glob("year=*/month=*/day=*"))
    table = bench_table(
        f"A day of {events_a_day:,} events as one batch, best of three", "lake", "s", "x"
    )
    full = directory / "lake-history"
    for number, day in enumerate(history, 1):
        with console.status(f"history: day {number} of {len(history)}"):
            process(day, full)
    alone = _best(last, directory, None)
    behind = _best(last, directory, full)
    table.add_row("empty", f"{alone:.2f}", "1.00")
    table.add_row(f"{len(history)} days before", f"{behind:.2f}", f"{behind / alone:.2f}")
    console.print(table)


def _best(day: Path, directory: Path, history: Path | None) -> float:
    """Give the least seconds of three runs: into empty lakes, or again behind a history."""
    seconds = []
    for _ in range(3):
        lake = directory / "lake-of-day"
        seconds.append(process(day, history or lake, "--batch", "last").seconds)
        if history is None:
            shutil.rmtree(lake)
    return min(seconds)


def json_bytes(path: Path) -> int:
    """Give the unpacked size of a gzip file of one member below 4 GiB: its last four bytes."""
    with path.open("rb") as file:
        file.seek(-4, 2)
        return int.from_bytes(file.read(), "little")


def bench_table(title: str, first: str, *others: str) -> Table:
    """Give a table whose columns behind the first one are of numbers."""
    table = Table(title=title)
    table.add_column(first)
    for column in others:
        table.add_column(column, justify="right")
    return table
