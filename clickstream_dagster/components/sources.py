"""The part of a project's YAML about S3: how it is reached, and how arrivals are noticed."""

from typing import Annotated, Literal

import dagster as dg
from pydantic import field_validator, model_validator

from clickstream_dagster.batches.queue import queue_place
from clickstream_dagster.batches.s3 import S3Access, checked_endpoint
from clickstream_dagster.components.fields import describe
from clickstream_dagster.errors import SourceError


class S3(dg.Model, dg.Resolvable):
    """How S3 is reached. Credentials come from the role, the profile or the environment."""

    region: Annotated[
        str | None,
        describe(
            description="AWS region. Default: as boto3 finds it.",
            examples=["eu-west-1"],
        ),
    ] = None
    profile: Annotated[
        str | None,
        describe(
            description="Profile of the AWS configuration files. Default: as boto3 finds it.",
            examples=["analytics"],
        ),
    ] = None
    endpoint_url: Annotated[
        str | None,
        describe(
            description="Address of an S3-compatible server; it must know conditional writes "
            "(If-None-Match). Default: AWS.",
            examples=["https://minio.internal:9000"],
        ),
    ] = None
    kms_key_id: Annotated[
        str | None,
        describe(
            description="Id, alias or ARN of the KMS key that encrypts what is written. Default: "
            "the bucket's own encryption.",
            examples=["alias/clickstream"],
        ),
    ] = None

    glue_endpoint_url: Annotated[
        str | None,
        describe(
            description="Address of the Glue catalog of a lake in S3. Default: AWS.",
            examples=["https://vpce-0123456789abcdef0.glue.eu-west-1.vpce.amazonaws.com"],
        ),
    ] = None

    @field_validator("endpoint_url", "glue_endpoint_url")
    @classmethod
    def _endpoint_url(cls, value: str | None) -> str | None:
        return checked_endpoint(value)

    def access(self) -> S3Access:
        """Give the settings as a plain value."""
        return S3Access(
            self.region, self.profile, self.endpoint_url, self.kms_key_id, self.glue_endpoint_url
        )


class Arrivals(dg.Model, dg.Resolvable):
    """How the arrival sensor notices raw objects."""

    mode: Annotated[
        Literal["listing", "sqs"],
        describe(
            description="listing: each tick lists a part of the raw files. sqs: S3 sends "
            "notifications to a queue; for raw files in S3 only.",
        ),
    ] = "listing"
    queue_url: Annotated[
        str | None,
        describe(
            description="URL of the SQS queue of the project's own, with mode sqs. Default: that "
            "of infra.arrivals.",
            examples=["https://sqs.eu-west-1.amazonaws.com/123456789012/shop-raw"],
        ),
    ] = None

    @model_validator(mode="after")
    def _queue(self) -> "Arrivals":
        if self.mode == "listing" and self.queue_url:
            raise ValueError("arrivals has a queue_url but lists: write mode: sqs, or take it out")
        if self.queue_url:
            try:
                queue_place(self.queue_url)
            except SourceError as error:
                raise ValueError(str(error)) from error
        return self

    def require_queue(self) -> None:
        """Raise ValueError unless the YAML has the queue that the mode needs."""
        if self.mode == "sqs" and not self.queue_url:
            raise ValueError(
                "arrivals by sqs needs queue_url: write the URL of the queue, or have "
                "infra.arrivals "
                "make it"
            )
