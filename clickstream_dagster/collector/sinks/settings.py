"""The settings of sinks: values that go to worker processes, and fit the project's YAML."""

from pydantic import BaseModel, ConfigDict, Field

from clickstream_dagster.batches.s3 import S3Access


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
