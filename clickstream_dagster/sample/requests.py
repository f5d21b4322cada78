"""Requests as they reach the collector: events bundled and encoded as the SDKs do."""

import binascii
import hashlib
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import orjson
from isal import igzip_lib

from clickstream_dagster.sample.session import Event
from clickstream_dagster.sample.trouble import Trouble

MAX_BUNDLE = 100
"""Events in a request of the mobile SDKs: at 1.5 KB each far below their 512 KB."""

_PATH = "/collect"
_WEB_BATCH_MS = 5_000
_APP_FLUSH_MS = 10_000


class RawRequest(NamedTuple):
    """One HTTP request as the collector takes it.

    `ingest_ms` is the collector's clock, `upload_ms` the device's, both ms UTC; `address` is the
    `X-Forwarded-For` header; `events` counts the events that `body` holds, 0 if it is broken.
    `too_old` counts those that were more than 72 hours old at `ingest_ms`, whatever their clock
    says, except the ones that tell of a user for good (`_first_open`, `_profile_set`): the
    pipeline keeps them at any age.
    """

    ingest_ms: int
    upload_ms: int
    rid: str
    platform: str
    app_id: str
    compression: str | None
    uri: str
    user_agent: str
    address: str
    body: str
    events: int
    trouble: Trouble | None
    too_old: int


def bundles(events: list[Event], platform: str, rng: Random) -> Iterator[tuple[int, list[Event]]]:
    """The events as they are sent while the device is online, each with its time of upload (ms).

    Three of five web sessions send each event at once, the others every 5 s. Apps send every
    10 s, two of five of them only when they go to the background.
    """
    if platform == "Web":
        wait = 0 if rng.random() < 0.6 else _WEB_BATCH_MS
    else:
        wait = _APP_FLUSH_MS if rng.random() < 0.6 else None
    if wait == 0:
        yield from ((event["timestamp"] + 1, [event]) for event in events)
        return
    bundle: list[Event] = []
    for event in events:
        is_full = len(bundle) == MAX_BUNDLE
        if bundle and (is_full or (wait and event["timestamp"] >= bundle[0]["timestamp"] + wait)):
            yield _flush_ms(bundle, wait), bundle
            bundle = []
        bundle.append(event)
    yield _flush_ms(bundle, wait), bundle


def stored(events: list[Event], upload_ms: int) -> Iterator[tuple[int, list[Event]]]:
    """The events of a device that was offline, all sent from `upload_ms` on."""
    for number, first in enumerate(range(0, len(events), MAX_BUNDLE)):
        yield upload_ms + number * 400, events[first : first + MAX_BUNDLE]


def encode(events: list[Event], platform: str) -> str:
    """The body: a JSON array as such from the Web SDK, as base64 of its gzip from the others."""
    body = orjson.dumps(events)
    if platform == "Web":
        return body.decode()
    zipped = igzip_lib.compress(body, 1, igzip_lib.COMP_GZIP)
    return binascii.b2a_base64(zipped, newline=False).decode()


def address_of(platform: str, app_id: str, bundle: int, upload_ms: int, body: str) -> str:
    """Path and query as the SDK of the platform writes them; the hash is of the body as sent."""
    digest = hashlib.sha256(body.encode()).hexdigest()[:8]
    if platform == "Web":
        return (
            f"{_PATH}?platform=Web&appId={app_id}&event_bundle_sequence_id={bundle}"
            f"&upload_timestamp={upload_ms}&hashCode={digest}"
        )
    return (
        f"{_PATH}?platform={platform}&appId={app_id}&hashCode={digest}"
        f"&event_bundle_sequence_id={bundle}&upload_timestamp={upload_ms}&compression=gzip"
    )


def _flush_ms(bundle: list[Event], wait: int | None) -> int:
    if wait is None:
        return bundle[-1]["timestamp"] + 200
    return max(bundle[0]["timestamp"] + wait, bundle[-1]["timestamp"] + 1)
