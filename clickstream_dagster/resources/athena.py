"""Runs dbt on Athena: the models over the lake's Iceberg table, in the lake's own Glue database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clickstream_dagster.batches.objects import S3_SCHEME
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.errors import SettingError
from clickstream_dagster.resources.dbt import ModelError, dbt_settings, dbt_vars, invoke_dbt
from clickstream_dagster.resources.definitions import Definitions

if TYPE_CHECKING:
    from mypy_boto3_athena.client import AthenaClient


@dataclass(frozen=True, slots=True)
class AthenaWarehouse:
    """The models of a project on Athena.

    `project_id` is the Glue database of the lake and of the models, `data` the place on S3 of what
    the models write, `scratch` a local directory for what dbt writes beside that. Results of
    queries go to `<data>/query-results/`, unless the work group enforces a place of its own. Of
    `s3` region and profile are used.
    Raises SettingError when `data` is not on S3.
    """

    project_id: str
    data: str
    scratch: Path
    work_group: str = "primary"
    s3: S3Access = field(default_factory=S3Access)
    definitions: Definitions = field(default_factory=Definitions)

    def __post_init__(self) -> None:
        if not self.data.startswith(S3_SCHEME):
            raise SettingError(
                f"data {self.data!r} is not on S3: write the place that Athena may write tables"
                " to, such as s3://bucket/models/"
            )

    def environment(self) -> dict[str, str]:
        """The environment that a run of dbt on this warehouse needs."""
        data = self.data.rstrip("/")
        found = {
            "CLICKSTREAM_PROJECT": self.project_id,
            "CLICKSTREAM_ATHENA_WORK_GROUP": self.work_group,
            "CLICKSTREAM_ATHENA_DATA": f"{data}/",
            "CLICKSTREAM_ATHENA_STAGING": f"{data}/query-results/",
            **dbt_settings(self.scratch),
        }
        if self.s3.region is not None:
            found["AWS_REGION"] = self.s3.region
        if self.s3.profile is not None:
            found["AWS_PROFILE"] = self.s3.profile
        return found

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Give the rows of a query in the project's database. Raises ModelError."""
        import pyathena

        try:
            with pyathena.connect(
                work_group=self.work_group,
                schema_name=self.project_id,
                s3_staging_dir=f"{self.data.rstrip('/')}/query-results/",
                region_name=self.s3.region,
                profile_name=self.s3.profile,
            ) as connection:
                return connection.cursor().execute(sql).fetchall()
        except pyathena.Error as error:
            raise ModelError(f"Athena did not answer for {self.project_id}: {error}") from error

    def client(self) -> "AthenaClient":
        """Give a client of Athena's API."""
        return self.s3.client_of("athena", self.s3.region)


def run_dbt_on_athena(
    arguments: Sequence[str], warehouse: AthenaWarehouse, *, check_everything: bool = False
) -> None:
    """Run one dbt command, such as `["build"]`. Raises ModelError when it does not pass.

    Tests look at the days of the last load, with `check_everything` at the whole history.
    """
    place = f"Athena, database {warehouse.project_id}"
    arguments = [*arguments, *dbt_vars(warehouse.definitions, check_everything=check_everything)]
    invoke_dbt(arguments, "athena", warehouse.environment(), place)
