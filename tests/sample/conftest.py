"""One run of the generator, decoded without any of its own code."""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from clickstream_dagster.sample.generator import generate
from clickstream_dagster.sample.plan import TrafficPlan
from clickstream_dagster.sample.requests import RawRequest
from clickstream_dagster.sample.summary import TrafficSummary
from tests.sample.collector import Collector, served_collector


@dataclass(frozen=True)
class Traffic:
    """A plan, its requests with their events (None where the body cannot be read), its summary."""

    plan: TrafficPlan
    requests: list[RawRequest]
    decoded: list[list[dict[str, Any]] | None]
    summary: TrafficSummary

    def events(self) -> list[dict[str, Any]]:
        """All events in order of arrival, with the repeated ones."""
        return [event for events in self.decoded if events for event in events]

    def sessions(self) -> dict[str, list[dict[str, Any]]]:
        """The distinct events of each session in the order in which they happened."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for event in self.events():
            session = found.setdefault(event["attributes"]["_session_id"], {})
            session.setdefault(event["event_id"], event)
        return {
            key: sorted(events.values(), key=lambda event: event["timestamp"])
            for key, events in found.items()
        }


def decode(body: str) -> list[dict[str, Any]] | None:
    """The events of a body; None if it is damaged."""
    try:
        text = body if body.startswith("[") else gzip.decompress(base64.b64decode(body))
        events = json.loads(text)
    except (ValueError, EOFError, OSError):
        return None
    return events if isinstance(events, list) else None


@pytest.fixture(scope="session")
def make_traffic() -> Callable[[TrafficPlan], Traffic]:
    def make(plan: TrafficPlan) -> Traffic:
        summary = TrafficSummary()
        requests = list(summary.watch(generate(plan)))
        return Traffic(plan, requests, [decode(r.body) for r in requests], summary)

    return make


@pytest.fixture(scope="session")
def traffic(make_traffic: Callable[[TrafficPlan], Traffic]) -> Traffic:
    return make_traffic(TrafficPlan(events=20_000, days=5, seed=7))


@pytest.fixture
def collector() -> Iterator[Collector]:
    with served_collector() as server:
        yield server
