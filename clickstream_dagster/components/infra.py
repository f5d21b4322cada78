"""The part of a project's YAML about its infrastructure on AWS: which modules, and how large."""

from dataclasses import fields
from typing import Annotated, Any

import dagster as dg
from pydantic import BaseModel, Field

from clickstream_dagster.components.fields import describe
from clickstream_dagster.components.infra_data import (
    InfraNetwork,
    InfraObservability,
    InfraOrchestration,
    InfraProcessing,
    InfraRedshift,
    InfraStorage,
)
from clickstream_dagster.components.infra_ingestion import (
    InfraArrivals,
    InfraIngestion,
    InfraKafka,
    InfraKinesis,
    InfraServerlessIngestion,
)
from clickstream_dagster.infra import settings

_BLOCKS = {
    "network": settings.Network,
    "storage": settings.Storage,
    "ingestion": settings.Ingestion,
    "kinesis": settings.Kinesis,
    "kafka": settings.Kafka,
    "serverless_ingestion": settings.ServerlessIngestion,
    "arrivals": settings.Arrivals,
    "processing": settings.Processing,
    "redshift": settings.Redshift,
    "orchestration": settings.Orchestration,
    "observability": settings.Observability,
}


class Infra(dg.Model, dg.Resolvable):
    """The project's infrastructure on AWS. A module is made for each block that is written."""

    account: Annotated[
        str | int | None,  # a text of digits becomes a number where templates are filled
        describe(
            description="Account that everything is made in, in quotes; another one is refused. "
            "Default: that of the credentials.",
            examples=["123456789012"],
        ),
    ] = None
    unlisted_region: Annotated[
        bool,
        describe(
            description="true: take s3.region though the table of regions lacks what the project "
            "needs, since AWS has it by now."
        ),
    ] = False
    permissions_boundary_arn: Annotated[
        str | None,
        describe(
            description="Policy that bounds all roles.",
            examples=["arn:aws:iam::123456789012:policy/boundary"],
        ),
    ] = None
    artifacts: Annotated[
        str | None,
        describe(
            description="S3 prefix for code of functions and long templates. Default: "
            "emr_serverless.artifacts, else _artifacts in the lake.",
            examples=["s3://my-bucket/clickstream/artifacts"],
        ),
    ] = None
    log_retention_days: Annotated[
        int,
        describe(
            description="Days for which CloudWatch keeps logs; one of its values.",
            examples=[30, 90, 365],
        ),
    ] = 90
    tags: Annotated[
        dict[str, str | bool | int],  # as of account
        describe(description="Tags of all that is made.", examples=[{"team": "growth"}]),
    ] = Field(default_factory=dict)
    network: Annotated[
        InfraNetwork | None,
        describe(description="VPC and subnets, for modules that are in one."),
    ] = None
    storage: Annotated[
        InfraStorage | None, describe(description="Buckets, their lifecycle, and a key.")
    ] = None
    ingestion: Annotated[
        InfraIngestion | None, describe(description="Load balancer and collectors.")
    ] = None
    kinesis: Annotated[
        InfraKinesis | None,
        describe(description="Stream and function of a collector.sink of type kinesis."),
    ] = None
    kafka: Annotated[
        InfraKafka | None,
        describe(description="Connector to S3 of a collector.sink of type kafka."),
    ] = None
    serverless_ingestion: Annotated[
        InfraServerlessIngestion | None,
        describe(description="CloudFront and Firehose in place of servers."),
    ] = None
    arrivals: Annotated[
        InfraArrivals | None, describe(description="Queue of raw files, for arrivals.mode sqs.")
    ] = None
    processing: Annotated[
        InfraProcessing | None, describe(description="EMR Serverless and the Glue database.")
    ] = None
    redshift: Annotated[
        InfraRedshift | None, describe(description="Warehouse of the engine redshift.")
    ] = None
    athena: Annotated[
        bool, describe(description="Make the work group of the engine athena, and its policies.")
    ] = False
    orchestration: Annotated[InfraOrchestration | None, describe(description="Dagster on ECS.")] = (
        None
    )
    observability: Annotated[
        InfraObservability | None, describe(description="Dashboard and alarms.")
    ] = None

    def named(self) -> list[str]:
        """Give the blocks that are written, which the modules are made for."""
        return [name for name in (*_BLOCKS, "athena") if getattr(self, name)]

    def values(self) -> settings.Infra:
        """Give the settings as plain values."""
        found: dict[str, Any] = {
            field.name: getattr(self, field.name) for field in fields(settings.Infra)
        }
        for name, kind in _BLOCKS.items():
            block: BaseModel | None = found[name]
            if block is not None:
                found[name] = kind(
                    **{key: _plain(value) for key, value in block.model_dump().items()}
                )
        if found["account"] is not None:
            found["account"] = str(found["account"])
        found["tags"] = {name: str(value) for name, value in self.tags.items()}
        return settings.Infra(**found)


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
