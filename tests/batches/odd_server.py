"""An S3 server with a mind of its own: what S3-compatible servers do and AWS rarely does."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

NO_SUCH_KEY = b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"
EMPTY_LISTING = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"


@contextmanager
def odd_server(conflicts: int = 0, conditional: bool = True) -> Iterator[str]:
    """Give the address of a server that answers the first puts with conflicts, and fails at posts.

    It may also not know conditional writes, and replaces what it should not.
    """
    objects: dict[str, bytes] = {}
    left = [conflicts]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if left[0]:
                left[0] -= 1
                self.answer(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>")
            elif conditional and self.headers.get("If-None-Match") and self.path in objects:
                self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            else:
                objects[self.path] = body
                self.answer(200, b"")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.answer(500, b"<html><body>Internal Server Error</body></html>")

        def do_GET(self) -> None:
            if "list-type=2" in self.path:
                self.answer(200, EMPTY_LISTING)
            elif self.path in objects:
                self.answer(200, objects[self.path])
            else:
                self.answer(404, NO_SUCH_KEY)

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
