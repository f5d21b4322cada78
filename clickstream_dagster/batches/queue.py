"""The arrival queue: messages of SQS become announcements in the ledger, and are then deleted.

In this order: receive, record, delete. A process that ends between two of them leaves messages
that come again, and an object that is announced again does no harm.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from clickstream_dagster.batches.ledger import Announced, Ledger
from clickstream_dagster.batches.notifications import UnreadableMessageError, read_message
from clickstream_dagster.batches.objects import RawObject, is_object, split_s3
from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.errors import SourceError

MESSAGES_AT_ONCE = 5_000
SECONDS_AT_ONCE = 20

# A look at the queue must end within it; a message that was not deleted then comes again.
VISIBILITY_SECONDS = 120

_MESSAGES_A_CALL = 10  # SQS's own limit
_WAIT_SECONDS = 1  # a long poll asks all of SQS's servers, a short one only some
_AWS_HOST = re.compile(r"(?:.+\.)?sqs\.([a-z0-9-]+)\.(vpce\.)?amazonaws\.com(?:\.cn)?")


@dataclass(frozen=True, slots=True)
class Received:
    """What one look at the queue has brought, as numbers of messages and of objects.

    `foreign` objects are of another bucket or prefix, or markers. `unreadable` tells of messages
    that stay in the queue, each with its id and what is wrong with it. `kept` messages could not be
    deleted and come again.
    """

    messages: int
    announced: Announced
    foreign: int
    kept: int
    unreadable: tuple[str, ...]


@dataclass(slots=True)
class _Look:
    """What has been received and not been recorded yet."""

    receipts: dict[str, str] = field(default_factory=dict)
    objects: list[RawObject] = field(default_factory=list)
    foreign: int = 0
    unreadable: list[str] = field(default_factory=list)


class Queue:
    """An SQS queue to which S3 sends notifications. The credentials need sqs:ReceiveMessage and
    sqs:DeleteMessage on it."""

    def __init__(self, url: str, s3: S3Access | None = None) -> None:
        self.url = url
        access = s3 or S3Access()
        region, endpoint = queue_place(url)
        self._sqs = access.client_of("sqs", region or access.region, endpoint)

    def receive(
        self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> Iterator[dict[str, Any]]:
        """Yield messages until there are `most`, the time is over or the queue has none.

        Raises SourceError when the queue does not exist or may not be read.
        """
        until = clock() + seconds
        received = 0
        while received < most and clock() < until:
            with self._errors("sqs:ReceiveMessage"):
                answer = self._sqs.receive_message(
                    QueueUrl=self.url,
                    MaxNumberOfMessages=min(_MESSAGES_A_CALL, most - received),
                    WaitTimeSeconds=_WAIT_SECONDS,
                    VisibilityTimeout=VISIBILITY_SECONDS,
                )
            messages = answer.get("Messages", [])
            if not messages:
                return
            received += len(messages)
            yield from messages

    def delete(self, receipts: dict[str, str]) -> int:
        """Delete messages by id and receipt; give the number of those that could not be."""
        kept = 0
        entries = [
            {"Id": str(place), "ReceiptHandle": receipt}
            for place, receipt in enumerate(receipts.values())
        ]
        for place in range(0, len(entries), _MESSAGES_A_CALL):
            with self._errors("sqs:DeleteMessage"):
                answer = self._sqs.delete_message_batch(
                    QueueUrl=self.url, Entries=entries[place : place + _MESSAGES_A_CALL]
                )
            kept += len(answer.get("Failed", []))
        return kept

    def _errors(self, right: str) -> Any:
        return clear_aws_errors(
            SourceError, f"the queue {self.url}", right, "create it, or correct queue_url"
        )


def take_announcements(
    queue: Queue, ledger: Ledger, most: int = MESSAGES_AT_ONCE, seconds: float = SECONDS_AT_ONCE
) -> Received:
    """Record in the ledger what the queue announces, then delete the messages.

    The queue is the project's own: what it says about other buckets and prefixes is deleted, too.
    Messages that can't be read stay; the queue's redrive policy moves them to a dead-letter queue.
    """
    bucket, prefix = split_s3(ledger.source.address)
    look = _Look()
    for message in queue.receive(most, seconds):
        _read(message, bucket, prefix, look)
    announced = ledger.announce(look.objects) if look.objects else Announced()
    kept = queue.delete(look.receipts)
    return Received(
        messages=len(look.receipts) + len(look.unreadable),
        announced=announced,
        foreign=look.foreign,
        kept=kept,
        unreadable=tuple(look.unreadable),
    )


def _read(message: dict[str, Any], bucket: str, prefix: str, look: _Look) -> None:
    try:
        creations = read_message(message["Body"])
    except UnreadableMessageError as error:
        look.unreadable.append(f"{message['MessageId']}: {error}")
        return
    # Received twice in one look, a message is deleted by its last receipt.
    look.receipts[message["MessageId"]] = message["ReceiptHandle"]
    for one in creations:
        key = one.key.removeprefix(prefix)
        if one.bucket != bucket or not one.key.startswith(prefix) or not is_object(key):
            look.foreign += 1
            continue
        look.objects.append(RawObject(f"s3://{bucket}/{one.key}", one.size, one.time_ms, one.etag))


def queue_place(url: str) -> tuple[str | None, str | None]:
    """Give the region and the endpoint that a queue's URL tells.

    The region for a queue of AWS, since it need not be that of the environment; the endpoint for a
    VPC endpoint and for another server that speaks SQS's protocol. Raises SourceError for what is
    no URL of a queue.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or len(parts.path) < 2:
        raise SourceError(
            f"queue_url {url!r} is no URL of a queue; write the one that SQS shows, such as "
            "https://sqs.eu-west-1.amazonaws.com/123456789012/shop-raw"
        )
    aws = _AWS_HOST.fullmatch(parts.hostname)
    origin = f"{parts.scheme}://{parts.netloc}"
    if aws:
        return aws[1], origin if aws[2] else None
    return None, origin
