"""A proxy before an AWS endpoint that can answer in its place: for what moto never refuses."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.answering import Answer, Request, answering

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

    with answering(lambda request: answer(request, forward)) as address:
        yield address
