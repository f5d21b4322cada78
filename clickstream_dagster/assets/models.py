"""The models of a warehouse: one dbt project, an asset for each model, its tests as checks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from clickstream_dagster.assets.failures import clear_failures
from clickstream_dagster.assets.lineage import lineage_metadata
from clickstream_dagster.assets.manifest import dbt_executable, prepared_manifest, run_directory
from clickstream_dagster.assets.project import Project

if TYPE_CHECKING:
    from dagster_dbt import DagsterDbtTranslator, DbtCliResource

    from clickstream_dagster.resources.dbt import Models

UPKEEP = "upkeep"
"""Layer of the assets that are no part of the way from raw files to views."""

TableMetadata = dict[str, dict[str, Any]]
"""What is told of the relations of a project after a build, by name; `dagster/column_schema` of
each, `dagster/row_count` of those that are cheap to count."""


class ModelBuild(dg.Config):
    """How a run builds the models.

    With `check_everything` the tests look at the whole history, not only at the days of the last
    load; with `full_refresh` all models are built from nothing.
    """

    check_everything: bool = False
    full_refresh: bool = False


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """A project's models in a warehouse of an engine, as runs of Dagster need to know them.

    `source` is the asset that they read, `state` the directory of dbt's manifest and runs, `pool`
    that of all runs that write to the warehouse. `environment` gives what a run of dbt needs, and
    raises what says that the warehouse can't be had; `tables` tells of the relations behind it.
    """

    warehouse: "Models"
    engine: str
    source: dg.AssetKey
    state: Path
    pool: str
    environment: Callable[[], Mapping[str, str]]
    tables: Callable[[], TableMetadata]


def model_assets(project: Project, place: ModelPlace) -> dg.AssetsDefinition:
    """Build the assets of the project's models in a warehouse.

    One dbt build brings the warehouse up to date, whatever the window; the models have the
    project's partitions so that a range of windows is one run from raw files to views.
    """
    from dagster_dbt import dbt_assets

    from clickstream_dagster.resources.dbt import WITHOUT_UNIT_TESTS, dbt_environment, dbt_vars

    @dbt_assets(
        manifest=prepared_manifest(place.warehouse, place.state, place.engine),
        name=project.name(f"{place.engine}_models"),
        dagster_dbt_translator=model_translator(project, place.engine, place.source),
        partitions_def=project.partitions,
        backfill_policy=project.backfill_policy,
        pool=place.pool,
    )
    def build_models(context: dg.AssetExecutionContext, config: ModelBuild) -> Iterator[Any]:
        with clear_failures():
            settings = place.environment()
        target = run_directory(place.state, context.run_id)
        with dbt_environment(settings):
            invocation = dbt_process(place.engine).cli(
                [
                    "build",
                    *WITHOUT_UNIT_TESTS,
                    *(["--full-refresh"] if config.full_refresh else []),
                    *dbt_vars(
                        place.warehouse.definitions, check_everything=config.check_everything
                    ),
                ],
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
        told_of = place.tables() if failure is None else {}
        keys = {
            event.output_name: context.asset_key_for_output(event.output_name)
            for event in events
            if isinstance(event, dg.Output)
        }
        lineage = lineage_metadata(
            project,
            place.engine,
            place.source,
            place.state,
            target,
            [key.path[-1] for key in keys.values()],
            {name: told["dagster/column_schema"] for name, told in told_of.items()},
            context.log.debug,
        )
        for event in events:
            if isinstance(event, dg.Output):
                key = keys[event.output_name]
                told = {**told_of.get(key.path[-1], {}), **lineage.get(key.path[-1], {})}
                context.add_asset_metadata(told, asset_key=key)
            yield event
        if failure is not None:
            raise failure

    return build_models


def model_translator(project: Project, target: str, source: dg.AssetKey) -> "DagsterDbtTranslator":
    """Give what makes assets of the models of an engine; `source` is the asset that they read."""
    from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject

    class Translator(DagsterDbtTranslator):
        """Puts models under `<project>/<engine>/`; the lake is their source."""

        def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
            if dbt_resource_props["resource_type"] == "source":
                return source
            return project.key(target, dbt_resource_props["name"])

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
                group_name=project.name(target),
                kinds={"dbt", target, "view" if materialized == "view" else "table"},
                owners=list(project.owners),
                tags={
                    **project.tags,
                    "clickstream/layer": "view" if materialized == "view" else "base",
                },
            )

    # The source has several tables, the events and their files: all are the one asset.
    return Translator(DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True))


def dbt_process(target: str) -> "DbtCliResource":
    """Give the resource that runs dbt on an engine."""
    from dagster_dbt import DbtCliResource
    from dbt.version import __version__ as dbt_version
    from packaging.version import Version

    from clickstream_dagster.resources.dbt import dbt_project_dir

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

    return Dbt(
        project_dir=str(dbt_project_dir()),
        profiles_dir=str(dbt_project_dir()),
        target=target,
        dbt_executable=dbt_executable(),
    )
