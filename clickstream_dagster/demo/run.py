"""The demo: traffic, one Dagster run over all of its windows, and what came out.

The same assets, component and job as in production run here, in this process. Whatever an
interrupted demo has left, the next one completes.
"""

import json
import os
import uuid
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

import dagster as dg
from rich.console import Console

from clickstream_dagster import deployment
from clickstream_dagster.demo.progress import shown_progress, terminal_to
from clickstream_dagster.demo.report import show_counters, show_tables
from clickstream_dagster.errors import ClickstreamError
from clickstream_dagster.sample.plan import TrafficPlan

JOB = "demo_pipeline"
EVENTS = dg.AssetKey(["demo", "ods_event"])
PROCESS_TAG = "clickstream/demo_process"
TOKEN_TAG = "clickstream/demo"
PLAN = TrafficPlan(events=200_000, days=7, seed=1)


class DemoError(ClickstreamError):
    """The demo can't go on; its run in Dagster says more."""


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
        show_counters(console, instance, EVENTS, demo_windows())
    show_tables(console, data / "warehouse.duckdb", plan)
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
    return demo_definitions().resolve_job_def(JOB)


def demo_windows() -> list[str]:
    """Give the partitions of the job, oldest first."""
    return list(demo_job().partitions_def.get_partition_keys())


@cache
def demo_definitions() -> dg.Definitions:
    """Give the definitions of the deployment, loaded once."""
    from clickstream_dagster.definitions import defs

    return defs()


def windows_to_do(instance: dg.DagsterInstance, data: Path) -> list[str]:
    """Give the partitions that some asset of the job has not got yet, oldest first.

    All of them when the lake or the warehouse is gone.
    """
    partitions = demo_windows()
    if not (data / "lake" / "catalog.db").exists() or not (data / "warehouse.duckdb").exists():
        return partitions
    done = set(partitions)
    for key in demo_job().asset_layer.executable_asset_keys:
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
        terminal_to(Path(os.environ["DAGSTER_HOME"]) / "logs" / "demo.log"),
        shown_progress(console, instance, {TOKEN_TAG: token}, len(windows)),
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


def _failure(instance: dg.DagsterInstance, run_id: str) -> str:
    for record in instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.STEP_FAILURE
    ).records:
        data = record.event_log_entry.dagster_event.step_failure_data
        if data.error.cls_name == "DagsterExecutionInterruptedError":
            return "interrupted; `clickstream demo` goes on from here"
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
