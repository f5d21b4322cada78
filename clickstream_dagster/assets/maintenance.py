"""`lake_maintenance`: the lake's files, compacted and tidied up."""

from typing import TYPE_CHECKING

import dagster as dg

from clickstream_dagster.assets.failures import clear_failures
from clickstream_dagster.assets.project import Project

if TYPE_CHECKING:
    from clickstream_dagster.processing.maintenance import MaintenanceReport

NAME = "lake_maintenance"

DESCRIPTION = """\
The lake in good order: small data files compacted, old snapshots expired, files that nothing needs
removed. No row changes, and batches can be processed meanwhile."""

MOST_PARTITIONS_TOLD = 200


def lake_maintenance(project: Project) -> dg.AssetsDefinition:
    """Build the asset that maintains the lake."""

    @dg.asset(
        key=project.key(NAME),
        description=DESCRIPTION,
        deps=[project.key("ods_event"), project.key("bad_event")],
        group_name=project.name("lake"),
        kinds={"python", "iceberg"},
        owners=list(project.owners),
        tags={**project.tags, "clickstream/layer": "lake"},
        # Not the pool of the batches: they go on meanwhile.
        pool=project.name("maintenance"),
    )
    def maintain_lake(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from clickstream_dagster.processing.lake import TABLES, Lake
        from clickstream_dagster.processing.maintenance import MaintenanceReport, maintain

        lake = Lake(project.lake, project.project_id, project.s3)
        if not any(lake.has(table) for table in TABLES):
            context.log.info("no window has been processed yet")
            return dg.MaterializeResult(metadata=_metadata(MaintenanceReport()))
        with clear_failures():
            report = maintain(lake, project.maintenance, context.log.info)
        return dg.MaterializeResult(metadata=_metadata(report))

    return maintain_lake


def _metadata(report: "MaintenanceReport") -> dict[str, object]:
    rows = [
        f"| {change.table} | {change.partition} | {change.files_before:,} | {change.files_after:,}"
        f" | {change.bytes_before / 1e6:,.2f} | {change.bytes_after / 1e6:,.2f} |"
        for change in report.changes[:MOST_PARTITIONS_TOLD]
    ]
    if len(report.changes) > MOST_PARTITIONS_TOLD:
        rows.append(f"| and {len(report.changes) - MOST_PARTITIONS_TOLD:,} more | | | | | |")
    head = [
        "| table | partition | files | then | MB | then |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    return {
        **report.counters(),
        **({"compacted": dg.MetadataValue.md("\n".join([*head, *rows]))} if rows else {}),
    }
