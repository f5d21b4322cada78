"""The lake is maintained by a run of its own, beside the windows."""

from datetime import date
from typing import Any

import dagster as dg
import pyarrow as pa

from clickstream_dagster.assets.maintenance import lake_maintenance
from clickstream_dagster.processing.compaction import MANY
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.processing.schema import ODS_EVENT


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_what_was_compacted_is_told_by_partition(project) -> None:
    shop = project(maintenance={"target_file_mb": 128})
    lake = Lake(shop.lake, "shop")
    for number in range(MANY):
        row = {"app_id": "web", "event_date": date(2026, 1, 1), "event_id": f"e{number}"}
        lake.table("ods_event").append(pa.Table.from_pylist([row], ODS_EVENT))
    asset = lake_maintenance(shop)
    assert asset.op.pool == "shop_maintenance"
    told = metadata(dg.materialize([asset]))
    assert (told["compacted_files"], told["files_after"], told["bytes_freed"]) == (MANY, 1, 0)
    assert f"| ods_event | web 2026-01-01 | {MANY} | 1 |" in told["compacted"]
    assert len(lake.data_files("ods_event")) == 1
    assert "compacted" not in metadata(dg.materialize([asset]))


def test_before_the_first_window_there_is_nothing_to_do(project) -> None:
    told = metadata(dg.materialize([lake_maintenance(project())]))
    assert told["files_before"] == 0
