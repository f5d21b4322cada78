"""The number of events that /metrics tells."""

import base64
import gzip
import json

import pytest

from clickstream_dagster.collector.event_count import MAX_UNPACKED_BYTES, EventCount, events_in
from tests.collector.running import running_collector
from tests.served import eventually


def body(number: int) -> str:
    told = 'the word "event_type" in a value'
    return json.dumps([{"event_type": "a", "attributes": {"b": told}}] * number)


def packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (body(3), 3),
        (packed(body(100)), 100),
        (body(1)[1:-1], 1),
        ("no events at all", 1),
        ("H4sI no base64", 1),
        (packed(body(3))[:40], 1),
        (base64.b64encode(b"\x1f\x8b\x08\x00 no gzip").decode(), 1),
    ],
)
def test_counts_the_events_of_a_body(text: str, events: int) -> None:
    assert events_in(text) == events


def test_a_body_that_unpacks_to_very_much_is_counted_in_part() -> None:
    one = len(body(2)) - len(body(1))
    assert events_in(packed(body(50_000))) == pytest.approx(MAX_UNPACKED_BYTES / one, rel=0.01)


def test_requests_beyond_its_time_count_as_those_within() -> None:
    count = EventCount(share=1e-9)  # the first request of a second uses it up
    for _ in range(50):
        count.add("web", body(4))
    count.add("ios", body(4))
    assert count.take() == {"web": 200, "ios": 1}  # nothing is known of ios yet
    count.add("ios", body(6))
    count.add("ios", body(9))
    count.add("web", body(9))
    assert count.take() == {"ios": 12, "web": 4}
    assert count.take() == {}


def test_prometheus_is_told_the_events_by_app(tmp_path) -> None:
    with running_collector(tmp_path, apps=("web", "ios")) as it:
        for text, app in ((body(3), "web"), (packed(body(10)), "ios"), (body(2), "web")):
            assert it.send(text.encode(), query=f"appId={app}").status == 200
        it.send(body(7).encode(), query="appId=stranger")

        def told() -> bool:
            text = it.metrics()
            return (
                'clickstream_collector_events_total{app="web"} 5.0' in text
                and 'clickstream_collector_events_total{app="ios"} 10.0' in text
            )

        eventually(told, 20, it.metrics)
