"""The sink that is a topic of Kafka: each record is a message, its `rid` the key.

A connector (infra/kafka) makes raw objects of what the topic holds.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.collector.segments import SealedSegment
from clickstream_dagster.collector.sinks.records import (
    SMALL_BYTES,
    cut,
    records_of,
    rid_of,
)
from clickstream_dagster.collector.sinks.settings import KafkaSettings
from clickstream_dagster.collector.sinks.sink import SinkCounters, SinkError
from clickstream_dagster.errors import SettingError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer, ThrottleEvent

USERNAME, PASSWORD = "CLICKSTREAM_KAFKA_USERNAME", "CLICKSTREAM_KAFKA_PASSWORD"

_LOG = logging.getLogger(__name__)
_CHUNK_BYTES = 16 << 20  # what is on its way at once, and so about what a shipment keeps in memory
_DELIVERY_SECONDS = 30
_PROTOCOLS = {"plaintext": "PLAINTEXT", "tls": "SSL", "scram": "SASL_SSL", "iam": "SASL_SSL"}

# What nothing acknowledged is lost by. All in-sync replicas have a message before it counts as
# delivered, and what librdkafka itself sends again is not there twice.
_FIXED = {"enable.idempotence": "true", "acks": "all"}
_REFUSED = {*_FIXED, "request.required.acks", "delivery.report.only.error"}


class KafkaSink:
    """Records to a topic; a segment is taken when every message is confirmed by all replicas.

    The topic's own `max.message.bytes` decides how large a record may be, compressed; one that is
    larger is cut (see `records.cut`). A topic that takes less than Kafka's default is an error.
    """

    def __init__(self, brokers: str, topic: str, settings: KafkaSettings, s3: S3Access) -> None:
        """Take `host:port[,host:port]`. Raises SettingError when Kafka's library can't use them.

        `s3` has the region of iam. The brokers are not asked: a collector also starts, and
        collects, while they are out of reach.
        """
        self.counters = SinkCounters()
        self._brokers, self._topic = brokers, topic
        # How far a segment has come that was not taken whole: where the next attempt goes on.
        self._segment, self._taken = "", 0
        self._retries_before = self._retries = 0
        self._last_error = ""
        self._config = {
            "bootstrap.servers": brokers,
            "client.id": "clickstream-collector",
            "compression.type": "zstd",
            "linger.ms": 20,
            "batch.num.messages": settings.batch_records,
            # The topic has the say: the library would look at the size before compression.
            "message.max.bytes": 100_000_000,
            "message.timeout.ms": _DELIVERY_SECONDS * 1000,
            "statistics.interval.ms": 1000,
            **_security(settings, s3),
            **_properties(settings),
            **_FIXED,
        }
        self._producer: Producer | None = self._new_producer()

    def ship(self, segment: SealedSegment) -> None:
        if segment.name != self._segment:
            self._segment, self._taken = segment.name, 0
        records = islice(records_of(segment), self._taken, None)
        with self.counters.counting_errors():
            for chunk in _chunks(records):
                too_large = self._deliver(chunk)
                self._deliver_smaller(too_large)
                self.counters.records += len(chunk)
                self._taken += len(chunk)

    def close(self) -> None:
        self._producer = None

    def _deliver(self, records: list[bytes]) -> list[bytes]:
        """Send records, wait for what becomes of them, and give those that are too large for it.

        Raises SinkError when others are not delivered.
        """
        from confluent_kafka import KafkaError, KafkaException

        confirmed = 0
        too_large: list[bytes] = []
        reasons: dict[str, int] = {}

        def delivered(error: "KafkaError | None", message: "Message") -> None:
            nonlocal confirmed
            record = message.value()
            if error is None:
                confirmed += 1
                self.counters.bytes += len(record)
            elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                too_large.append(record)
            else:
                reasons[error.str()] = reasons.get(error.str(), 0) + 1

        try:
            producer = self._producer = self._producer or self._new_producer()
            for record in records:
                _produce(producer, self._topic, record, delivered)
                self.counters.requests += 1
            producer.flush()
        except (SettingError, KafkaException) as error:
            # A certificate that has gone since the start, or a producer that can't go on.
            self._producer = None
            raise SinkError(
                f"the topic {self._topic} at {self._brokers} can't be written to: {error}"
            ) from error
        missing = len(records) - confirmed - len(too_large)
        if missing:
            # A producer that has lost its place in the sequence of messages can't go on.
            self._producer = None
            told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
            last = f"; last error: {self._last_error}" if self._last_error else ""
            raise SinkError(
                f"the topic {self._topic} at {self._brokers} did not take {missing} of"
                f" {len(records)} messages ({told}){last}"
            )
        return too_large

    def _deliver_smaller(self, records: list[bytes]) -> None:
        while records:
            if any(len(record) <= SMALL_BYTES for record in records):
                raise SinkError(
                    f"the topic {self._topic} takes only small messages; set its max.message.bytes"
                    " to 1048588, Kafka's default, or more"
                )
            records = self._deliver([part for record in records for part in cut(record)])

    def _new_producer(self) -> "Producer":
        from confluent_kafka import KafkaException, Producer

        self._retries_before += self._retries
        self._retries = 0
        try:
            return Producer(
                {
                    **self._config,
                    "error_cb": self._note_error,
                    "stats_cb": self._count_retries,
                    "throttle_cb": self._count_throttled,
                },
                logger=_LOG,
            )
        except KafkaException as error:
            raise SettingError(
                f"Kafka's library does not take the settings of the sink: {error.args[0].str()}"
            ) from error

    def _note_error(self, error: "KafkaError") -> None:
        self._last_error = error.str()

    def _count_throttled(self, event: "ThrottleEvent") -> None:
        self.counters.throttled += event.throttle_time > 0  # 0 tells that it is over

    def _count_retries(self, statistics: str) -> None:
        brokers = json.loads(statistics)["brokers"].values()
        self._retries = max(self._retries, sum(broker["txretries"] for broker in brokers))
        self.counters.retries = self._retries_before + self._retries


def _produce(producer: "Producer", topic: str, record: bytes, delivered: Callable) -> None:
    key = rid_of(record).encode()
    while True:
        producer.poll(0)
        try:
            return producer.produce(topic, record, key, on_delivery=delivered)
        except BufferError:  # the library keeps so many messages and no more
            producer.poll(1)


def _chunks(records: Iterator[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record)
        if size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _security(settings: KafkaSettings, s3: S3Access) -> dict[str, Any]:
    """Give the properties of how to log in. Raises SettingError when something is missing."""
    config: dict[str, Any] = {"security.protocol": _PROTOCOLS[settings.security]}
    if settings.ca_file is not None:
        if not settings.ca_file.is_file():
            raise SettingError(f"ca_file {settings.ca_file} is no file; name one of certificates")
        config["ssl.ca.location"] = str(settings.ca_file)
    if settings.security == "scram":
        for variable in (USERNAME, PASSWORD):
            if not os.environ.get(variable):
                raise SettingError(
                    f"security is scram, but the environment variable {variable} is not set: put"
                    f" user and password into {USERNAME} and {PASSWORD}"
                )
        config |= {
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": os.environ[USERNAME],
            "sasl.password": os.environ[PASSWORD],
        }
    if settings.security == "iam":
        config |= {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": _msk_token(s3)}
    return config


def _msk_token(s3: S3Access) -> Callable[[str], tuple[str, float]]:
    """Give what makes a token of Amazon MSK, and tells until when it is good (Unix time)."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        region = boto3.Session(profile_name=s3.profile, region_name=s3.region).region_name
    except BotoCoreError as error:
        raise SettingError(f"security is iam, but {error}") from error
    if region is None:
        raise SettingError("security is iam, but there is no region: set it for s3")

    def token(_: str) -> tuple[str, float]:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

        if s3.profile is None:
            signed, until_ms = MSKAuthTokenProvider.generate_auth_token(region)
        else:
            signed, until_ms = MSKAuthTokenProvider.generate_auth_token_from_profile(
                region, s3.profile
            )
        return signed, until_ms / 1000

    return token


def _properties(settings: KafkaSettings) -> dict[str, str]:
    """Read the file of properties. Raises SettingError, which shows no value of it."""
    path = settings.properties_file
    if path is None:
        return {}
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"the properties file {path} can't be read: {error}") from error
    properties: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = name.strip()
        if not equals:
            raise SettingError(f"line {number} of {path} is no name=value")
        if name in _REFUSED:
            raise SettingError(
                f"{path} sets {name}, which the sink sets by itself: messages could be lost"
                " otherwise; take the line out"
            )
        properties[name] = value.strip()
    return properties
