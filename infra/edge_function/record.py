"""What is kept of a request: the record that the collector would write (docs/collector.md)."""

import base64
import gzip
import json
import re
import time
import uuid
import zlib
from collections.abc import Mapping
from urllib.parse import unquote_plus

MAX_RECORD_BYTES = 1_024_000
"""Firehose takes no larger record."""

_MAX_BODY_BYTES = 8 << 20
_MAX_PARAMETERS = 200
_MAX_USER_AGENT = 4_096
_EVENT_FIELDS = ("unique_id", "device_id", "locale", "host_name", "app_title", "app_version")
_ATTRIBUTE = "attributes."
_MS = re.compile(r"[0-9]{1,15}")
_WINDOW_BITS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}  # zlib's; deflate has two


class RefusalError(Exception):
    """A request that is not stored: with which HTTP status, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def parameters(query: str) -> dict[str, str]:
    """Give the parameters of a query string; of a name that comes twice, the last one."""
    pairs = (pair.partition("=") for pair in query.split("&", _MAX_PARAMETERS))
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}


def text_of(body: bytes, content_encoding: str) -> str:
    """Give a body as text; bytes that are none as their base64, which processing unpacks.

    Raises RefusalError for an encoding that is unknown or damaged (400), or too large (413).
    """
    encoding = content_encoding.strip().lower()
    if encoding not in ("", "identity"):
        body = _unpacked(body, encoding)
    try:
        return body.decode()
    except UnicodeDecodeError:
        return base64.b64encode(body).decode()


def pixel_events(given: Mapping[str, str], event_id: str) -> str:
    """Give the events of a GET request, empty when it names none. Raises RefusalError (400)."""
    if "data" in given:
        return given["data"]
    if not given.get("event_type"):
        return ""
    user = given.get("unique_id") or given.get("device_id")
    if not user:
        raise RefusalError(400, "event_type needs unique_id or device_id beside it")
    timestamp = given.get("timestamp", "")
    event = {
        "event_type": given["event_type"],
        "event_id": event_id,
        "timestamp": int(timestamp) if _MS.fullmatch(timestamp) else _now_ms(),
        "app_id": given.get("appId"),
        "platform": given.get("platform"),
        "unique_id": user,
        "device_id": user,
    }
    event |= {name: given[name] for name in _EVENT_FIELDS if name in given}
    event["attributes"] = {
        name.removeprefix(_ATTRIBUTE): value
        for name, value in given.items()
        if name.startswith(_ATTRIBUTE)
    }
    return _json([event])


def new_id() -> str:
    """Give an id of a request: 32 hex digits."""
    return uuid.uuid4().hex


def line(
    *,
    rid: str,
    method: str,
    path: str,
    query: str,
    given: Mapping[str, str],
    ip: str,
    user_agent: str | None,
    data: str,
    takes_fake_ip: bool,
) -> bytes:
    """Give the record of a request with its newline. `ip` is the client's address.

    Raises RefusalError (413) for one that Firehose would not take, compressed either.
    """
    now = _now_ms()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000)) + f".{now % 1_000:03d}Z"
    record = {
        "date": moment,
        "ip": ip,
        "ua": user_agent and user_agent[:_MAX_USER_AGENT],
        "uri": f"{path}?{query}" if query else path,
        "method": method,
        "rid": rid,
        "platform": given.get("platform"),
        "appId": given.get("appId"),
        "compression": given.get("compression"),
        "data": data,
        "ingest_time": now,
        "server_ingest_time": now,
        "path": path,
        "source_type": "http_server",
        "timestamp": moment,
    }
    if "upload_timestamp" in given:
        record["client_timestamp"] = given["upload_timestamp"]
    if "fakeIp" in given:
        record["fakeIp"] = given["fakeIp"]
        if takes_fake_ip:
            record["ip"] = given["fakeIp"]
    written = _json(record).encode() + b"\n"
    if len(written) > MAX_RECORD_BYTES:  # base64 of gzip is what mobile SDKs send
        record["data"] = base64.b64encode(gzip.compress(data.encode(), mtime=0)).decode()
        written = _json(record).encode() + b"\n"
    if len(written) > MAX_RECORD_BYTES:
        raise RefusalError(413, f"the record would have more than {MAX_RECORD_BYTES:,} bytes")
    return written


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _unpacked(body: bytes, encoding: str) -> bytes:
    known = _WINDOW_BITS.get(encoding)
    if known is None:
        raise RefusalError(
            400, f"Content-Encoding {encoding[:20]!r} is unknown; send gzip or deflate"
        )
    for window_bits in known:
        inflater = zlib.decompressobj(window_bits)
        try:
            out = inflater.decompress(body, _MAX_BODY_BYTES + 1)
        except zlib.error:
            continue
        if len(out) > _MAX_BODY_BYTES:
            raise RefusalError(413, f"the body unpacks to more than {_MAX_BODY_BYTES >> 20} MB")
        if inflater.eof:
            return out
    raise RefusalError(400, f"the body is no {encoding}")
