"""The part of a project's YAML about its collector."""

from typing import Annotated

import dagster as dg
from pydantic import Field, field_validator

from clickstream_dagster.batches.s3 import checked_endpoint
from clickstream_dagster.components.sources import describe


class Collector(dg.Model, dg.Resolvable):
    """The collector that takes the project's events, and how it is watched."""

    endpoint: Annotated[
        str | None,
        describe(
            description="Address that the SDKs send to, path included.",
            examples=["https://events.example.com/collect"],
        ),
    ] = None
    origins: Annotated[
        list[str],
        describe(
            description="Origins of pages that may send. `*.` stands for every name below a host, "
            "`*` alone for everybody. Default: none.",
            examples=[["https://www.example.com", "https://*.example.com"]],
        ),
    ] = Field(default_factory=list)
    metrics: Annotated[
        list[str],
        describe(
            description="Addresses of the collectors' metrics. Default: they are not watched.",
            examples=[["http://collector-1.internal:9464/metrics"]],
        ),
    ] = Field(default_factory=list)
    max_wait_minutes: Annotated[
        int,
        Field(ge=1),
        describe(
            description="A segment that waits longer for the sink fails the sensor "
            "`<project_id>_collector`.",
        ),
    ] = 15

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        return checked_endpoint(value)

    @field_validator("metrics")
    @classmethod
    def _metrics(cls, values: list[str]) -> list[str]:
        for value in values:
            checked_endpoint(value)
        return values

    @field_validator("origins")
    @classmethod
    def _origins(cls, values: list[str]) -> list[str]:
        from clickstream_dagster.collector.origins import Origins
        from clickstream_dagster.errors import SettingError

        try:
            Origins(values)
        except SettingError as error:
            raise ValueError(str(error)) from error
        return values
