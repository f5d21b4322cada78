"""Runs that are asked for: one a window at a time, and not for ever."""

from collections.abc import Iterable

import dagster as dg

from clickstream_dagster.assets.project import Project
from clickstream_dagster.batches.windows import Window

ATTEMPTS = 3


def requests_for(
    windows: Iterable[Window],
    project: Project,
    job_name: str,
    instance: dg.DagsterInstance,
    most: int,
) -> tuple[list[dg.RunRequest], list[str]]:
    """Give at most `most` requests for windows that have not been opened yet, and the partitions
    of those that are given up.

    A window whose run is under way is left out. One that several runs have left unopened is given
    up: they failed early, and somebody has to look.
    """
    requests: list[dg.RunRequest] = []
    given_up: list[str] = []
    for window in windows:
        if len(requests) == most:
            break
        partition = project.partition_key(window)
        runs = instance.get_runs(
            dg.RunsFilter(job_name=job_name, tags={"dagster/partition": partition}),
            limit=ATTEMPTS,
        )
        if any(not run.is_finished for run in runs):
            continue
        if len(runs) == ATTEMPTS:
            given_up.append(partition)
            continue
        requests.append(dg.RunRequest(run_key=f"{partition}#{len(runs)}", partition_key=partition))
    return requests, given_up
