"""Requests are posted to a real HTTP server as the SDKs post them."""

import pytest

from clickstream_dagster.sample.generator import generate
from clickstream_dagster.sample.plan import TrafficPlan
from clickstream_dagster.sample.poster import PostError, post_requests
from tests.sample.collector import Collector

REQUESTS = list(generate(TrafficPlan(events=300, days=1)))


def test_requests_arrive_as_they_are_over_one_connection(collector: Collector) -> None:
    sent = post_requests(REQUESTS, collector.endpoint)
    assert collector.received == [(r.uri, r.user_agent, r.address, r.body) for r in REQUESTS]
    assert len(collector.clients) == 1
    assert sent == sum(len(r.body.encode()) for r in REQUESTS)


def test_the_endpoint_may_have_its_own_path(collector: Collector) -> None:
    post_requests(REQUESTS[:1], f"{collector.endpoint}/events/in")
    assert collector.received[0][0] == REQUESTS[0].uri.replace("/collect", "/events/in")


def test_a_closed_connection_is_opened_again(collector: Collector) -> None:
    collector.hang_up = True
    post_requests(REQUESTS[:20], collector.endpoint)
    assert len(collector.received) == 20


def test_a_refusal_names_the_status_and_the_app(collector: Collector) -> None:
    collector.status = 403
    with pytest.raises(PostError, match=r"answered 403 .*'demo_.*registered"):
        post_requests(REQUESTS, collector.endpoint)
    assert len(collector.received) == 1


def test_an_endpoint_that_nobody_serves_is_an_error() -> None:
    with Collector() as closed:
        endpoint = closed.endpoint
    with pytest.raises(PostError, match="cannot post to"):
        post_requests(REQUESTS, endpoint)


@pytest.mark.parametrize("endpoint", ["ftp://host/x", "localhost:80", "http://", "http://h:x/"])
def test_an_endpoint_must_be_a_url(endpoint: str) -> None:
    with pytest.raises(PostError, match="not an http or https URL"):
        post_requests(REQUESTS, endpoint)
