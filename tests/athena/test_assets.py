"""A project with a warehouse on Athena: its YAML and its assets."""

from typing import Any

import dagster as dg
import pytest

from clickstream_dagster.components import ClickstreamProject

PLACES = {"data": "s3://bucket/models", "results": "s3://bucket/results", "work_group": "shop"}
ATHENA = {"engine": "athena", "athena": PLACES}


def component(**attributes: Any) -> ClickstreamProject:
    return ClickstreamProject.from_attributes_dict(
        attributes={
            "project_id": "shop",
            "app_ids": ["web"],
            "start_date": "2024-12-01",
            "lake": "s3://bucket/lake",
            "warehouses": [ATHENA],
            **attributes,
        }
    )


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"lake": "data/lake"}, "write lake: s3://bucket/prefix"),
        ({"warehouses": [{"engine": "athena"}]}, "has a block athena"),
        ({"warehouses": [{**ATHENA, "path": "a.duckdb"}]}, "leave it out for athena"),
        (
            {"warehouses": [{"engine": "athena", "athena": {**PLACES, "data": "/tmp"}}]},
            "write s3://bucket/prefix",
        ),
        (
            {"warehouses": [{"engine": "athena", "athena": {**PLACES, "scan_limit_gb": 0}}]},
            "scan_limit_gb",
        ),
        ({"warehouses": [ATHENA, ATHENA]}, "has an engine twice"),
    ],
)
def test_what_is_wrong_is_named(attributes: dict[str, Any], why: str) -> None:
    with pytest.raises(Exception, match=why):
        component(**attributes)


def test_models_are_assets_behind_the_lakes_events(tmp_path) -> None:
    project = component()
    definitions = project.warehouses[0].defs(project.project(tmp_path), tmp_path)
    graph = definitions.resolve_asset_graph()
    base = dg.AssetKey(["shop", "athena", "clickstream_event_base"])
    assert dg.AssetKey(["shop", "ods_event"]) in graph.get(base).parent_keys
    view = dg.AssetKey(["shop", "athena", "clickstream_session_view"])
    assert graph.get(view).group_name == "shop_athena"
    assert definitions.resolve_schedule_def("shop_athena_tests").job_name == "shop_athena_tests"
