"""`clickstream backfill`: a range of windows as one run, started by a Dagster that is up.

`dagster job backfill` starts a run for each window; this asks for one run over all of them, which
only Dagster's GraphQL API can (`launchPartitionBackfill`).
"""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clickstream_dagster.errors import ClickstreamError

ASSETS = """
query Assets { assetNodes { assetKey { path } jobNames isMaterializable } }
"""
WINDOWS = """
query Windows($key: AssetKeyInput!) { assetNodes(assetKeys: [$key]) { partitionKeys } }
"""
DAEMONS = """
query Daemons { instance { daemonHealth { allDaemonStatuses { daemonType healthy } } } }
"""
LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
    ... on PartitionKeysNotFoundError { message }
    ... on RunConflict { message }
  }
}
"""
STATE = """
query State($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill { status runs(limit: 20) { runId status } error { message } }
    ... on BackfillNotFoundError { message }
    ... on PythonError { message }
  }
}
"""
NEEDED_DAEMONS = ("BACKFILL", "QUEUED_RUN_COORDINATOR")
SUCCEEDED = "COMPLETED_SUCCESS"
ENDED = {SUCCEEDED, "COMPLETED", "COMPLETED_FAILED", "FAILED", "CANCELED"}
_SECONDS_BETWEEN_LOOKS = 2


class BackfillError(ClickstreamError):
    """A backfill that can't be started, or that has failed."""


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill that Dagster has taken: its id, and the windows from first to last."""

    id: str
    windows: tuple[str, ...]


class Deployment:
    """A Dagster that is up, by the address of its UI."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def ask(self, query: str, **variables: Any) -> Mapping[str, Any]:
        """Send one GraphQL request and give its data. Raises BackfillError."""
        question = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        try:
            request = urllib.request.Request(f"{self.url}/graphql", question, headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                body = json.load(answer)
        except urllib.error.HTTPError as error:
            raise BackfillError(
                f"{self.url} answers {error.code}: {error.read()[:500]!r}"
            ) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise BackfillError(
                f"no Dagster answers at {self.url} ({error}); start it with `clickstream ui`, or "
                "name another with --url, such as http://127.0.0.1:3000"
            ) from error
        if body.get("errors"):
            raise BackfillError(f"{self.url} refuses: {body['errors'][0]['message']}")
        return body["data"]


def start_backfill(url: str, project_id: str, first: str, last: str) -> Backfill:
    """Ask Dagster to process the windows from `first` to `last` of a project in one run.

    Both are partitions or the beginning of some: a date means all windows of the day. Raises
    BackfillError when there are none, or when no Dagster is up that could run them.
    """
    deployment = Deployment(url)
    assets = [
        node["assetKey"]
        for node in deployment.ask(ASSETS)["assetNodes"]
        if node["isMaterializable"] and f"{project_id}_pipeline" in node["jobNames"]
    ]
    if not assets:
        raise BackfillError(f"{url} has no project {project_id!r}")
    key = {"path": assets[0]["path"]}
    partitions = deployment.ask(WINDOWS, key=key)["assetNodes"][0]["partitionKeys"]
    windows = windows_between(partitions, first, last)
    health = deployment.ask(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
    healthy = {one["daemonType"] for one in health if one["healthy"]}
    if not healthy.issuperset(NEEDED_DAEMONS):
        raise BackfillError(
            f"the Dagster at {url} has no daemon running, so nothing would start the run; start "
            "both with `clickstream ui`, or the daemon with `dagster-daemon run`"
        )
    answer = deployment.ask(
        LAUNCH,
        params={
            "assetSelection": [{"path": asset["path"]} for asset in assets],
            "partitionNames": list(windows),
            "title": f"{project_id} {windows[0]} to {windows[-1]}",
        },
    )["launchPartitionBackfill"]
    if answer["__typename"] != "LaunchBackfillSuccess":
        raise BackfillError(
            f"{url} refuses the backfill: {answer.get('message') or answer['__typename']}"
        )
    return Backfill(answer["backfillId"], windows)


def windows_between(partitions: list[str], first: str, last: str) -> tuple[str, ...]:
    """Give the partitions from `first` to `last`, both included. Raises BackfillError for none."""
    low, high = first.replace("T", "-"), last.replace("T", "-")
    found = tuple(
        partition for partition in partitions if low <= partition and partition[: len(high)] <= high
    )
    if not found:
        span = f"{partitions[0]} to {partitions[-1]}" if partitions else "none yet"
        raise BackfillError(f"no window lies from {first} to {last}; the project has {span}")
    return found


def wait_for(url: str, backfill: Backfill, tell: Callable[[str], None]) -> None:
    """Wait for the end of a backfill; `tell` gets what changes.

    Raises BackfillError when it does not succeed.
    """
    deployment, before = Deployment(url), ""
    while True:
        state = deployment.ask(STATE, id=backfill.id)["partitionBackfillOrError"]
        if state["__typename"] != "PartitionBackfill":
            raise BackfillError(f"the backfill {backfill.id} is gone: {state['message']}")
        runs = ", ".join(f"run {run['runId'][:8]} {run['status']}" for run in state["runs"])
        now = f"{state['status']}{': ' + runs if runs else ''}"
        if now != before:
            tell(now)
            before = now
        if state["status"] in ENDED:
            break
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    failed = any(run["status"] != "SUCCESS" for run in state["runs"])
    if state["status"] not in (SUCCEEDED, "COMPLETED") or failed:
        reason = state["error"]["message"] if state["error"] else f"see {deployment.url}/runs"
        raise BackfillError(f"the backfill {backfill.id} has not succeeded: {reason}")
