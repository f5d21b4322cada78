"""A project in Redshift: its events, its models, its users, and what is done now and then."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from clickstream_dagster.assets.failures import clear_failures
from clickstream_dagster.assets.manifest import MANIFEST
from clickstream_dagster.assets.models import UPKEEP, ModelPlace, TableMetadata
from clickstream_dagster.assets.project import Project

if TYPE_CHECKING:
    from clickstream_dagster.resources.redshift import RedshiftWarehouse
    from clickstream_dagster.warehouses.redshift.loading import CopySettings

ENGINE = "redshift"
EVENTS, USERS = "ods_event", "dim_user"
APP_VIEWS, EXPIRED = "app_views", "expired_events"


class Expiry(dg.Config):
    """`dry_run` only tells what would go."""

    dry_run: bool = False


def redshift_events(
    project: Project, warehouse: "RedshiftWarehouse", copy: "CopySettings"
) -> dg.AssetsDefinition:
    """Build the asset of the events: each run loads everything that the lake has and it has not."""

    @dg.asset(
        **_common(project, EVENTS),
        description="The lake's events in Redshift, loaded by COPY: each file once, a batch that "
        "was processed again in its place.",
        deps=[project.key("ods_event")],
        partitions_def=project.partitions,
        backfill_policy=project.backfill_policy,
    )
    def load_events(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from clickstream_dagster.processing.lake import Lake
        from clickstream_dagster.warehouses.redshift.loading import load
        from clickstream_dagster.warehouses.redshift.tables import set_up

        with clear_failures():
            sql = warehouse.sql()
            set_up(sql, project.project_id)
            lake = Lake(project.lake, project.project_id, project.s3)
            done = load(sql, lake, warehouse.copy_settings(copy))
        loads = done.loads
        days = [f"{app} {day}" for app, day in done.expired]
        if days:
            context.log.warning(
                "changed in the lake since they expired here, and left as they were: "
                + ", ".join(days)
            )
        return dg.MaterializeResult(
            metadata={
                **({"expired_days_changed": days} if days else {}),
                "loads": len(loads),
                "files": sum(one.files for one in loads),
                "events": sum(one.rows for one in loads),
                "gone_files": sum(one.gone_files for one in loads),
            }
        )

    return load_events


def redshift_place(project: Project, warehouse: "RedshiftWarehouse") -> ModelPlace:
    """Give the project's models in Redshift: they read what is loaded there."""
    state = Path(warehouse.scratch)
    return ModelPlace(
        warehouse,
        ENGINE,
        source=project.key(ENGINE, EVENTS),
        state=state,
        pool=project.name(ENGINE),
        environment=lambda: {**warehouse.environment(), **warehouse.credentials()},
        tables=lambda: table_metadata(warehouse, state / MANIFEST),
    )


def table_metadata(warehouse: "RedshiftWarehouse", manifest: Path) -> TableMetadata:
    """Give the columns of each model as they are documented, and the rows of those with a table.

    Redshift counts a table's rows without reading its columns; of views it would read them.
    """
    from clickstream_dagster.warehouses.redshift.sql import literal, name

    schema = name(warehouse.project_id)
    told: TableMetadata = {}
    tables = []
    for node in json.loads(manifest.read_text())["nodes"].values():
        if node["resource_type"] != "model":
            continue
        columns = [
            dg.TableColumn(column["name"], description=column["description"])
            for column in node["columns"].values()
        ]
        told[node["name"]] = {"dagster/column_schema": dg.TableSchema(columns)}
        if node["config"]["materialized"] != "view":
            tables.append(node["name"])
    query = " union all ".join(
        f"select {literal(table)} as name, count(*) as row_count from {schema}.{name(table)}"
        for table in tables
    )
    for table, rows in warehouse.sql().query(query):
        told[str(table)]["dagster/row_count"] = int(str(rows))
    return told


def redshift_users(project: Project, warehouse: "RedshiftWarehouse") -> dg.AssetsDefinition:
    """Build the asset of the dimension of users."""

    @dg.asset(
        **_common(project, USERS),
        description="Properties that were last known of each user, at a frequency of its own.",
        deps=[project.key(ENGINE, EVENTS)],
    )
    def upsert(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from clickstream_dagster.warehouses.redshift.users import upsert_users

        with clear_failures():
            found = upsert_users(warehouse.sql(), project.project_id)
        return dg.MaterializeResult(metadata={"loads": found.upto - found.after})

    return upsert


def redshift_app_views(project: Project, warehouse: "RedshiftWarehouse") -> dg.AssetsDefinition:
    """Build the asset of the apps' schemas. Raises RedshiftError if two apps would share one."""
    from clickstream_dagster.warehouses.redshift.apps import app_schemas

    app_schemas(project.project_id, project.app_ids)

    @dg.asset(
        **_common(project, APP_VIEWS),
        description="A schema for each app, with views over its rows; materialised views of the "
        "project that are stale are refreshed.",
        deps=[project.key(ENGINE, EVENTS), project.key(ENGINE, USERS)],
    )
    def make_views(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from clickstream_dagster.resources.dbt import models_of_apps
        from clickstream_dagster.warehouses.redshift.apps import create_app_views, refresh

        with clear_failures():
            sql = warehouse.sql()
            schemas = create_app_views(sql, project.project_id, project.app_ids, models_of_apps())
            refreshed = refresh(sql, [project.project_id, *schemas.values()])
        return dg.MaterializeResult(
            metadata={"schemas": list(schemas.values()), "refreshed": refreshed}
        )

    return make_views


def redshift_expiry(
    project: Project, warehouse: "RedshiftWarehouse", days: int
) -> dg.AssetsDefinition:
    """Build the asset that takes old days out of the events."""

    @dg.asset(
        **_common(project, EXPIRED),
        description=f"Events of days before the last {days} are taken out; the lake keeps them, "
        "and sessions, users and days stay.",
        deps=[project.key(ENGINE, EVENTS)],
    )
    def expire_events(context: dg.AssetExecutionContext, config: Expiry) -> dg.MaterializeResult:
        from clickstream_dagster.warehouses.redshift.expiry import expire

        with clear_failures():
            gone = expire(
                warehouse.sql(),
                project.project_id,
                days,
                datetime.now(UTC).date(),
                dry_run=config.dry_run,
            )
        return dg.MaterializeResult(
            metadata={
                "dry_run": config.dry_run,
                "events": sum(day.events for day in gone),
                "days": len({day.day for day in gone}),
            }
        )

    return expire_events


def _common(project: Project, name: str) -> dict[str, Any]:
    return {
        "key": project.key(ENGINE, name),
        "group_name": project.name(ENGINE),
        "kinds": {"redshift", "table"},
        "owners": list(project.owners),
        "tags": {**project.tags, "clickstream/layer": "base" if name == EVENTS else UPKEEP},
        "pool": project.name(ENGINE),
    }
