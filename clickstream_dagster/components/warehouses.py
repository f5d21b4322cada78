"""The part of a project's YAML about its warehouses, and what each of them gives to the graph."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import dagster as dg
from pydantic import field_validator, model_validator

from clickstream_dagster.components.athena import Athena
from clickstream_dagster.components.cron import checked_cron
from clickstream_dagster.components.fields import describe
from clickstream_dagster.components.redshift import Redshift

if TYPE_CHECKING:
    from clickstream_dagster.assets.models import ModelPlace
    from clickstream_dagster.assets.project import Project
    from clickstream_dagster.checks.parity import Query


class Warehouse(dg.Model, dg.Resolvable):
    """A warehouse that the models are built in."""

    engine: Annotated[
        Literal["duckdb", "redshift", "athena"],
        describe(description="Engine of the warehouse."),
    ] = "duckdb"
    path: Annotated[
        str | None,
        describe(
            description="DuckDB file; relative to the Dagster project. "
            "Default: data/<project_id>/warehouse.duckdb.",
            examples=["data/shop/warehouse.duckdb"],
        ),
    ] = None
    redshift: Annotated[
        Redshift | None,
        describe(description="Where it is, and how to sign in, for the engine redshift."),
    ] = None
    athena: Annotated[
        Athena | None,
        describe(description="Where tables and results go, for the engine athena."),
    ] = None

    tests_cron: Annotated[
        str,
        describe(
            description="When the models are tested over the whole history, as five cron fields in "
            "UTC. The schedule starts by itself when the project has a trigger.",
            examples=["0 4 * * 0"],
        ),
    ] = "0 4 * * 0"

    @field_validator("tests_cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        return checked_cron("tests_cron", value, "0 4 * * 0")

    @model_validator(mode="after")
    def _block(self) -> "Warehouse":
        needed = {
            "redshift": "database, host, manifests, and workgroup or cluster",
            "athena": "data, work_group and results",
        }
        for engine, keys in needed.items():
            if (self.engine == engine) != (getattr(self, engine) is not None):
                raise ValueError(
                    f"a warehouse of engine {engine} has a block {engine}, and no other has: write "
                    f"{keys} there"
                )
        if self.engine != "duckdb" and self.path is not None:
            raise ValueError(f"path is the DuckDB file: leave it out for {self.engine}")
        return self

    def defs(self, project: "Project", root: Path) -> dg.Definitions:
        """Give what a project has in this warehouse; dbt's directories are below `root`."""
        if self.redshift is not None:
            return redshift_defs(project, self.redshift, root, self.tests_cron)
        if self.athena is not None:
            return athena_defs(project, self.athena, root, self.tests_cron)
        from clickstream_dagster.assets.duckdb import duckdb_place

        return model_defs(project, duckdb_place(project), self.tests_cron)

    def query(self, project: "Project", root: Path) -> "Query":
        """Give the way for a query of a project's models in this warehouse."""
        if self.redshift is not None:
            return self.redshift.warehouse(project, scratch(project, root, self.engine)).query
        if self.athena is not None:
            return self.athena.warehouse(project, scratch(project, root, self.engine)).query
        from clickstream_dagster.assets.duckdb import duckdb_warehouse

        return duckdb_warehouse(project).query


def scratch(project: "Project", root: Path, engine: str) -> Path:
    """Give dbt's directory for a project in a warehouse of the cloud."""
    return root / "data" / project.project_id / f"{engine}_dbt"


def model_defs(project: "Project", place: "ModelPlace", tests_cron: str) -> dg.Definitions:
    """Give the models of a warehouse, and their tests over the whole history."""
    from clickstream_dagster.assets.models import model_assets
    from clickstream_dagster.automation.model_tests import model_tests

    return dg.Definitions.merge(
        dg.Definitions(assets=[model_assets(project, place)]),
        model_tests(project, place, tests_cron),
    )


def redshift_defs(
    project: "Project", settings: Redshift, root: Path, tests_cron: str
) -> dg.Definitions:
    """Give what a project has in Redshift."""
    from clickstream_dagster.assets import redshift
    from clickstream_dagster.automation.redshift import redshift_automation

    warehouse = settings.warehouse(project, scratch(project, root, "redshift"))
    return dg.Definitions.merge(
        model_defs(project, redshift.redshift_place(project, warehouse), tests_cron),
        dg.Definitions(
            assets=[
                redshift.redshift_events(project, warehouse, settings.copy_settings()),
                redshift.redshift_users(project, warehouse),
                redshift.redshift_app_views(project, warehouse),
                *(
                    [redshift.redshift_expiry(project, warehouse, settings.keep_days)]
                    if settings.keep_days is not None
                    else []
                ),
            ]
        ),
        redshift_automation(
            project,
            settings.users_cron,
            settings.expiry_cron if settings.keep_days is not None else None,
        ),
    )


def athena_defs(
    project: "Project", settings: Athena, root: Path, tests_cron: str
) -> dg.Definitions:
    """Give what a project has on Athena."""
    from clickstream_dagster.assets import athena

    warehouse = settings.warehouse(project, scratch(project, root, "athena"))
    queries = athena.athena_saved_queries(project, warehouse, settings.group(project.project_id))
    return dg.Definitions.merge(
        model_defs(project, athena.athena_place(project, warehouse), tests_cron),
        dg.Definitions(assets=[queries]),
    )


def parity_defs(
    project: "Project", warehouses: Sequence[Warehouse], days: int, root: Path
) -> dg.Definitions:
    """Give the check that compares a project's warehouses over some days."""
    from clickstream_dagster.checks.parity import parity_check

    queries = {one.engine: one.query(project, root) for one in warehouses}
    return dg.Definitions(
        asset_checks=[parity_check(project.key, project.project_id, queries, days)]
    )
