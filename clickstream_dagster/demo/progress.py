"""How far the demo is: what its Dagster run writes to the event log, as bars in the terminal."""

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

STEPS = {
    "demo__raw_batch": "Raw files into windows",
    "demo_lake_events": "Events into the lake",
    "demo_duckdb_models": "Models in the warehouse",
}

_PROGRESS = re.compile(r"\((\d+) of (\d+)\)")


def own_console() -> Console:
    """Give a console that still reaches the terminal while standard output is sent elsewhere."""
    return Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1))


@contextmanager
def shown_progress(
    console: Console, instance: dg.DagsterInstance, tags: dict[str, str], windows: int
) -> Iterator[None]:
    """Show the progress of the run with some tags while it goes on in this thread."""
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<26}"),
        BarColumn(),
        TextColumn("{task.completed:>3} of {task.total}"),
        TimeElapsedColumn(),
        TextColumn(
            "[dim]{task.fields[last]}",
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        console=console,
        expand=True,  # so that the last column gives way in a narrow terminal, not the others
    )
    tasks = {
        step: bars.add_task(name, total=windows, start=False, last="")
        for step, name in STEPS.items()
    }
    ended = threading.Event()

    def follow() -> None:
        run_id, cursor = None, None
        while True:
            last_look = ended.is_set()
            if run_id is None:
                runs = instance.get_runs(dg.RunsFilter(tags=tags), limit=1)
                run_id = runs[0].run_id if runs else None
            if run_id is not None:
                page = instance.get_records_for_run(run_id, cursor=cursor)
                cursor = page.cursor
                for record in page.records:
                    _advance(bars, tasks, record.event_log_entry)
            if last_look:
                return
            ended.wait(0.5)

    with bars:
        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=10)


@contextmanager
def terminal_to(log: Path) -> Iterator[None]:
    """Send what Dagster, dbt and the engine write to the terminal to a file.

    They write to the file descriptors, some from other processes, so that is where it is caught;
    the console of the demo has a descriptor of its own.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file, ExitStack() as restore:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for descriptor in (1, 2):
            saved = os.dup(descriptor)
            restore.callback(os.close, saved)
            restore.callback(os.dup2, saved, descriptor)
            os.dup2(file.fileno(), descriptor)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()


def _advance(bars: Progress, tasks: dict[str, int], entry: dg.EventLogEntry) -> None:
    task = tasks.get(entry.step_key or "")
    if task is None:
        return
    kind = entry.dagster_event_type
    if kind is dg.DagsterEventType.STEP_START:
        bars.start_task(task)
    elif kind is dg.DagsterEventType.STEP_SUCCESS:
        bars.update(task, last="")
        bars.stop_task(task)
    found = _PROGRESS.search(entry.user_message) if entry.dagster_event is None else None
    if found:
        bars.update(
            task, completed=int(found[1]), total=int(found[2]), last=entry.user_message[:60]
        )
