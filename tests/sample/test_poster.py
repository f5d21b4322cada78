"""Requests are posted to a real HTTP server as the SDKs post them."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from clickstream_dagster.sample.generator import generate
from clickstream_dagster.sample.plan import TrafficPlan
from clickstream_dagster.sample.poster import PostError, post_requests

REQUESTS = list(generate(TrafficPlan(events=300, days=1)))


class Collector(ThreadingHTTPServer):
    """Answers `status`, and remembers what came; `hang_up` closes after each answer."""

    status = 200
    hang_up = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, str, str, str]] = []
        self.clients: set[tuple[str, int]] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        agent, address = self.headers["User-Agent"], self.headers["X-Forwarded-For"]
        self.server.received.append((self.path, agent, address, body))
        self.server.clients.add(self.client_address)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = self.server.hang_up

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


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
