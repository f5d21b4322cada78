"""The part of a project's YAML about Redshift: where it is, how to sign in, what is done when."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import dagster as dg
from pydantic import field_validator, model_validator

from clickstream_dagster.batches.objects import S3_SCHEME, split_s3
from clickstream_dagster.components.between import Between
from clickstream_dagster.components.cron import checked_cron
from clickstream_dagster.components.fields import describe
from clickstream_dagster.components.sources import checked_endpoint

if TYPE_CHECKING:
    from clickstream_dagster.assets.project import Project
    from clickstream_dagster.resources.redshift import RedshiftWarehouse
    from clickstream_dagster.warehouses.redshift.loading import CopySettings

_ROLE = re.compile(r"arn:[\w-]+:iam::\d{12}:role/.+")
_SECRET = re.compile(r"arn:[\w-]+:secretsmanager:.+")


class Redshift(dg.Model, dg.Resolvable):
    """A warehouse of Amazon Redshift: a workgroup (Serverless) or a cluster (provisioned)."""

    database: Annotated[
        str,
        describe(
            description="Database of the project; its user may make schemas.", examples=["shop"]
        ),
    ]
    host: Annotated[
        str | None,
        describe(
            description="Endpoint that dbt connects to, without port and database. Default: that "
            "of infra.redshift.",
            examples=["team.123456789012.eu-west-1.redshift-serverless.amazonaws.com"],
        ),
    ] = None
    port: Annotated[int, Between(1, 65535), describe(description="Port of the endpoint.")] = 5439
    workgroup: Annotated[
        str | None,
        describe(
            description="Workgroup of Redshift Serverless. Default, with infra.redshift: "
            "clickstream-<project_id>.",
            examples=["team"],
        ),
    ] = None
    cluster: Annotated[
        str | None,
        describe(description="Identifier of a provisioned cluster.", examples=["analytics"]),
    ] = None
    db_user: Annotated[
        str | None,
        describe(
            description="Database user of a cluster, with temporary credentials of IAM. Default: "
            "the user that stands for the deployment's IAM role.",
            examples=["etl"],
        ),
    ] = None
    secret_arn: Annotated[
        str | None,
        describe(
            description="Secret of Secrets Manager with username and password, in place of IAM.",
            examples=["arn:aws:secretsmanager:eu-west-1:123456789012:secret:redshift-etl-a1b2c3"],
        ),
    ] = None
    copy_role_arn: Annotated[
        str | None,
        describe(
            description="Role of the warehouse that reads the lake for COPY. Default: that of "
            "infra.redshift, else the warehouse's default role.",
            examples=["arn:aws:iam::123456789012:role/redshift-copy"],
        ),
    ] = None
    manifests: Annotated[
        str,
        describe(
            description="S3 prefix for the lists of files that COPY is given.",
            examples=["s3://my-bucket/clickstream/redshift"],
        ),
    ]
    users_cron: Annotated[
        str,
        describe(
            description="When the dimension of users and the apps' views are brought up to date, "
            "as five cron fields in UTC.",
            examples=["0 1 * * *", "0 * * * *"],
        ),
    ] = "0 1 * * *"
    keep_days: Annotated[
        int | None,
        Between(1),
        describe(
            description="Days for which events are kept in Redshift; the lake keeps them. Default: "
            "for ever.",
            examples=[365],
        ),
    ] = None
    expiry_cron: Annotated[
        str,
        describe(
            description="When older events are taken out, as five cron fields in UTC.",
            examples=["0 17 * * *"],
        ),
    ] = "0 17 * * *"
    sslmode: Annotated[
        str,
        describe(description="How dbt's connection is encrypted.", examples=["verify-full"]),
    ] = "verify-full"
    data_api_endpoint_url: Annotated[
        str | None,
        describe(
            description="Address of the Data API. Default: AWS.",
            examples=["https://vpce-0123456789abcdef0.redshift-data.eu-west-1.vpce.amazonaws.com"],
        ),
    ] = None

    @field_validator("copy_role_arn")
    @classmethod
    def _role(cls, value: str | None) -> str | None:
        if value is not None and not _ROLE.fullmatch(value):
            raise ValueError(f"copy_role_arn {value!r}: write arn:aws:iam::123456789012:role/name")
        return value

    @field_validator("secret_arn")
    @classmethod
    def _secret(cls, value: str | None) -> str | None:
        if value is not None and not _SECRET.fullmatch(value):
            raise ValueError(
                f"secret_arn {value!r}: write arn:aws:secretsmanager:region:account:secret:name"
            )
        return value

    @field_validator("manifests")
    @classmethod
    def _manifests(cls, value: str) -> str:
        if not value.startswith(S3_SCHEME):
            raise ValueError(f"manifests {value!r}: write s3://bucket/prefix")
        split_s3(value)
        return value

    @field_validator("users_cron", "expiry_cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        return checked_cron("cron", value, "0 1 * * *")

    @field_validator("data_api_endpoint_url")
    @classmethod
    def _endpoint_url(cls, value: str | None) -> str | None:
        return checked_endpoint(value)

    @model_validator(mode="after")
    def _place(self) -> "Redshift":
        # Without a name it is the one that infra.redshift makes, or the project refuses it.
        if self.workgroup is not None or self.cluster is not None:
            self._require_one_place()
        return self

    def require_place(self) -> None:
        """Raise ValueError unless the YAML has what no stack tells."""
        self._require_one_place()
        if self.host is None:
            raise ValueError("redshift needs host: write it, or have infra.redshift make it")

    def _require_one_place(self) -> None:
        from clickstream_dagster.warehouses.redshift.data_api import place_of
        from clickstream_dagster.warehouses.redshift.sql import RedshiftError

        try:
            place_of(self.workgroup, self.cluster, self.db_user, self.secret_arn)
        except RedshiftError as error:
            raise ValueError(str(error)) from error

    def warehouse(self, project: "Project", scratch: Path) -> "RedshiftWarehouse":
        """Give the warehouse of a project; `scratch` is dbt's directory."""
        from clickstream_dagster.infra.names import default_workgroup
        from clickstream_dagster.resources.redshift import RedshiftWarehouse
        from clickstream_dagster.warehouses.redshift.data_api import place_of

        workgroup = self.workgroup
        if workgroup is None and self.cluster is None:
            workgroup = default_workgroup(project.project_id)
        return RedshiftWarehouse(
            project_id=project.project_id,
            database=self.database,
            place=place_of(workgroup, self.cluster, self.db_user, self.secret_arn),
            host=self.host,
            port=self.port,
            sslmode=self.sslmode,
            endpoint_url=self.data_api_endpoint_url,
            scratch=scratch,
            s3=project.s3,
            stacks=project.stacks_of("redshift"),
            definitions=project.definitions,
        )

    def copy_settings(self) -> "CopySettings":
        """Give how COPY reads the lake."""
        from clickstream_dagster.warehouses.redshift.loading import CopySettings

        return CopySettings(self.manifests, self.copy_role_arn)
