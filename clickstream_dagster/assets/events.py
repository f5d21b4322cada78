"""`ods_event` and `bad_event`: a window's raw objects, processed into the lake."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg

from clickstream_dagster.assets.columns import table_schema
from clickstream_dagster.assets.failures import clear_failures
from clickstream_dagster.assets.project import Project
from clickstream_dagster.checks.quality import check_results, check_specs
from clickstream_dagster.resources.emr_serverless import EmrServerlessEngine
from clickstream_dagster.resources.spark import SparkEngine

if TYPE_CHECKING:
    from clickstream_dagster.processing.counters import BatchCounters

Engine = SparkEngine | EmrServerlessEngine

DESCRIPTIONS = {
    "ods_event": """\
One row per event: decoded, cleaned, typed, enriched with browser and place, without duplicates.
An Iceberg table, partitioned by app and day. A window is one batch and one snapshot; processing
it again replaces its rows.""",
    "bad_event": """\
One row per request or event that could not be read, with the reason and the original bytes. When
the reason is gone, the job `<project>_replay` processes it again.""",
}


def lake_events(project: Project, spark: Engine) -> dg.AssetsDefinition:
    """Build the assets that process windows on an engine; they return the quality checks."""
    # Resources of a code location share one set of keys, and projects may differ in their engine.
    spark_key = project.name("spark")

    @dg.multi_asset(
        name=project.name("lake_events"),
        specs=[_spec(project, table) for table in DESCRIPTIONS],
        check_specs=check_specs(project),
        partitions_def=project.partitions,
        backfill_policy=project.backfill_policy,
        pool=project.name("lake"),
        resource_defs={spark_key: spark},
        can_subset=False,
    )
    def process_windows(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult | dg.AssetMaterialization]:
        partitions = context.partition_keys
        done: dict[str, BatchCounters] = {}
        engine: Engine = getattr(context.resources, spark_key)
        try:
            for place, partition in enumerate(partitions, 1):
                with clear_failures():
                    done[partition] = _process(context, project, engine, partition)
                context.log.info(
                    f"window {partition} ({place} of {len(partitions)}): "
                    f"{done[partition].events:,} events, {done[partition].written:,} written"
                )
        except BaseException:
            # The windows before the failure are committed: let the record say so.
            for partition, counters in done.items():
                for table in DESCRIPTIONS:
                    yield dg.AssetMaterialization(
                        project.key(table),
                        partition=partition,
                        metadata=_metadata(table, counters),
                    )
            raise
        for table in DESCRIPTIONS:
            rows = _rows(project, table)
            for partition, counters in done.items():
                context.add_asset_metadata(
                    {**_metadata(table, counters), "dagster/row_count": rows},
                    project.key(table),
                    partition_key=partition,
                )
        for table in DESCRIPTIONS:
            yield dg.MaterializeResult(asset_key=project.key(table))
        yield from check_results(
            project, {partition: counters.as_dict() for partition, counters in done.items()}
        )

    return process_windows


def _process(
    context: dg.AssetExecutionContext, project: Project, engine: Engine, partition: str
) -> "BatchCounters":
    window = project.window(partition)
    ledger = project.ledger()
    manifest = ledger.open(window)
    settings = project.batch_settings(window.batch)
    return engine.process(context, settings, manifest, ledger.address(manifest))


def _spec(project: Project, table: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=project.key(table),
        deps=[project.key("raw_batch")],
        description=DESCRIPTIONS[table],
        group_name=project.name("lake"),
        kinds={"pyspark", "iceberg"},
        owners=list(project.owners),
        tags={**project.tags, "clickstream/layer": "lake"},
        metadata={
            "dagster/column_schema": table_schema(table),
            "dagster/table_name": f"{project.project_id}.{table}",
            "dagster/uri": f"{project.lake.rstrip('/')}/{project.project_id}/{table}",
        },
    )


def _metadata(table: str, counters: "BatchCounters") -> Mapping[str, int]:
    """The rows of the window's batch; for `ods_event` every counter of it too."""
    rows = counters.written if table == "ods_event" else counters.bad
    return {
        "dagster/partition_row_count": rows,
        **(counters.as_dict() if table == "ods_event" else {"bad": counters.bad}),
    }


def _rows(project: Project, table: str) -> int:
    """Give the rows of the whole table, which its snapshot knows; 0 before the first one."""
    from clickstream_dagster.processing.lake import Lake

    lake = Lake(project.lake, project.project_id, project.s3)
    snapshot = lake.table(table).current_snapshot() if lake.has(table) else None
    return int((snapshot and snapshot.summary and snapshot.summary["total-records"]) or 0)
