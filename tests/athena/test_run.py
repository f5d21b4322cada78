"""A run of Dagster builds the models on Athena, and tells what Athena has then."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import dagster as dg

from tests.athena.conftest import TwoLakes
from tests.athena.test_assets import PLACES, component
from tests.views import VIEWS


def test_a_run_builds_the_models_and_tells_rows_columns_and_lineage(
    lakes: TwoLakes, tmp_path: Path
) -> None:
    athena = {**PLACES, "data": lakes.athena.data}
    yaml = component(
        project_id=lakes.project,
        app_ids=["web", "app"],
        end_date="2025-01-31",
        interval="1 day",
        lake=lakes.on_s3.root,
        warehouses=[{"engine": "athena", "athena": athena}],
    )
    project = replace(yaml.project(tmp_path), definitions=lakes.athena.definitions)
    definitions = yaml.warehouses[0].defs(project, tmp_path)
    assets = list(definitions.resolve_asset_graph().assets_defs)
    queries = dg.AssetKey([lakes.project, "athena", "saved_queries"])

    def run(selection: dg.AssetSelection, **more: Any) -> dict[str, dict[str, Any]]:
        result = dg.materialize(assets, selection=selection, **more)
        return {
            event.asset_key.path[-1]: dict(event.materialization.metadata)
            for event in result.get_asset_materialization_events()
        }

    models = dg.AssetSelection.key_prefixes([lakes.project, "athena"]) - dg.AssetSelection.assets(
        queries
    )
    told = run(models, partition_key="2024-12-29")
    assert set(told) >= {*VIEWS, "clickstream_session_base", "clickstream_activity_daily"}
    for table in ("clickstream_session_base", "clickstream_activity_daily"):
        ((rows,),) = lakes.query(f"select count(*) from {table}")
        assert told[table]["dagster/row_count"].value == rows > 0
    assert "dagster/row_count" not in told["clickstream_session_view"]
    columns = told["clickstream_session_view"]["dagster/column_schema"].value.columns
    assert {"session_id", "session_duration"} <= {column.name for column in columns}
    assert [name for name, one in told.items() if "dagster/column_lineage" not in one] == []
    lineage = told["clickstream_session_view"]["dagster/column_lineage"].value
    (parent,) = {dep.asset_key.path[-1] for dep in lineage.deps_by_column["session_id"]}
    assert parent == "clickstream_session_base"
    lakes.must_be_equal()

    made = run(dg.AssetSelection.assets(queries))["saved_queries"]
    assert made["changed"].value is True
    assert set(made["changed_queries"].value) == set(VIEWS)
    assert run(dg.AssetSelection.assets(queries))["saved_queries"]["changed_queries"].value == []
    group = boto3.client("athena").get_work_group(WorkGroup="shop")["WorkGroup"]
    assert group["Configuration"]["BytesScannedCutoffPerQuery"] == 100_000_000_000
