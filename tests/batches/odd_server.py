"""An S3 server with a mind of its own: what S3-compatible servers do and AWS rarely does."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.answering import Answer, Request, answering

NO_SUCH_KEY = b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"
EMPTY_LISTING = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"


@contextmanager
def odd_server(conflicts: int = 0, conditional: bool = True) -> Iterator[str]:
    """Give the address of a server that answers the first puts with conflicts, and fails at posts.

    It may also not know conditional writes, and replaces what it should not.
    """
    objects: dict[str, bytes] = {}
    left = conflicts

    def put(request: Request) -> Answer:
        nonlocal left
        if left:
            left -= 1
            return Answer(409, body=b"<Error><Code>ConditionalRequestConflict</Code></Error>")
        if conditional and "If-None-Match" in request.headers and request.path in objects:
            return Answer(412, body=b"<Error><Code>PreconditionFailed</Code></Error>")
        objects[request.path] = request.body
        return Answer(200)

    def answer(request: Request) -> Answer:
        if request.method == "PUT":
            return put(request)
        if request.method == "POST":
            return Answer(500, body=b"<html><body>Internal Server Error</body></html>")
        if "list-type=2" in request.path:
            return Answer(200, body=EMPTY_LISTING)
        if request.path in objects:
            return Answer(200, body=objects[request.path])
        return Answer(404, body=NO_SUCH_KEY)

    with answering(answer) as address:
        yield address
