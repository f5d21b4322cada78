"""`clickstream demo`: a week of generated traffic through the project `demo`, and what it shows.

The same assets, component and job as in production run here, in this process, as one Dagster run
over all windows. Whatever an interrupted demo has left, the next one completes.
"""

import json
import os
import re
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from clickstream_dagster import deployment
from clickstream_dagster.processing.errors import ClickstreamError
from clickstream_dagster.sample.plan import TrafficPlan

JOB = "demo_pipeline"
EVENTS = dg.AssetKey(["demo", "ods_event"])
PROCESS_TAG = "clickstream/demo_process"
TOKEN_TAG = "clickstream/demo"
PLAN = TrafficPlan(events=200_000, days=7, seed=1)
STEPS = {
    "demo__raw_batch": "Raw files into windows",
    "demo_lake_events": "Events into the lake",
    "demo_duckdb_models": "Models in the warehouse",
}

_PROGRESS = re.compile(r"\((\d+) of (\d+)\)")


class DemoError(ClickstreamError):
    """The demo can't go on; its run in Dagster says more."""


def own_console() -> Console:
    """Give a console that still reaches the terminal while standard output is sent elsewhere."""
    return Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1))


def run_demo(console: Console, plan: TrafficPlan = PLAN) -> None:
    """Generate the traffic, process all its windows, print what came out.

    Does only what is still to do. Raises DemoError when the run fails or another demo is at work.
    """
    home = deployment.dagster_home()
    data = deployment.root() / "data" / "demo"
    generated = make_traffic(console, data / "raw", plan)
    with dg.DagsterInstance.get() as instance:
        clear_ended_demos(instance)
        with console.status("reading the project (the first time parses its models)"):
            windows = windows_to_do(instance, data)
        if windows:
            materialize(console, instance, windows)
        elif not generated:
            console.print(
                "\n[bold]Nothing to do:[/] the traffic is there and all of its windows are "
                "processed; nothing was changed."
            )
        show_counters(console, instance)
    show_tables(console, data / "warehouse.duckdb")
    console.print(
        "\nNext: [bold]make ui[/] (or [bold]clickstream ui[/]) opens Dagster on this at "
        f"http://localhost:3000\n[dim]data in {data}, Dagster's home is {home}[/]"
    )


def make_traffic(console: Console, raw: Path, plan: TrafficPlan) -> bool:
    """Generate the raw files of a plan unless they are there; tell whether it was done."""
    from clickstream_dagster.sample.command import generate_files

    # A name that is no raw object; it is written last, so that a part is done again.
    mark = raw / "_traffic.json"
    wanted = json.dumps(asdict(plan), default=str, indent=1)
    if mark.is_file() and mark.read_text() == wanted:
        return False
    console.print(f"[bold]Traffic[/]: {plan.events:,} events of {plan.days} days into {raw}")
    generate_files(plan, raw)
    mark.write_text(wanted)
    return True


def demo_job() -> dg.JobDefinition:
    """Give the job of the project `demo`, as the deployment has it."""
    return _definitions().resolve_job_def(JOB)


@cache
def _definitions() -> dg.Definitions:
    from clickstream_dagster.definitions import defs

    return defs()


def windows_to_do(instance: dg.DagsterInstance, data: Path) -> list[str]:
    """Give the partitions that some asset of the job has not got yet, oldest first.

    All of them when the lake or the warehouse is gone.
    """
    job = demo_job()
    partitions = list(job.partitions_def.get_partition_keys())
    if not (data / "lake" / "catalog.db").exists() or not (data / "warehouse.duckdb").exists():
        return partitions
    done = set(partitions)
    for key in job.asset_layer.executable_asset_keys:
        done &= instance.get_materialized_partitions(key)
    return [partition for partition in partitions if partition not in done]


def materialize(console: Console, instance: dg.DagsterInstance, windows: list[str]) -> None:
    """Run the job over the windows as one Dagster run in this process, with progress."""
    console.print(
        f"[bold]Dagster[/]: one run of {JOB} over {len(windows)} windows, "
        f"{windows[0]} to {windows[-1]}"
    )
    token = uuid.uuid4().hex
    tags = {
        "dagster/asset_partition_range_start": windows[0],
        "dagster/asset_partition_range_end": windows[-1],
        PROCESS_TAG: str(os.getpid()),
        TOKEN_TAG: token,
    }
    with (
        _terminal_to(Path(os.environ["DAGSTER_HOME"]) / "logs" / "demo.log"),
        _progress(console, instance, token, len(windows)),
        dg.execute_job(
            dg.reconstructable(demo_job),
            instance=instance,
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        ) as result,
    ):
        if not result.success:
            raise DemoError(_failure(instance, result.run_id))


def clear_ended_demos(instance: dg.DagsterInstance) -> None:
    """End the record of demos whose process was killed, and give back what they held.

    Raises DemoError when a demo is still at work.
    """
    unfinished = dg.RunsFilter(
        job_name=JOB,
        statuses=[
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.STARTING,
            dg.DagsterRunStatus.STARTED,
            dg.DagsterRunStatus.CANCELING,
        ],
    )
    for run in instance.get_runs(unfinished):
        process = run.tags.get(PROCESS_TAG)
        if process is None:
            continue
        if _is_alive(int(process)):
            raise DemoError(
                f"another demo is at work (process {process}); wait for it, or end it first"
            )
        instance.report_run_canceled(run, message="the process of the demo was killed")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def show_counters(console: Console, instance: dg.DagsterInstance) -> None:
    """Print what became of every request and event, summed over the windows."""
    table = Table("", "count", title="What became of the requests", title_justify="left")
    table.columns[1].justify = "right"
    total = _counters(instance)
    for name, meaning in COUNTERS.items():
        if name in total:
            table.add_row(meaning, f"{total[name]:,}", style="bold" if name in BOLD else None)
    console.print()
    console.print(table)


COUNTERS = {
    "requests": "requests came in",
    "bad_requests": "  of which could not be decoded",
    "events": "events in them",
    "written": "  written to ods_event",
    "duplicate": "  duplicates, dropped",
    "too_old": "  arrived too late, dropped",
    "foreign_app": "  of a foreign app, dropped",
    "bad": "  unreadable, in bad_event",
    "bot": "written events of bots",
    "late": "written events that came more than an hour late",
}
BOLD = {"requests", "events", "written"}

TABLES = {
    "Daily active users and engagement; views and engaged seconds of a session": """
        select session_date::date as day, count(distinct user_pseudo_id) as users,
            count(*) as sessions, round(100.0 * avg(engaged_session), 1) as "engaged %",
            round(avg(session_views), 1) as views,
            round(avg(session_engagement_time) / 1000, 1) as seconds
        from demo.clickstream_session_view
        where session_date >= date '{start}' and session_date < date '{end}'
        group by all order by 1""",
    "Retention: share of each day's new users that came back": """
        with cohort as (
            select first_date as "first day", day_diff, sum(returned_user_count) as returned,
                sum(total_users) as users
            from demo.clickstream_retention_view
            where first_date >= date '{start}' and first_date < date '{end}'
            group by all)
        select "first day", max(users)::bigint as users,
            {days}
        from cohort group by all order by 1""",
    "Most frequent steps from screen to screen": """
        select platform, previous_screen as "from", current_screen as "to", count(*) as times
        from demo.clickstream_path_view
        where previous_screen is not null and current_screen is not null
            and previous_screen <> current_screen
        group by all order by times desc, 1, 2, 3 limit 8""",
    "Where users come from": """
        select first_traffic_source_source as source, first_traffic_source_medium as medium,
            count(*) as users,
            round(100.0 * avg((is_registered = 'Registered')::int), 1) as "registered %"
        from demo.clickstream_user_dim_view group by all order by users desc, 1, 2 limit 6""",
}


def show_tables(console: Console, warehouse: Path) -> None:
    """Print a few tables from the views of the warehouse."""
    import duckdb

    if not warehouse.exists():
        return
    start = PLAN.end.date().fromordinal(PLAN.end.date().toordinal() - PLAN.days)
    days = ",\n".join(
        f"coalesce(round(100.0 * max(returned) filter (day_diff = {day}) / max(users), 0)"
        f"::int::varchar, '') as \"day {day} %\""
        for day in range(1, PLAN.days)
    )
    try:
        connection = duckdb.connect(str(warehouse), read_only=True)
    except duckdb.IOException as error:
        console.print(f"\n[yellow]{warehouse} is in use, its tables are not shown:[/] {error}")
        return
    with connection:
        for title, query in TABLES.items():
            answer = connection.execute(query.format(start=start, end=PLAN.end.date(), days=days))
            table = Table(title=title, title_justify="left")
            for name, type_, *_ in answer.description:
                table.add_column(name, justify="left" if "VARCHAR" in str(type_) else "right")
            for row in answer.fetchall():
                table.add_row(*("" if value is None else _text(value) for value in row))
            console.print()
            console.print(table)


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _counters(instance: dg.DagsterInstance) -> dict[str, int]:
    """Sum the counters in the metadata of each window's last materialization."""
    total: dict[str, int] = {}
    for partition in demo_job().partitions_def.get_partition_keys():
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=EVENTS, asset_partitions=[partition]), limit=1
        ).records
        for record in records:
            for name, value in record.asset_materialization.metadata.items():
                if name in COUNTERS and isinstance(value.value, int):
                    total[name] = total.get(name, 0) + value.value
    return total


@contextmanager
def _progress(
    console: Console, instance: dg.DagsterInstance, token: str, windows: int
) -> Iterator[None]:
    """Show the run's progress while it goes on in this thread; its event log is the source."""
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<26}"),
        BarColumn(),
        TextColumn("{task.completed:>3} of {task.total}"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[last]}"),
        console=console,
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
                runs = instance.get_runs(dg.RunsFilter(tags={TOKEN_TAG: token}), limit=1)
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


@contextmanager
def _terminal_to(log: Path) -> Iterator[None]:
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


def _failure(instance: dg.DagsterInstance, run_id: str) -> str:
    for record in instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.STEP_FAILURE
    ).records:
        data = record.event_log_entry.dagster_event.step_failure_data
        message = data.user_failure_data.description if data.user_failure_data else None
        return (
            f"the run {run_id} failed: {message or data.error.message.strip()}\n"
            "`clickstream ui` shows its log; `clickstream demo` goes on from here"
        )
    return f"the run {run_id} did not succeed; `clickstream ui` shows its log"


def _is_alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        try:
            os.kill(process, 0)
        except PermissionError:
            return True
        return process != os.getpid()
    return False
