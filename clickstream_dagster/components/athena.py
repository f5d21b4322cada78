"""The part of a project's YAML about Athena: where the models' tables and query results go."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import dagster as dg
from pydantic import field_validator

from clickstream_dagster.batches.objects import S3_SCHEME, split_s3
from clickstream_dagster.components.between import Between
from clickstream_dagster.components.fields import describe

if TYPE_CHECKING:
    from clickstream_dagster.assets.project import Project
    from clickstream_dagster.resources.athena import AthenaWarehouse
    from clickstream_dagster.warehouses.athena.work_group import WorkGroup


class Athena(dg.Model, dg.Resolvable):
    """The models on Amazon Athena, over the lake's own Iceberg table in Glue."""

    data: Annotated[
        str,
        describe(
            description="S3 prefix of the models' tables.",
            examples=["s3://my-bucket/clickstream/models"],
        ),
    ]
    work_group: Annotated[
        str | None,
        describe(
            description="Work group whose settings and scan limit apply to the models' queries. "
            "Default, with infra.athena: the project's id.",
            examples=["shop"],
        ),
    ] = None
    results: Annotated[
        str,
        describe(
            description="S3 prefix of query results, for the work group.",
            examples=["s3://my-bucket/clickstream/results"],
        ),
    ]
    scan_limit_gb: Annotated[
        float,
        Between(0.01),
        describe(description="Most that one query may read, in GB (10^9 bytes)."),
    ] = 100
    kms_key_id: Annotated[
        str | None,
        describe(description="KMS key that encrypts query results. Default: S3's own."),
    ] = None

    @field_validator("data", "results")
    @classmethod
    def _on_s3(cls, value: str) -> str:
        if not value.startswith(S3_SCHEME):
            raise ValueError(f"{value!r} is not on S3: write s3://bucket/prefix")
        split_s3(value)
        return value

    def warehouse(self, project: "Project", scratch: Path) -> "AthenaWarehouse":
        """Give the warehouse of a project; `scratch` is dbt's directory."""
        from clickstream_dagster.resources.athena import AthenaWarehouse

        return AthenaWarehouse(
            project_id=project.project_id,
            data=self.data,
            scratch=scratch,
            work_group=self.work_group or project.project_id,
            s3=project.s3,
            definitions=project.definitions,
        )

    def require_work_group(self) -> None:
        """Raise ValueError unless the YAML names the work group."""
        if self.work_group is None:
            raise ValueError("athena needs work_group: write its name, or infra.athena: true")

    def group(self, project_id: str) -> "WorkGroup":
        """Give the work group of a project as it must be."""
        from clickstream_dagster.warehouses.athena.work_group import WorkGroup

        return WorkGroup(
            self.work_group or project_id,
            self.results,
            round(self.scan_limit_gb * 1e9),
            self.kms_key_id,
        )
