"""A server that answers as a test says: for what a real one can't be brought to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.served import in_a_thread

_OF_THE_SERVER = ("content-length", "connection", "transfer-encoding")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@contextmanager
def answering(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """Give the address of a server, HTTP/1.1, that answers every request with `answer`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # the body would wait for the client to confirm the head

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told = answer(Request(self.command, self.path, dict(self.headers), body))
            self.send_response(told.status)
            for name, value in told.headers.items():
                if name.lower() not in _OF_THE_SERVER:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(told.body)

        do_PUT = do_POST = do_GET = do_DELETE = do_HEAD = handle_any

        def log_message(self, *_: object) -> None:
            pass

    with in_a_thread(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield address
