"""Lambda@Edge function behind CloudFront: each request with events becomes a record of Firehose.

Handler: `handler.handler`, for origin requests with their body (of a viewer's request CloudFront
shows 40 KB, of an origin's 1 MB). At the edge there is no environment: what it has to know are
custom headers of the distribution's origin, see infra/cloudformation/serverless-ingestion.yaml.
It answers 200 when Firehose has the record, which keeps it in three zones from then on (seed 002,
"Beacon endpoint"); the contract is else that of the collector (docs/collector.md).
"""

import base64
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from record import RefusalError, line, new_id, parameters, pixel_events, text_of

_LOG = logging.getLogger(__name__)
_LOG.setLevel(logging.INFO)
_GIF = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw=="
_ORIGIN = re.compile(r"(https?)://(\*\.)?([a-z0-9-]+(?:\.[a-z0-9-]+)*)(:[0-9]{1,5})?", re.I)
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": (
        "Content-Type, Content-Encoding, DNT, X-CustomHeader, Keep-Alive, User-Agent, "
        "X-Requested-With, If-Modified-Since, Cache-Control"
    ),
    "access-control-max-age": "7200",
}


@dataclass(frozen=True)
class Settings:
    """What the distribution tells its function. `apps` None stands for any app, and for none."""

    stream: str
    region: str
    path: str
    apps: frozenset[str] | None
    origins: str
    takes_fake_ip: bool

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> "Settings":
        """Read the custom headers of the origin that a request is for."""
        told = request["origin"]["custom"]["customHeaders"]

        def value(name: str) -> str:
            return told[f"x-clickstream-{name}"][0]["value"]

        apps = value("apps")
        return cls(
            stream=value("stream"),
            region=value("region"),
            path=value("path"),
            apps=None if apps == "*" else frozenset(apps.split(",")),
            origins=value("origins"),
            takes_fake_ip=value("dev") == "true",
        )


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer a request of CloudFront."""
    request = event["Records"][0]["cf"]["request"]
    settings = Settings.of(request)
    path, method = request["uri"], request["method"]
    if path != settings.path:
        return _other(path, settings.path)
    shared = _cors(settings.origins, _header(request, "origin"))
    if method == "OPTIONS":
        return _answer(204, {**shared, **(_PREFLIGHT if shared else {})})
    try:
        _take(request, settings)
    except RefusalError as refusal:
        return _refused(refusal.status, str(refusal), shared)
    if method in ("GET", "HEAD"):
        headers = {"content-type": "image/gif", "cache-control": "no-store, max-age=0"}
        return _answer(200, {**headers, **shared}, _GIF, "base64")
    return _answer(200, shared)


def _take(request: Mapping[str, Any], settings: Settings) -> None:
    """Give the record of a request to Firehose. Raises RefusalError for what is not stored."""
    query = request["querystring"]
    given = parameters(query)
    if settings.apps is not None and given.get("appId") not in settings.apps:
        raise RefusalError(403, "the parameter appId names no registered app")
    body = request.get("body") or {"data": ""}
    if body.get("inputTruncated"):
        raise RefusalError(413, "the body has more than 1 MB")
    raw = body["data"]
    data = raw.encode() if body.get("encoding") == "text" else base64.b64decode(raw)
    text = text_of(data, _header(request, "content-encoding") or "")
    rid = new_id()
    if not text and request["method"] in ("GET", "HEAD"):
        text = pixel_events(given, rid)
    if not text:
        return
    written = line(
        rid=rid,
        method=request["method"],
        path=request["uri"],
        query=query,
        given=given,
        ip=request["clientIp"],
        user_agent=_header(request, "user-agent"),
        data=text,
        takes_fake_ip=settings.takes_fake_ip,
    )
    _put(settings, written)


def _put(settings: Settings, record: bytes) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        _firehose(settings.region).put_record(
            DeliveryStreamName=settings.stream, Record={"Data": record}
        )
    except (BotoCoreError, ClientError) as error:
        _LOG.error("a record is not taken: %s", error)
        raise RefusalError(503, "events can't be taken now") from error


@cache
def _firehose(region: str) -> Any:
    import boto3
    from botocore.config import Config

    # Twice at most, within the function's 15 seconds.
    config = Config(connect_timeout=2, read_timeout=4, retries={"total_max_attempts": 2})
    return boto3.client("firehose", region_name=region, config=config)


def _other(path: str, collect: str) -> dict[str, Any]:
    if path == "/ping":
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        return _answer(200, headers, json.dumps({"timestamp": round(time.time(), 3)}))
    if path == "/health":
        return _answer(200, {"content-type": "text/plain", "cache-control": "no-store"}, "ok\n")
    return _refused(404, f"send events to {collect}", {})


def _header(request: Mapping[str, Any], name: str) -> str | None:
    values = request["headers"].get(name)
    return values[0]["value"] if values else None


def _cors(allowed: str, origin: str | None) -> dict[str, str]:
    """Give the headers for a page of an origin that may send; none for another one."""
    if origin is None or not _allows(allowed, origin):
        return {}
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-credentials": "true",
        "vary": "Origin",
    }


def _allows(allowed: str, origin: str) -> bool:
    if "*" in allowed.split(","):
        return len(origin) <= 512 and origin.isascii() and origin.isprintable()
    return _pattern(allowed).fullmatch(origin) is not None


@cache
def _pattern(allowed: str) -> re.Pattern[str]:
    patterns = []
    for entry in allowed.split(","):
        if parts := _ORIGIN.fullmatch(entry):
            scheme, wildcard, host, port = parts.groups()
            below = r"(?:[a-z0-9_-]+\.)+" if wildcard else ""
            patterns.append(f"{scheme}://{below}{re.escape(host)}{port or ''}")
    return re.compile("|".join(patterns) or "(?!)", re.I)


def _refused(status: int, reason: str, shared: Mapping[str, str]) -> dict[str, Any]:
    headers = {"content-type": "text/plain; charset=utf-8", **shared}
    if status == 503:
        headers["retry-after"] = "10"
    return _answer(status, headers, f"{reason}\n")


def _answer(
    status: int, headers: Mapping[str, str], body: str = "", encoding: str = "text"
) -> dict[str, Any]:
    """Give a response as CloudFront takes it (Lambda@Edge, "Generate HTTP responses")."""
    return {
        "status": str(status),
        "headers": {name: [{"key": name, "value": value}] for name, value in headers.items()},
        "body": body,
        "bodyEncoding": encoding,
    }
