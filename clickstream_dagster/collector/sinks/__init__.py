"""Sinks: where the collector's records go, one per project (seed 000, "Data sink")."""

import re
from pathlib import Path

from clickstream_dagster.batches.objects import S3_SCHEME
from clickstream_dagster.collector.sinks.directory import DirectorySink
from clickstream_dagster.collector.sinks.kafka import KafkaSink
from clickstream_dagster.collector.sinks.kinesis import KinesisSink
from clickstream_dagster.collector.sinks.names import BROKER, STREAM, STREAM_RULE, TOPIC, TOPIC_RULE
from clickstream_dagster.collector.sinks.s3 import S3Sink
from clickstream_dagster.collector.sinks.settings import SinkSettings
from clickstream_dagster.collector.sinks.sink import Sink
from clickstream_dagster.errors import SettingError

ADDRESSES = (
    "a directory, s3://bucket/prefix, kinesis://stream or kafka://host:port[,host:port][/topic]"
)

_CREDENTIALS = re.compile(r"//[^/]*@")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+-]*):/(.*)", re.DOTALL)
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?", re.DOTALL)


def sink_of(address: str, settings: SinkSettings) -> Sink:
    """Make the sink of an address.

    Raises SettingError when the address is none of ADDRESSES, and when the settings can't work.
    """
    scheme = _SCHEME.match(address)
    if not address.strip() or (scheme and not address.startswith(f"{scheme[1]}://")):
        raise _unknown(address)
    if scheme is None:
        return DirectorySink(Path(address))
    place = address.removeprefix(f"{scheme[1]}://")
    match scheme[1]:
        case "file" if place.startswith("/"):
            return DirectorySink(Path(place))
        case "s3":
            if not _BUCKET.fullmatch(address):
                raise SettingError(
                    f"the sink {_shown(address)} names no bucket; write {S3_SCHEME}bucket/prefix"
                )
            return S3Sink(address, settings.s3)
        case "kinesis":
            if not STREAM.fullmatch(place):
                raise SettingError(
                    f"the sink {_shown(address)} names no data stream; write kinesis://stream, with"
                    f" {STREAM_RULE}"
                )
            return KinesisSink(place, settings.kinesis, settings.s3)
        case "kafka":
            brokers, _, topic = place.partition("/")
            return _kafka(address, brokers, topic or settings.project_id, settings)
    raise _unknown(address)


def _kafka(address: str, brokers: str, topic: str, settings: SinkSettings) -> KafkaSink:
    if not all(BROKER.fullmatch(broker) for broker in brokers.split(",")):
        raise SettingError(
            f"the sink {_shown(address)} names no brokers; write"
            " kafka://host:port[,host:port][/topic]; user and password go into the environment"
        )
    if not TOPIC.fullmatch(topic):
        raise SettingError(
            f"the topic {topic!r} of the sink {_shown(address)} is none; write {TOPIC_RULE}"
        )
    return KafkaSink(brokers, topic, settings.kafka, settings.s3)


def _unknown(address: str) -> SettingError:
    return SettingError(f"the sink {_shown(address)} is none; write {ADDRESSES}")


def _shown(address: str) -> str:
    """Give an address as it may be shown: without credentials, which belong elsewhere."""
    return repr(_CREDENTIALS.sub("//…@", address))
