"""Requests posted to a collector over HTTP, as the SDKs do."""

import http.client
from collections.abc import Iterable
from urllib.parse import urlsplit

from clickstream_dagster.sample.requests import RawRequest

TIMEOUT_SECONDS = 15


class PostError(Exception):
    """The endpoint is no URL, cannot be reached or refuses; the message says which."""


def post_requests(requests: Iterable[RawRequest], endpoint: str) -> int:
    """Post requests one by one over one connection; gives the number of bytes in their bodies.

    The endpoint's path replaces `/collect`, the query is the request's. A connection that the
    server has closed is opened again once per request.

    Raises:
        PostError: the endpoint is not http(s), cannot be reached, or answers other than 200.
    """
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise PostError(f"{endpoint!r} is not an http or https URL")
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(url.hostname, url.port, timeout=TIMEOUT_SECONDS)
    except ValueError as error:
        raise PostError(f"{endpoint!r} is not an http or https URL: {error}") from error
    path = url.path if url.path not in ("", "/") else "/collect"
    sent = 0
    try:
        for request in requests:
            sent += _post(connection, request, path, endpoint)
    finally:
        connection.close()
    return sent


def _post(
    connection: http.client.HTTPConnection, request: RawRequest, path: str, endpoint: str
) -> int:
    body = request.body.encode()
    target = f"{path}?{request.uri.partition('?')[2]}"
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": request.user_agent,
        "X-Forwarded-For": request.address,
    }
    try:
        status = _exchange(connection, target, body, headers)
    except (http.client.HTTPException, OSError) as error:
        raise PostError(f"cannot post to {endpoint}: {error}") from error
    if status != 200:
        raise PostError(
            f"{endpoint} answered {status} to a request of app {request.app_id!r}, not 200"
            + ("; is the app registered there?" if status == 403 else "")
        )
    return len(body)


def _exchange(
    connection: http.client.HTTPConnection, target: str, body: bytes, headers: dict[str, str]
) -> int:
    was_open = connection.sock is not None
    try:
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
    except ConnectionError:
        connection.close()
        if not was_open:
            raise
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
    response.read()
    return response.status
