"""Raw input for tests: events, bodies and sink records in which only what matters is stated."""

import base64
import gzip
import json
from collections.abc import Iterable
from pathlib import Path

NOW_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC


def event(event_id: str = "e1", **fields: object) -> dict[str, object]:
    """Give an event as the Web SDK sends it, with other fields where they are named."""
    return {
        "event_type": "_page_view",
        "event_id": event_id,
        "device_id": "device-1",
        "unique_id": "user-1",
        "app_id": "shop",
        "timestamp": NOW_MS,
        "host_name": "shop.example",
        "locale": "en-US",
        "system_language": "en",
        "country_code": "US",
        "zone_offset": 3_600_000,
        "make": "Google Inc.",
        "platform": "Web",
        "screen_height": 1080,
        "screen_width": 1920,
        "sdk_name": "aws-solution-clickstream-sdk",
        "sdk_version": "0.12.2",
        "items": [],
        "user": {},
        "attributes": {},
        **fields,
    }


def plain(*events: object) -> str:
    """Give a body as the Web SDK sends it."""
    return json.dumps(events)


def packed(*events: object) -> str:
    """Give a body as the mobile SDKs send it: base64 of gzip."""
    return base64.b64encode(gzip.compress(json.dumps(events).encode(), mtime=0)).decode()


def record(body: object, **fields: object) -> dict[str, object]:
    """Give a sink record; a field that is None is left out."""
    fields = {
        "rid": "request-1",
        "ip": "203.0.113.7",
        "ua": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
        " Chrome/120.0.6099.71 Safari/537.36",
        "uri": "/collect?platform=Web&appId=shop&event_bundle_sequence_id=7",
        "method": "POST",
        "platform": "Web",
        "appId": "shop",
        "ingest_time": NOW_MS + 1_000,
        "data": body,
        **fields,
    }
    return {key: value for key, value in fields.items() if value is not None}


def write_object(path: Path, records: Iterable[dict[str, object] | bytes]) -> Path:
    """Write records, or lines as they are, as a gzip NDJSON object."""
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))
    return path
