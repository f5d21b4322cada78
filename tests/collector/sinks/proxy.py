"""A proxy before an AWS endpoint that can answer in its place: for what moto never refuses."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


Forward = Callable[[Request], Answer]


@contextmanager
def proxy(endpoint: str, answer: Callable[[Request, Forward], Answer]) -> Iterator[str]:
    """Give the address of a server that answers with `answer`, which may ask the endpoint."""
    place = urlsplit(endpoint)

    def forward(request: Request) -> Answer:
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() != "content-length"}
            connection.request(request.method, request.path, request.body, headers)
            told = connection.getresponse()
            return Answer(told.status, dict(told.getheaders()), told.read())
        finally:
            connection.close()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told = answer(Request(self.command, self.path, dict(self.headers), body), forward)
            self.send_response(told.status)
            for name, value in told.headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(told.body)

        do_PUT = do_POST = do_GET = do_DELETE = do_HEAD = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
