"""`raw_batch`: the raw objects of a window, fixed in its manifest."""

import dagster as dg

from clickstream_dagster.assets.failures import clear_failures
from clickstream_dagster.assets.project import Project
from clickstream_dagster.batches.ledger import Manifest
from clickstream_dagster.batches.objects import S3_SCHEME, relative_key

DESCRIPTION = """\
The raw files of each processing window: what the collector has stored, gzip NDJSON, one request
a line. A materialization opens the window: it writes the manifest that lists exactly the window's
objects. Manifests never change, and every object is in exactly one."""


def raw_batch(project: Project) -> dg.AssetsDefinition:
    """Build the asset that opens windows."""

    @dg.asset(
        key=project.key("raw_batch"),
        description=DESCRIPTION,
        group_name=project.name("ingest"),
        kinds={"s3" if project.raw.startswith(S3_SCHEME) else "file", "json"},
        owners=list(project.owners),
        tags={**project.tags, "clickstream/layer": "raw"},
        metadata={"dagster/uri": project.raw},
        partitions_def=project.partitions,
        backfill_policy=project.backfill_policy,
        pool=project.name("lake"),
    )
    def open_windows(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        ledger = project.ledger()
        for place, partition in enumerate(context.partition_keys, 1):
            with clear_failures():
                manifest = ledger.open(project.window(partition))
            context.add_asset_metadata(_metadata(manifest), partition_key=partition)
            context.log.info(
                f"window {partition} ({place} of {len(context.partition_keys)}): "
                f"{len(manifest.objects)} objects, {manifest.bytes:,} bytes"
            )
        return dg.MaterializeResult()

    return open_windows


def _metadata(manifest: Manifest) -> dict[str, object]:
    keys = [relative_key(manifest.source, object_.uri) for object_ in manifest.objects]
    return {
        "objects": len(keys),
        "bytes": manifest.bytes,
        "late_objects": manifest.late,
        "objects_before_start_date": manifest.before_start,
        "ledger_entry": manifest.entry,
        "window_start": manifest.window.start.isoformat(),
        "window_end": manifest.window.end.isoformat(),
        **({"first_key": keys[0], "last_key": keys[-1]} if keys else {}),
    }
