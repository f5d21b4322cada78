"""The models of a warehouse: one dbt project, an asset for each model, its tests as checks."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from clickstream_dagster.assets.manifest import (
    TARGET,
    dbt_executable,
    prepared_manifest,
    run_directory,
)
from clickstream_dagster.assets.project import Project


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

    from clickstream_dagster.resources.dbt import Warehouse, dbt_project_dir

    warehouse = Warehouse(Path(project.lake), project.project_id, Path(project.warehouse))
    state = Path(project.dbt_state)

    class Translator(DagsterDbtTranslator):
        """Puts models under `<project>/duckdb/`; the lake is their source."""

        def get_asset_spec(
            self, manifest: Mapping[str, Any], unique_id: str, dbt_project: DbtProject | None
        ) -> dg.AssetSpec:
            spec = super().get_asset_spec(manifest, unique_id, dbt_project)
            node = self.get_resource_props(manifest, unique_id)
            if node["resource_type"] == "source":
                return spec.replace_attributes(key=project.key("ods_event"))
            materialized = node.get("config", {}).get("materialized", "table")
            return spec.replace_attributes(
                key=project.key(TARGET, node["name"]),
                description=node.get("description") or None,
                group_name=project.name(TARGET),
                kinds={"dbt", TARGET, "view" if materialized == "view" else "table"},
                owners=list(project.owners),
                tags={
                    **project.tags,
                    "clickstream/layer": "view" if materialized == "view" else "base",
                },
            )

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
        dbt = DbtCliResource(
            project_dir=str(dbt_project_dir()),
            profiles_dir=str(dbt_project_dir()),
            target=TARGET,
            dbt_executable=dbt_executable(),
        )
        with _environment(warehouse.environment()):
            invocation = dbt.cli(
                ["build"], context=context, target_path=run_directory(state, context.run_id)
            )
            yield from invocation.stream().fetch_row_counts().fetch_column_metadata()

    return build_models


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


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
