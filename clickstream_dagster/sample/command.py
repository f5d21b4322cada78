"""The work of `clickstream generate`: progress while it runs, a table when it is done."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clickstream_dagster.sample.generator import generate
from clickstream_dagster.sample.plan import TrafficPlan
from clickstream_dagster.sample.poster import post_requests
from clickstream_dagster.sample.requests import RawRequest
from clickstream_dagster.sample.summary import TrafficSummary
from clickstream_dagster.sample.writer import write_files

_STEP = 2000


def generate_files(plan: TrafficPlan, directory: Path) -> TrafficSummary:
    """Write the traffic of a plan below a directory, with progress on standard error.

    Raises:
        OutputError: the directory cannot be written to.
    """
    summary = TrafficSummary()
    with _progress() as progress:
        written = write_files(_shown(plan, summary, progress), directory)
    summary.files, summary.bytes = written.files, written.bytes
    return summary


def generate_posts(plan: TrafficPlan, endpoint: str) -> TrafficSummary:
    """Post the traffic of a plan to a collector, with progress on standard error.

    Raises:
        PostError: the endpoint cannot be reached or refuses.
    """
    summary = TrafficSummary()
    with _progress() as progress:
        summary.bytes = post_requests(_shown(plan, summary, progress), endpoint)
    return summary


def summary_table(summary: TrafficSummary, title: str) -> Table:
    """The summary as a table of names and numbers."""
    table = Table("count", title=title, title_justify="left")
    table.add_column("number", justify="right")
    for field in fields(summary):
        table.add_row(field.name.replace("_", " "), f"{getattr(summary, field.name):,}")
    return table


def _progress() -> Progress:
    return Progress(
        TextColumn("events"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
    )


def _shown(plan: TrafficPlan, summary: TrafficSummary, progress: Progress) -> Iterator[RawRequest]:
    """The requests of a plan, counted, and shown as they pass."""
    task = progress.add_task("events", total=plan.events)
    for number, request in enumerate(summary.watch(generate(plan))):
        yield request
        if number % _STEP == 0:
            progress.update(task, completed=summary.events)
    progress.update(task, completed=summary.events)
