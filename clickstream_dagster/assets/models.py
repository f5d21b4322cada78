"""The models of a warehouse: one dbt project, an asset for each model, its tests as checks."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from clickstream_dagster.assets.lineage import lineage_metadata
from clickstream_dagster.assets.manifest import (
    TARGET,
    dbt_executable,
    prepared_manifest,
    run_directory,
)
from clickstream_dagster.assets.project import Project

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from clickstream_dagster.resources.dbt import Warehouse

MOST_ROWS_READ = 500_000
"""Rows that DuckDB may read to count those of one relation: under a second on two cores."""


def duckdb_models(project: Project) -> dg.AssetsDefinition:
    """Build the assets of the project's models in DuckDB.

    One dbt build brings the warehouse up to date with the lake, whatever the window; the models
    have the project's partitions so that a range of windows is one run from raw files to views.
    """
    from dagster_dbt import (
        DagsterDbtTranslator,
        DagsterDbtTranslatorSettings,
        DbtCliResource,
        DbtProject,
        dbt_assets,
    )
    from dbt.version import __version__ as dbt_version
    from packaging.version import Version

    from clickstream_dagster.resources.dbt import (
        WITHOUT_UNIT_TESTS,
        Warehouse,
        dbt_environment,
        dbt_project_dir,
    )

    warehouse = Warehouse(
        project.lake, project.project_id, Path(project.warehouse), project.s3, project.definitions
    )
    state = Path(project.dbt_state)

    class Translator(DagsterDbtTranslator):
        """Puts models under `<project>/duckdb/`; the lake is their source."""

        def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
            if dbt_resource_props["resource_type"] == "source":
                return project.key("ods_event")
            return project.key(TARGET, dbt_resource_props["name"])

        def get_asset_spec(
            self, manifest: Mapping[str, Any], unique_id: str, dbt_project: DbtProject | None
        ) -> dg.AssetSpec:
            spec = super().get_asset_spec(manifest, unique_id, dbt_project)
            node = self.get_resource_props(manifest, unique_id)
            if node["resource_type"] == "source":
                return spec
            materialized = node.get("config", {}).get("materialized", "table")
            return spec.replace_attributes(
                description=node.get("description") or None,
                group_name=project.name(TARGET),
                kinds={"dbt", TARGET, "view" if materialized == "view" else "table"},
                owners=list(project.owners),
                tags={
                    **project.tags,
                    "clickstream/layer": "view" if materialized == "view" else "base",
                },
            )

    class Dbt(DbtCliResource):
        """dbt as a process of its own, and no more.

        dagster-dbt would start dbt a second time for its version, which asks the internet, and
        open the warehouse for row counts: together longer than the build of a usual window.
        """

        @cached_property
        def _cli_version(self) -> Version:
            return Version(dbt_version)

        def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:
            return None

    @dbt_assets(
        manifest=prepared_manifest(warehouse, state),
        name=project.name("duckdb_models"),
        # `lake` has two tables, the events and their files: both are the one asset.
        dagster_dbt_translator=Translator(
            DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True)
        ),
        partitions_def=project.partitions,
        backfill_policy=project.backfill_policy,
        pool=duckdb_pool(project.warehouse),
    )
    def build_models(context: dg.AssetExecutionContext) -> Iterator[Any]:
        require_writable(warehouse.file)
        dbt = Dbt(
            project_dir=str(dbt_project_dir()),
            profiles_dir=str(dbt_project_dir()),
            target=TARGET,
            dbt_executable=dbt_executable(),
        )
        target = run_directory(state, context.run_id)
        with dbt_environment(warehouse.environment()):
            invocation = dbt.cli(
                ["build", *WITHOUT_UNIT_TESTS, *warehouse.vars_argument],
                context=context,
                target_path=target,
            )
        events, failure, built = [], None, 0
        try:
            for event in invocation.stream():
                events.append(event)
                if isinstance(event, dg.Output):
                    built += 1
                    key = context.asset_key_for_output(event.output_name)
                    context.log.info(
                        f"{key.path[-1]} ({built} of {len(context.selected_asset_keys)})"
                    )
        except Exception as error:  # what was built before the failure is still told
            failure = error
        tables = table_metadata(warehouse) if failure is None else {}
        keys = {
            event.output_name: context.asset_key_for_output(event.output_name)
            for event in events
            if isinstance(event, dg.Output)
        }
        lineage = lineage_metadata(
            project,
            target,
            [key.path[-1] for key in keys.values()],
            {name: told["dagster/column_schema"] for name, told in tables.items()},
            context.log.debug,
        )
        for event in events:
            if isinstance(event, dg.Output):
                key = keys[event.output_name]
                told = {**tables.get(key.path[-1], {}), **lineage.get(key.path[-1], {})}
                context.add_asset_metadata(told, asset_key=key)
            yield event
        if failure is not None:
            raise failure

    return build_models


def table_metadata(warehouse: "Warehouse") -> dict[str, dict[str, Any]]:
    """Give rows and columns of each relation of the project, read from the DuckDB file.

    A view whose rows are too dear to count has no row count. One read-only connection after dbt
    has let go of the file; dagster-dbt's own row counts and columns cost a connection for each
    model, and read all of it.
    """
    import duckdb

    schema = warehouse.project_id
    with duckdb.connect(str(warehouse.file), read_only=True) as connection:
        columns: dict[str, list[dg.TableColumn]] = {}
        for table, column, type_ in connection.execute(
            "select table_name, column_name, data_type from duckdb_columns()"
            " where schema_name = ? order by table_name, column_index",
            [schema],
        ).fetchall():
            columns.setdefault(table, []).append(dg.TableColumn(column, type_))
        rows = row_counts(connection, schema)
        return {
            table: {
                **({"dagster/row_count": rows[table]} if table in rows else {}),
                "dagster/column_schema": dg.TableSchema(found),
            }
            for table, found in columns.items()
        }


def row_counts(connection: "DuckDBPyConnection", schema: str) -> dict[str, int]:
    """Count the rows of the tables of a schema, and of the views that little is read for.

    For a table DuckDB reads no column, and after that it knows the rows of each view that has one
    for each of the table. Views that unnest, join or aggregate are read, and their tables grow for
    years: they are left out when DuckDB would read more than MOST_ROWS_READ.
    """
    found: dict[str, int] = {}
    for relation, is_view in connection.execute(
        "select table_name, false from duckdb_tables() where schema_name = $1 union all"
        " select view_name, true from duckdb_views() where schema_name = $1 order by 2, 1",
        [schema],
    ).fetchall():
        query = f'select count(*) from "{schema}"."{relation}"'
        if is_view:
            ((_, plan),) = connection.execute(f"explain (format json) {query}").fetchall()
            if sum(map(_rows_read, json.loads(plan))) > MOST_ROWS_READ:
                continue
        ((found[relation],),) = connection.execute(query).fetchall()
    return found


def _rows_read(step: Mapping[str, Any]) -> int:
    """Give the rows that the scans below a step of a plan read, as DuckDB estimates them."""
    if step["children"]:
        return sum(map(_rows_read, step["children"]))
    return int(step["extra_info"].get("Estimated Cardinality", 0))


def duckdb_pool(file: str) -> str:
    """Give the pool of a DuckDB file: DuckDB lets one process write at a time."""
    return f"duckdb_{hashlib.sha256(os.path.abspath(file).encode()).hexdigest()[:8]}"


def require_writable(file: Path) -> None:
    """Raise a failure that names the DuckDB file if another process has it open."""
    from dbt_common.exceptions import DbtRuntimeError

    from clickstream_dagster.resources.lake_views import check_unlocked

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        check_unlocked(str(file))
    except (OSError, DbtRuntimeError) as error:
        raise dg.Failure(description=str(error)) from error
