"""What S3 says about new objects: the messages that it sends to a queue.

Read are S3's event notifications (keys URL-encoded, also wrapped by SNS) and EventBridge's events
(keys as they are), and those that S3-compatible servers send in the same shape.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

_TEST_EVENT = "s3:TestEvent"
_CREATED = "ObjectCreated:"
_CREATED_ON_EVENTBRIDGE = "Object Created"


class UnreadableMessageError(Exception):
    """A message that is no notification of S3; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Creation:
    """An object that has been created, as a message tells it: nothing of it need be true any more.

    `size` is bytes, `time_ms` is when it was created (ms UTC); `etag` is empty if it is not told.
    """

    bucket: str
    key: str
    size: int
    etag: str
    time_ms: int


def read_message(body: str) -> list[Creation]:
    """Give the objects that a message says have been created.

    There are none in S3's test event, and in those about anything else than creation. Raises
    UnreadableMessageError for a message of another kind.
    """
    message = _json(body)
    if message.get("Type") == "Notification" and isinstance(message.get("Message"), str):
        message = _json(message["Message"])  # S3 told SNS, and SNS the queue
    if message.get("Event") == _TEST_EVENT:
        return []
    try:
        if "detail-type" in message:
            return _of_eventbridge(message)
        if isinstance(message.get("Records"), list):
            return [one for record in message["Records"] for one in _of_record(record)]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UnreadableMessageError(f"a notification that lacks something: {error!r}") from error
    raise UnreadableMessageError("neither a notification of S3 nor an event of EventBridge")


def _json(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableMessageError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnreadableMessageError("JSON, but no object")
    return value


def _of_record(record: Mapping[str, Any]) -> list[Creation]:
    if not record["eventName"].removeprefix("s3:").startswith(_CREATED):
        return []
    told = record["s3"]["object"]
    return [
        _creation(
            record["s3"]["bucket"]["name"],
            unquote_plus(told["key"], errors="strict"),
            told.get("size"),
            told.get("eTag"),
            record["eventTime"],
        )
    ]


def _of_eventbridge(event: Mapping[str, Any]) -> list[Creation]:
    if event["detail-type"] != _CREATED_ON_EVENTBRIDGE:
        return []
    bucket, told = event["detail"]["bucket"]["name"], event["detail"]["object"]
    return [_creation(bucket, told["key"], told.get("size"), told.get("etag"), event["time"])]


def _creation(bucket: str, key: str, size: int | None, etag: str | None, time: str) -> Creation:
    if not (isinstance(bucket, str) and bucket and isinstance(key, str) and key):
        raise ValueError("no bucket or no key")
    moment = datetime.fromisoformat(time)
    return Creation(
        bucket, key, int(size or 0), (etag or "").strip('"'), round(moment.timestamp() * 1000)
    )
