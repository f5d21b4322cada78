"""The part of a project's YAML about its sink: where the collector's records go."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import dagster as dg
from pydantic import Field, ValidationInfo, field_validator, model_validator

from clickstream_dagster.batches.objects import S3_SCHEME
from clickstream_dagster.batches.s3 import S3Access, checked_endpoint
from clickstream_dagster.collector.settings import MIN_SEGMENT_SECONDS
from clickstream_dagster.collector.sinks.names import (
    BROKER,
    BROKER_RULE,
    STREAM,
    STREAM_RULE,
    TOPIC,
    TOPIC_RULE,
)
from clickstream_dagster.collector.sinks.settings import (
    KafkaSettings,
    KinesisSettings,
    SinkSettings,
)
from clickstream_dagster.components.between import Between
from clickstream_dagster.components.fields import describe

MOST_KINESIS_RECORDS = 500

_OF_TYPE = {
    "kms_key_id": ("s3",),
    "stream": ("kinesis",),
    "endpoint_url": ("kinesis",),
    "brokers": ("kafka",),
    "topic": ("kafka",),
    "security": ("kafka",),
    "ca_file": ("kafka",),
    "properties_file": ("kafka",),
    "batch_records": ("kinesis", "kafka"),
}
_NAMES = {
    "stream": (STREAM, STREAM_RULE),
    "brokers": (BROKER, BROKER_RULE),
    "topic": (TOPIC, TOPIC_RULE),
}


class Sink(dg.Model, dg.Resolvable):
    """Where records go. Directory and S3 are the project's `raw`; streams are read on from there.

    Region, profile and endpoint are those of the project's `s3`. Secrets are not here.
    """

    type: Annotated[
        Literal["directory", "s3", "kinesis", "kafka"] | None,
        describe(
            description="directory and s3: files where raw says. kinesis: a data stream, and a "
            "Lambda function that makes the files. kafka: a topic, and a connector that does. "
            "Default: directory or s3, as raw is.",
            examples=["kinesis"],
        ),
    ] = None
    buffer_mb: Annotated[
        float,
        Between(1, 50),
        describe(description="Buffer size: MiB of the log at which they go to the sink."),
    ] = 30
    buffer_seconds: Annotated[
        int,
        Between(1, 3600),
        describe(
            description="Buffer interval, of streams the sink maximum interval: seconds after "
            "which records go to the sink at the latest; 60 at least for s3.",
            examples=[60, 300],
        ),
    ] = 300
    kms_key_id: Annotated[
        str | None,
        describe(
            description="For s3: id, alias or ARN of the KMS key that encrypts files. Default: "
            "that of the project's s3.",
            examples=["alias/clickstream"],
        ),
    ] = None
    stream: Annotated[
        str | None,
        describe(description="For kinesis: name of the data stream.", examples=["shop"]),
    ] = None
    endpoint_url: Annotated[
        str | None,
        describe(
            description="For kinesis: address of a server that speaks Kinesis. Default: AWS.",
            examples=["http://localhost:4566"],
        ),
    ] = None
    brokers: Annotated[
        list[str],
        describe(
            description="For kafka: brokers to begin with, host:port each.",
            examples=[["b-1.kafka.internal:9098", "b-2.kafka.internal:9098"]],
        ),
    ] = Field(default_factory=list)
    topic: Annotated[
        str | None,
        describe(description="For kafka: the topic. Default: the project's id.", examples=["shop"]),
    ] = None
    security: Annotated[
        Literal["plaintext", "tls", "scram", "iam"] | None,
        describe(
            description="For kafka: plaintext; tls; scram: TLS, with user and password in the "
            "environment variables CLICKSTREAM_KAFKA_USERNAME and CLICKSTREAM_KAFKA_PASSWORD; iam: "
            "TLS, with the AWS credentials that boto3 finds (Amazon MSK). Default: plaintext.",
        ),
    ] = None
    ca_file: Annotated[
        str | None,
        describe(
            description="For kafka: certificates (PEM) that the brokers' are signed by, relative "
            "to the Dagster project. Default: the system's.",
            examples=["/etc/clickstream/kafka-ca.pem"],
        ),
    ] = None
    properties_file: Annotated[
        str | None,
        describe(
            description="For kafka: more properties of librdkafka, name=value a line; relative to "
            "the Dagster project. It may hold secrets, so only the collector may read it.",
            examples=["/etc/clickstream/kafka.properties"],
        ),
    ] = None
    batch_records: Annotated[
        int | None,
        Between(1, 1_000_000),
        describe(
            description="Batch size: for kinesis the records of one call, 500 at most; for kafka "
            "those that go to a partition at once. Default: 500; 10,000.",
            examples=[500],
        ),
    ] = None

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_url(cls, value: str | None) -> str | None:
        return checked_endpoint(value)

    @field_validator(*_NAMES)
    @classmethod
    def _names(cls, value: str | list[str] | None, info: ValidationInfo) -> str | list[str] | None:
        pattern, rule = _NAMES[info.field_name or ""]
        for name in [value] if isinstance(value, str) else value or ():
            if not pattern.fullmatch(name):
                shown = repr(name) if "@" not in name else "with credentials"
                raise ValueError(f"{info.field_name} {shown}: write {rule}")
        return value

    @model_validator(mode="after")
    def _keys_of_type(self) -> "Sink":
        for key, types in _OF_TYPE.items():
            if getattr(self, key) and self.type not in types:
                raise ValueError(
                    f"{key} is of another sink: write type: {' or '.join(types)}, or leave it out"
                )
        if self.type == "kinesis" and not self.stream:
            raise ValueError("a sink of type kinesis needs stream: write the data stream's name")
        if self.type == "kafka" and not self.brokers:
            raise ValueError("a sink of type kafka needs brokers: write [host:port, ...]")
        if self.type == "kinesis" and (self.batch_records or 1) > MOST_KINESIS_RECORDS:
            raise ValueError(
                f"batch_records {self.batch_records}: write {MOST_KINESIS_RECORDS} at most for "
                "kinesis"
            )
        return self

    def require_raw(self, raw: str) -> None:
        """Raise ValueError unless the sink goes with the place of the raw files."""
        on_s3 = raw.startswith(S3_SCHEME)
        if self.type == "s3" and not on_s3:
            raise ValueError(
                "collector.sink of type s3 writes where raw says: write raw: s3://bucket/prefix"
            )
        if self.type == "directory" and on_s3:
            raise ValueError(
                "collector.sink of type directory writes where raw says, which is on S3: write "
                "type: s3, or a directory for raw"
            )
        if on_s3 and self.type in (None, "s3") and self.buffer_seconds < MIN_SEGMENT_SECONDS:
            raise ValueError(
                f"collector.sink.buffer_seconds {self.buffer_seconds}: write "
                f"{MIN_SEGMENT_SECONDS} to 3600 for s3"
            )

    def address(self, raw: str) -> str:
        """Give the sink's address, as `sinks.sink_of` takes it."""
        if self.type == "kinesis":
            return f"kinesis://{self.stream}"
        if self.type == "kafka":
            return f"kafka://{','.join(self.brokers)}/{self.topic or ''}"
        return raw

    def settings(self, project_id: str, s3: S3Access, root: Path) -> SinkSettings:
        """Give what the sink needs beside its address; relative files are below `root`."""
        batch = {} if self.batch_records is None else {"batch_records": self.batch_records}
        kinesis, kafka = KinesisSettings(), KafkaSettings()
        if self.type == "kinesis":
            kinesis = KinesisSettings(endpoint_url=self.endpoint_url, **batch)
        if self.type == "kafka":
            kafka = KafkaSettings(
                security=self.security or "plaintext",
                ca_file=root / self.ca_file if self.ca_file else None,
                properties_file=root / self.properties_file if self.properties_file else None,
                **batch,
            )
        if self.kms_key_id:
            s3 = replace(s3, kms_key_id=self.kms_key_id)
        return SinkSettings(project_id=project_id, s3=s3, kinesis=kinesis, kafka=kafka)
