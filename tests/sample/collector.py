"""A small HTTP server that takes events as the collector does, and remembers them."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.served import in_a_thread


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


@contextmanager
def served_collector() -> Iterator[Collector]:
    """Give a collector that serves in a thread of its own."""
    server = Collector()
    with in_a_thread(server):
        yield server
