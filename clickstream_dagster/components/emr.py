"""The part of a project's YAML about EMR Serverless: where jobs run, and with what capacity."""

import re
from typing import Annotated, Literal

import dagster as dg
from pydantic import Field, field_validator, model_validator

from clickstream_dagster.batches.objects import S3_SCHEME
from clickstream_dagster.batches.s3 import S3Access, checked_endpoint
from clickstream_dagster.components.between import Between
from clickstream_dagster.components.fields import describe
from clickstream_dagster.components.sources import S3
from clickstream_dagster.emr.capacity import DEFAULT_PRESET, DISK_GB, PRESETS, Capacity
from clickstream_dagster.errors import SettingError
from clickstream_dagster.resources.emr_serverless import EmrServerlessEngine
from clickstream_dagster.resources.stack_outputs import StackOutputs

_ROLE = re.compile(r"arn:[\w-]+:iam::\d{12}:role/.+")
_APPLICATION = re.compile(r"[0-9a-z]{1,64}")
_VOLUMES = ", ".join(
    f"{name} up to {preset.most_gb:,} GB" if preset.most_gb else f"{name} above"
    for name, preset in PRESETS.items()
)


def _size(text: str, example: int) -> dg.Resolver:
    return describe(description=f"{text} Default: by the preset.", examples=[example])


class EmrServerless(dg.Model, dg.Resolvable):
    """An EMR Serverless application, and what job runs on it get."""

    application_id: Annotated[
        str | None,
        describe(
            description="Id of the Spark application. Default: that of infra.processing.",
            examples=["00f1abcdexample"],
        ),
    ] = None
    execution_role_arn: Annotated[
        str | None,
        describe(
            description="Role that job runs have: it reads raw files and writes the lake. Default: "
            "that of infra.processing.",
            examples=["arn:aws:iam::123456789012:role/clickstream-processing"],
        ),
    ] = None
    artifacts: Annotated[
        str,
        describe(
            description="Where clickstream package emr puts packages, and where logs and messages "
            "of job runs go.",
            examples=["s3://my-bucket/clickstream/emr"],
        ),
    ]
    package: Annotated[
        str | None,
        describe(
            description="Digest of the package to run, as clickstream package emr prints it. "
            "Default: the newest one.",
            examples=["3f2c9b0d1a7e4c55"],
        ),
    ] = None
    files: Annotated[
        list[str],
        describe(
            description="Files and folders that plug-ins read, relative to the Dagster project: "
            "they go into the package. geo_database goes there by itself.",
            examples=[["rules/traffic.yaml"]],
        ),
    ] = Field(default_factory=list)
    preset: Annotated[
        str,
        describe(
            description="Executors by the volume of a batch, decompressed (about 20 times the raw "
            f"files): {_VOLUMES}.",
            examples=list(PRESETS),
        ),
    ] = DEFAULT_PRESET
    driver_cores: Annotated[
        Literal[1, 2, 4, 8, 16] | None,
        describe(description="Cores of the driver: 1, 2, 4, 8 or 16. Default: 4."),
    ] = None
    driver_memory_gb: Annotated[
        int | None,
        describe(description="Memory of the driver in GB, all of it. Default: 16.", examples=[16]),
    ] = None
    driver_disk_gb: Annotated[
        int | None,
        describe(
            description=f"Disk of the driver in GB, {DISK_GB[0]} to {DISK_GB[1]}. Default: EMR's.",
            examples=[20],
        ),
    ] = None
    executor_cores: Annotated[
        Literal[1, 2, 4, 8, 16] | None, _size("Cores of an executor: 1, 2, 4, 8 or 16.", 4)
    ] = None
    executor_memory_gb: Annotated[
        int | None, _size("Memory of an executor in GB, all of it.", 16)
    ] = None
    executor_disk_gb: Annotated[
        int | None,
        describe(
            description=f"Disk of an executor in GB, {DISK_GB[0]} to {DISK_GB[1]}. Default: EMR's.",
            examples=[50],
        ),
    ] = None
    initial_executors: Annotated[
        int | None,
        describe(description="Executors at the start. Default: 3, or max_executors if fewer."),
    ] = None
    max_executors: Annotated[int | None, _size("Most executors.", 10)] = None
    spark: Annotated[
        dict[str, bool | int | float | str],
        describe(
            description="Other Spark settings, by name.",
            examples=[{"spark.task.maxFailures": "8"}],
        ),
    ] = Field(default_factory=dict)
    timeout_minutes: Annotated[
        int,
        Between(5, 1_000_000),
        describe(description="Minutes after which EMR ends a job run."),
    ] = 720
    tags: Annotated[
        dict[str, str],
        describe(description="AWS tags of the job runs.", examples=[{"team": "growth"}]),
    ] = Field(default_factory=dict)
    region: Annotated[
        str | None,
        describe(description="Region of the application. Default: that of the block s3."),
    ] = None
    profile: Annotated[
        str | None,
        describe(
            description="Profile of the AWS configuration files. Default: that of the block s3."
        ),
    ] = None
    endpoint_url: Annotated[
        str | None,
        describe(description="Address of the EMR Serverless API. Default: AWS."),
    ] = None

    @field_validator("application_id")
    @classmethod
    def _application_id(cls, value: str | None) -> str | None:
        if value is not None and not _APPLICATION.fullmatch(value):
            raise ValueError(
                f"application_id {value!r}: write the id of the application, as EMR Studio shows "
                "it: digits and lower-case letters"
            )
        return value

    @field_validator("execution_role_arn")
    @classmethod
    def _execution_role_arn(cls, value: str | None) -> str | None:
        if value is not None and not _ROLE.fullmatch(value):
            raise ValueError(
                f"execution_role_arn {value!r}: write the ARN of a role, "
                "arn:aws:iam::<account>:role/<name>"
            )
        return value

    @field_validator("artifacts")
    @classmethod
    def _artifacts(cls, value: str) -> str:
        if not value.startswith(S3_SCHEME) or not value.removeprefix(S3_SCHEME).strip("/"):
            raise ValueError(f"artifacts {value!r}: write s3://bucket/prefix")
        return value.rstrip("/")

    @field_validator("preset")
    @classmethod
    def _preset(cls, value: str) -> str:
        if value not in PRESETS:
            raise ValueError(f"preset {value!r}: write one of {', '.join(PRESETS)}")
        return value

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_url(cls, value: str | None) -> str | None:
        return checked_endpoint(value)

    @model_validator(mode="after")
    def _capacity(self) -> "EmrServerless":
        try:
            self.capacity()
        except SettingError as error:
            raise ValueError(f"emr_serverless: {error}") from error
        return self

    def require_ids(self) -> None:
        """Raise ValueError unless the YAML has the ids that no stack tells."""
        for key in ("application_id", "execution_role_arn"):
            if getattr(self, key) is None:
                raise ValueError(
                    f"emr_serverless needs {key}: write it, or have infra.processing make it"
                )

    def capacity(self) -> Capacity:
        """Give the capacity. Raises SettingError for workers that there are not."""
        return Capacity.of(
            self.preset,
            driver_cores=self.driver_cores,
            driver_memory_gb=self.driver_memory_gb,
            driver_disk_gb=self.driver_disk_gb,
            executor_cores=self.executor_cores,
            executor_memory_gb=self.executor_memory_gb,
            executor_disk_gb=self.executor_disk_gb,
            initial_executors=self.initial_executors,
            max_executors=self.max_executors,
            spark={key: _text(value) for key, value in self.spark.items()},
        )

    def engine(self, s3: S3, stacks: StackOutputs | None = None) -> EmrServerlessEngine:
        """Give the engine; S3 is reached as the block `s3` says, `stacks` tell ids left out."""
        return EmrServerlessEngine(
            application_id=self.application_id or "",
            execution_role_arn=self.execution_role_arn or "",
            stacks=stacks if self.application_id is None else None,
            artifacts=self.artifacts,
            capacity=self.capacity(),
            package=self.package,
            timeout_minutes=self.timeout_minutes,
            tags=self.tags,
            s3=s3.access(),
            access=S3Access(self.region or s3.region, self.profile or s3.profile),
            endpoint_url=self.endpoint_url,
        )


def _text(value: bool | int | float | str) -> str:
    # YAML reads true and 8 as they are; Spark takes texts.
    return str(value).lower() if isinstance(value, bool) else str(value)
