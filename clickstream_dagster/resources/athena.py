"""Runs dbt on Athena: the models over the lake's Iceberg table, in the lake's own Glue database."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clickstream_dagster.batches.objects import S3_SCHEME
from clickstream_dagster.errors import SettingError
from clickstream_dagster.resources.dbt import dbt_settings, invoke_dbt
from clickstream_dagster.resources.definitions import Definitions


@dataclass(frozen=True, slots=True)
class AthenaWarehouse:
    """The models of a project on Athena.

    `project_id` is the Glue database of the lake and of the models, `data` the place on S3 of what
    the models write, `scratch` a local directory for what dbt writes beside that. Results of
    queries go to `<data>/query-results/`, unless the work group enforces a place of its own.
    Raises SettingError when `data` is not on S3.
    """

    project_id: str
    data: str
    scratch: Path
    work_group: str = "primary"
    region: str = "us-east-1"
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
        return {
            "CLICKSTREAM_PROJECT": self.project_id,
            "CLICKSTREAM_ATHENA_WORK_GROUP": self.work_group,
            "CLICKSTREAM_ATHENA_DATA": f"{data}/",
            "CLICKSTREAM_ATHENA_STAGING": f"{data}/query-results/",
            "AWS_REGION": self.region,
            **dbt_settings(self.scratch),
        }


def run_dbt_on_athena(arguments: Sequence[str], warehouse: AthenaWarehouse) -> None:
    """Run one dbt command, such as `["build"]`. Raises ModelError when it does not pass."""
    place = f"Athena, database {warehouse.project_id}"
    definitions = ["--vars", json.dumps(warehouse.definitions.vars(), sort_keys=True)]
    invoke_dbt([*arguments, *definitions], "athena", warehouse.environment(), place)
