"""The settings of sinks: values that go to worker processes, and fit the project's YAML."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.errors import SettingError


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KinesisSettings(_Settings):
    """How records go to a Kinesis data stream (seed 000, "Data sink - Kinesis")."""

    batch_records: int = Field(
        default=500,
        ge=1,
        le=500,
        description="Batch size: most records of one PutRecords call.",
        examples=[500],
    )
    endpoint_url: str | None = Field(
        default=None,
        description="Address of a server that speaks Kinesis. Default: as boto3 finds it.",
        examples=["http://localhost:4566"],
    )


class KafkaSettings(_Settings):
    """How records go to Kafka (seed 000, "Data sink - Kafka")."""

    security: Literal["plaintext", "tls", "scram", "iam"] = Field(
        default="plaintext",
        description="plaintext; tls; scram: TLS, with user and password in the environment"
        " variables CLICKSTREAM_KAFKA_USERNAME and CLICKSTREAM_KAFKA_PASSWORD; iam: TLS, with the"
        " AWS credentials that boto3 finds (Amazon MSK).",
        examples=["tls"],
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) that the brokers' are signed by. Default: the system's.",
        examples=["/etc/clickstream/kafka-ca.pem"],
    )
    batch_records: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Batch size: most records that go to a partition at once.",
        examples=[10_000],
    )
    properties_file: Path | None = Field(
        default=None,
        description="More properties of librdkafka, one name=value a line: certificates of clients,"
        " other ways to log in. It may hold secrets, so only the collector may read it.",
        examples=["/etc/clickstream/kafka.properties"],
    )


class SinkSettings(_Settings):
    """What a sink needs to know beside its address. Secrets are not in it."""

    project_id: str = Field(description="Id of the project.", examples=["shop"])
    s3: S3Access = Field(
        default=S3Access(),
        description="Region, profile, endpoint and KMS key of S3; region and profile of Kinesis.",
    )
    kinesis: KinesisSettings = Field(
        default=KinesisSettings(), description="Settings of kinesis://"
    )
    kafka: KafkaSettings = Field(default=KafkaSettings(), description="Settings of kafka://")


class StreamSettings(_Settings):
    """The part of the settings that is in a file of its own: streams have more than fits a line."""

    kinesis: KinesisSettings = KinesisSettings()
    kafka: KafkaSettings = KafkaSettings()


def read_stream_settings(file: Path) -> StreamSettings:
    """Read a YAML file with the keys `kinesis` and `kafka`.

    Raises SettingError that names the file, the key and what is wrong.
    """
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"sink settings in {file}: {error}") from error
    return stream_settings(text, f"in {file}")


def stream_settings(text: str, where: str) -> StreamSettings:
    """Give the settings of a YAML text with the keys `kinesis` and `kafka`.

    Raises SettingError with `where`, the key and what is wrong.
    """
    try:
        return StreamSettings.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise SettingError(f"sink settings {where}: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        )
        raise SettingError(f"sink settings {where}: {faults}") from error
