"""A project on Athena: its models, and its work group with the saved queries of the views."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from clickstream_dagster.assets.failures import clear_failures
from clickstream_dagster.assets.models import UPKEEP, ModelPlace, TableMetadata
from clickstream_dagster.assets.project import Project

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from clickstream_dagster.resources.athena import AthenaWarehouse
    from clickstream_dagster.warehouses.athena.work_group import WorkGroup

ENGINE = "athena"
SAVED_QUERIES = "saved_queries"


def athena_place(project: Project, warehouse: "AthenaWarehouse") -> ModelPlace:
    """Give the project's models on Athena: they read the lake's own table."""
    return ModelPlace(
        warehouse,
        ENGINE,
        source=project.key("ods_event"),
        state=Path(warehouse.scratch),
        pool=project.name(ENGINE),
        environment=warehouse.environment,
        tables=lambda: table_metadata(project),
    )


def athena_saved_queries(
    project: Project, warehouse: "AthenaWarehouse", group: "WorkGroup"
) -> dg.AssetsDefinition:
    """Build the asset of the work group and the saved queries in it.

    A work group of the project's infrastructure is its stack's, and left as that has made it.
    """

    made_here = project.stacks_of(ENGINE) is None

    @dg.asset(
        key=project.key(ENGINE, SAVED_QUERIES),
        group_name=project.name(ENGINE),
        kinds={ENGINE},
        owners=list(project.owners),
        tags={**project.tags, "clickstream/layer": UPKEEP},
        pool=project.name(ENGINE),
        description="The work group with its scan limit, and in it a saved query of each view with "
        "the parameters app, from and to.",
    )
    def set_up(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from clickstream_dagster.warehouses.athena.saved_queries import ensure_saved_queries
        from clickstream_dagster.warehouses.athena.work_group import ensure_work_group

        with clear_failures():
            client = warehouse.client()
            changed = made_here and ensure_work_group(client, group)
            queries = ensure_saved_queries(client, project.project_id, group.name)
        return dg.MaterializeResult(
            metadata={"work_group": group.name, "changed": changed, "changed_queries": queries}
        )

    return set_up


def table_metadata(project: Project) -> TableMetadata:
    """Give the columns of each relation of the models as Glue has them, and the rows of tables.

    Rows are those of the Iceberg snapshot's summary: no query is run for them.
    """
    from clickstream_dagster.processing.lake import Lake

    lake = Lake(project.lake, project.project_id, project.s3)
    told: TableMetadata = {}
    pages = project.s3.glue_client().get_paginator("get_tables")
    for page in pages.paginate(DatabaseName=project.project_id, Expression="clickstream_.*"):
        for table in page["TableList"]:
            columns = [
                dg.TableColumn(column["Name"], column["Type"])
                for column in table["StorageDescriptor"]["Columns"]
            ]
            told[table["Name"]] = {"dagster/column_schema": dg.TableSchema(columns)}
            if table["TableType"] != "VIRTUAL_VIEW":
                iceberg = lake.catalog.load_table((project.project_id, table["Name"]))
                told[table["Name"]]["dagster/row_count"] = row_count(iceberg)
    return told


def row_count(table: "Table") -> int:
    """Give the rows of an Iceberg table by the summary of its snapshot."""
    snapshot = table.current_snapshot()
    summary = snapshot.summary if snapshot else None
    if summary is None:
        return 0
    return int(summary["total-records"] or 0) - int(summary["total-position-deletes"] or 0)
