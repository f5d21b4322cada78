"""A project with a warehouse in Redshift: its YAML, its assets, and a run of them on the double."""

import json
from typing import Any

import dagster as dg
import pytest

from clickstream_dagster.components import ClickstreamProject
from tests.dbt.model_input import PROJECT
from tests.redshift.conftest import Warehouse
from tests.redshift.traffic import traffic

REDSHIFT = {
    "database": "shop",
    "host": "team.example.redshift-serverless.amazonaws.com",
    "workgroup": "team",
    "manifests": "s3://bucket/manifests",
}
APPS = ["web.shop", "app"]


def component(settings: dict[str, Any], **attributes: Any) -> ClickstreamProject:
    return ClickstreamProject.from_attributes_dict(
        attributes={
            "project_id": PROJECT,
            "app_ids": APPS,
            "start_date": "2024-12-01",
            "end_date": "2025-01-31",
            "interval": "1 day",
            "lake": "s3://bucket/lake",
            "warehouses": [{"engine": "redshift", "redshift": {**REDSHIFT, **settings}}],
            **attributes,
        }
    )


@pytest.mark.parametrize(
    ("settings", "attributes", "why"),
    [
        ({"cluster": "c"}, {}, "either workgroup .* or cluster"),
        ({"db_user": "etl"}, {}, "db_user is for a cluster"),
        ({"manifests": "/tmp"}, {}, "write s3://bucket/prefix"),
        ({"copy_role_arn": "role"}, {}, "write arn:aws:iam"),
        ({"secret_arn": "secret"}, {}, "write arn:aws:secretsmanager"),
        ({"users_cron": "daily"}, {}, "write 0 1"),
        ({}, {"lake": "data/lake"}, "write lake: s3://bucket/prefix"),
        ({}, {"app_ids": ["a.b", "a-b"]}, "would both have the schema a_b"),
        ({}, {"warehouses": [{"engine": "redshift"}]}, "has a block redshift"),
    ],
)
def test_what_is_wrong_is_named(
    settings: dict[str, Any], attributes: dict[str, Any], why: str
) -> None:
    with pytest.raises(Exception, match=why):
        component(settings, **attributes)


@pytest.mark.heavy
def test_upkeep_has_schedules_of_its_own(tmp_path) -> None:
    definitions = dg.component_defs(component=component({"keep_days": 30}))
    repository = definitions.get_repository_def()

    def assets(job: str) -> set[str]:
        keys = repository.get_job(f"{PROJECT}_{job}").asset_layer.executable_asset_keys
        return {key.path[-1] for key in keys if key.path[1] == "redshift"}

    assert assets("redshift_users") == {"dim_user", "app_views"}
    assert assets("redshift_expiry") == {"expired_events"}
    assert {"ods_event", "clickstream_session_view"} <= assets("pipeline")
    assert not assets("pipeline") & {"dim_user", "app_views", "expired_events"}
    names = {schedule.name for schedule in repository.schedule_defs}
    assert {f"{PROJECT}_redshift_{of}" for of in ("users", "expiry", "tests")} <= names


def lineage(told: dict[str, dict[str, Any]], model: str) -> dict[str, list[tuple[str, str]]]:
    """The relations and columns that each column of a model tells to come from."""
    columns = told[model]["dagster/column_lineage"].deps_by_column
    return {
        column: [(dep.asset_key.path[-1], dep.column_name) for dep in deps]
        for column, deps in columns.items()
    }


@pytest.mark.heavy
def test_a_run_from_the_lake_to_the_views_of_the_apps(warehouse: Warehouse, tmp_path) -> None:
    import boto3

    secret = boto3.client("secretsmanager").create_secret(
        Name="redshift", SecretString=json.dumps({"username": "dbt", "password": "secret"})
    )
    settings = {
        "database": warehouse.engine.database,
        "host": "127.0.0.1",
        "port": warehouse.port,
        "sslmode": "disable",
        "secret_arn": secret["ARN"],
        "manifests": warehouse.copy.manifests,
        "keep_days": 1,
        "data_api_endpoint_url": warehouse.sql._client.meta.endpoint_url,
    }
    project = component(settings, lake=warehouse.lake.root)
    definitions = project.warehouses[0].defs(project.project(tmp_path), tmp_path)
    warehouse.write(traffic(1))

    def run(*names: str, **more: Any) -> dict[str, dict[str, Any]]:
        selection = [dg.AssetKey([PROJECT, "redshift", name]) for name in names]
        result = dg.materialize(
            list(definitions.resolve_asset_graph().assets_defs), selection=selection, **more
        )
        return {
            event.asset_key.path[-1]: {
                key: value.value for key, value in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
        }

    models = [
        spec.key.path[-1]
        for spec in definitions.resolve_all_asset_specs()
        if spec.key.path[-1].startswith("clickstream_")
    ]
    told = run("ods_event", *models, partition_key="2024-12-29")
    assert (told["ods_event"]["events"], told["ods_event"]["loads"]) == (60, 1)
    assert set(told) == {"ods_event", *models}
    tables = {
        name
        for (name,) in warehouse.engine.query(
            "select table_name from information_schema.tables"
            f" where table_schema = '{PROJECT}' and table_type = 'BASE TABLE'"
        )
    } & set(models)
    assert {"clickstream_event_base", "clickstream_activity_daily"} <= tables
    assert {
        model: told[model]["dagster/row_count"]
        for model in models
        if "dagster/row_count" in told[model]
    } == {table: len(warehouse.rows(table)) for table in tables}
    assert lineage(told, "clickstream_event_base")["session_id"] == [("ods_event", "event_params")]
    assert lineage(told, "clickstream_event_base")["app_info_version"] == [
        ("ods_event", "app_info")
    ]
    assert lineage(told, "clickstream_session_view")["session_id"] == [
        ("clickstream_session_base", "session_key")
    ]
    assert all(lineage(told, model) for model in models)
    assert run("dim_user")["dim_user"]["loads"] == 1
    assert run("app_views")["app_views"]["schemas"] == ["web_shop", "app"]
    shown = [
        count
        for schema in ("web_shop", "app")
        for ((count,),) in [
            warehouse.engine.query(f"select count(*) from {schema}.clickstream_ods_event_view")
        ]
    ]
    assert sum(shown) == 60
    assert min(shown) > 0
    dry = {"ops": {f"{PROJECT}__redshift__expired_events": {"config": {"dry_run": True}}}}
    assert run("expired_events", run_config=dry)["expired_events"]["events"] == 60
    assert len(warehouse.events()) == 60
    run("expired_events")
    assert warehouse.events() == []
