"""The part of a project's YAML about its collector."""

from pathlib import Path
from typing import Annotated, Literal

import dagster as dg
from pydantic import Field, field_validator

from clickstream_dagster.batches.s3 import S3Access, checked_endpoint
from clickstream_dagster.collector.addresses import PRIVATE_NETWORKS, ClientAddresses
from clickstream_dagster.collector.log import Sync
from clickstream_dagster.collector.origins import Origins
from clickstream_dagster.collector.settings import MB, ProjectSettings, require_path
from clickstream_dagster.collector.tokens import OidcSettings
from clickstream_dagster.components.between import Between
from clickstream_dagster.components.fields import describe
from clickstream_dagster.components.sink import Sink
from clickstream_dagster.errors import SettingError
from clickstream_dagster.resources.collector import ProjectCollector


class Oidc(dg.Model, dg.Resolvable):
    """The OIDC provider whose bearer tokens are taken; no others."""

    issuer: Annotated[
        str,
        describe(
            description="Address of the provider, as its tokens name it.",
            examples=["https://id.example.com"],
        ),
    ]
    audience: Annotated[
        str,
        describe(
            description="Client id that the tokens must be made for.", examples=["clickstream"]
        ),
    ]

    @field_validator("issuer")
    @classmethod
    def _issuer(cls, value: str) -> str:
        try:
            OidcSettings(value, "")
        except SettingError as error:
            raise ValueError(str(error)) from error
        return value


class Collector(dg.Model, dg.Resolvable):
    """The collector that takes the project's events, its sink, and how it is watched."""

    endpoint: Annotated[
        str | None,
        describe(
            description="Address that the SDKs send to, path included.",
            examples=["https://events.example.com/collect"],
        ),
    ] = None
    path: Annotated[
        str,
        describe(
            description="Path that the collector takes events at; that of endpoint, unless a load "
            "balancer rewrites it.",
            examples=["/collect"],
        ),
    ] = "/collect"
    sink: Annotated[
        Sink, describe(description="Where records go. Default: files where raw says.")
    ] = Field(default_factory=Sink)
    origins: Annotated[
        list[str],
        describe(
            description="Origins of pages that may send. `*.` stands for every name below a host, "
            "`*` alone for everybody. Default: none.",
            examples=[["https://www.example.com", "https://*.example.com"]],
        ),
    ] = Field(default_factory=list)
    any_app: Annotated[
        bool,
        describe(description="Take requests without an appId, for third-party SDKs."),
    ] = False
    write_keys: Annotated[
        str | None,
        describe(
            description="YAML file with a write key for each app that needs one, `app: key`; "
            "relative to the Dagster project. Default: no app needs one.",
            examples=["/etc/clickstream/write-keys.yaml"],
        ),
    ] = None
    oidc: Annotated[
        Oidc | None,
        describe(description="Take bearer tokens of this provider only. Default: none is needed."),
    ] = None
    trusted_proxies: Annotated[
        list[str],
        describe(
            description="Networks whose X-Forwarded-For is believed. Default: private networks.",
            examples=[["10.0.0.0/8"]],
        ),
    ] = Field(default_factory=lambda: list(PRIVATE_NETWORKS))
    body_kb: Annotated[
        int,
        Between(1, 8192),
        describe(description="Most of a request's body, in KiB; more is answered 413."),
    ] = 1024
    body_seconds: Annotated[
        int,
        Between(1, 3600),
        describe(description="Seconds within which a body must have come; else 408."),
    ] = 30
    sync: Annotated[
        Literal["always", "interval", "never"],
        describe(
            description="When a request is on the disk: always (before it is answered), interval "
            "(within a second) or never (when the system likes).",
        ),
    ] = "always"
    dev: Annotated[
        bool,
        describe(
            description="Take the parameter fakeIp for the client's address, in development only."
        ),
    ] = False
    metrics: Annotated[
        list[str],
        describe(
            description="Addresses of the collectors' metrics. Default: they are not watched.",
            examples=[["http://collector-1.internal:9464/metrics"]],
        ),
    ] = Field(default_factory=list)
    max_wait_minutes: Annotated[
        int,
        Between(1),
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
        try:
            Origins(values)
        except SettingError as error:
            raise ValueError(str(error)) from error
        return values

    @field_validator("trusted_proxies")
    @classmethod
    def _trusted_proxies(cls, values: list[str]) -> list[str]:
        try:
            ClientAddresses(values)
        except SettingError as error:
            raise ValueError(str(error)) from error
        return values

    @field_validator("path")
    @classmethod
    def _path(cls, value: str) -> str:
        try:
            require_path(value)
        except SettingError as error:
            raise ValueError(str(error)) from error
        return value

    def plan(self, project_id: str, raw: str, s3: S3Access, root: Path) -> ProjectCollector:
        """Give the collector's part of a project as a plain value.

        `raw` is where raw files are; relative files are below `root`.
        """
        settings = ProjectSettings(
            sink=self.sink.address(raw),
            sink_settings=self.sink.settings(project_id, s3, root),
            path=self.path,
            needs_app=not self.any_app,
            trusted_proxies=tuple(self.trusted_proxies),
            oidc=OidcSettings(self.oidc.issuer, self.oidc.audience) if self.oidc else None,
            body_bytes=self.body_kb << 10,
            body_seconds=self.body_seconds,
            segment_bytes=int(self.sink.buffer_mb * MB),
            segment_seconds=self.sink.buffer_seconds,
            sync=Sync(self.sync),
            dev=self.dev,
        )
        return ProjectCollector(
            settings=settings,
            origins=tuple(self.origins),
            write_keys=root / self.write_keys if self.write_keys else None,
            endpoint=self.endpoint,
            metrics=tuple(self.metrics),
            max_wait_seconds=self.max_wait_minutes * 60,
        )
