"""`clickstream maintain`: maintenance of a lake without Dagster."""

from rich.console import Console
from rich.table import Table

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.processing.maintenance import (
    MaintenanceReport,
    MaintenanceSettings,
    maintain,
)


def maintain_lake(
    sink: str, project_id: str, s3: S3Access, settings: MaintenanceSettings, *, dry_run: bool
) -> MaintenanceReport:
    """Maintain a lake and tell about it on standard error. Raises ClickstreamError."""
    console = Console(stderr=True)
    with console.status("maintaining the lake"):
        report = maintain(Lake(sink, project_id, s3), settings, console.print, dry_run=dry_run)
    if report.changes:
        console.print(_table(report, "Would be compacted" if dry_run else "Compacted"))
    return report


def _table(report: MaintenanceReport, title: str) -> Table:
    table = Table("table", "partition", title=title)
    for column in ("files", "then", "MB", "then"):
        table.add_column(column, justify="right")
    for change in report.changes:
        table.add_row(
            change.table,
            change.partition,
            f"{change.files_before:,}",
            f"{change.files_after:,}",
            f"{change.bytes_before / 1e6:,.2f}",
            f"{change.bytes_after / 1e6:,.2f}",
        )
    return table
