"""A defs.yaml says what a project is; a mistake in it is told with its key and a remedy."""

from functools import partial
from pathlib import Path

import click
import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

from clickstream_dagster.components import ClickstreamProject
from clickstream_dagster.processing.plugins import PluginChoice
from clickstream_dagster.resources.definitions import Definitions
from clickstream_dagster.resources.funnels import Condition, Funnel, Step


def test_project_id_app_ids_and_start_date_are_enough(component):
    project = component().project(Path("/srv/dagster"))
    assert project.raw == "/srv/dagster/data/shop/raw"
    assert project.lake == "/srv/dagster/data/shop/lake"
    assert project.warehouse == "/srv/dagster/data/shop/warehouse.duckdb"
    assert project.partitions.cron_schedule == "0 * * * *"
    assert project.freshness_hours == 72
    assert project.trigger is None


def test_relative_paths_are_taken_from_the_root_and_others_are_kept(component):
    project = component(
        raw="s3://bucket/raw", lake="/mnt/lake", geo_database="data/city.mmdb"
    ).project(Path("/srv/dagster"))
    assert project.raw == "s3://bucket/raw"
    assert project.lake == "/mnt/lake"
    assert project.geo_database == "/srv/dagster/data/city.mmdb"


def test_definitions_and_funnels_reach_the_models(component):
    steps = [{"event": "a"}, {"event": "b", "where": [{"parameter": "p", "at_least": 3}]}]
    block = {
        "time_zone": "Europe/Berlin",
        "view_events": {"look": "what"},
        "funnels": [{"name": "f", "steps": steps, "by": "platform"}],
    }
    definitions = component(definitions=block).project(Path("/srv/dagster")).definitions
    assert definitions == Definitions(
        time_zone="Europe/Berlin",
        view_events={"look": "what"},
        funnels=(
            Funnel("f", (Step("a"), Step("b", (Condition("p", at_least=3),))), by="platform"),
        ),
    )
    assert component().project(Path("/srv/dagster")).definitions == Definitions()


@pytest.mark.parametrize(
    ("interval", "first_windows"),
    [
        ("1 hour", ["2026-01-01-00:00", "2026-01-01-01:00"]),
        ("12 hours", ["2026-01-01-00:00", "2026-01-01-12:00"]),
        ("1 day", ["2026-01-01", "2026-01-02"]),
        ("cron(0 0,12 * ? *)", ["2026-01-01-00:00", "2026-01-01-12:00"]),
        ("15 3 * * *", ["2026-01-01-03:15", "2026-01-02-03:15"]),
    ],
)
def test_the_interval_makes_the_partitions(component, interval, first_windows):
    assert component(interval=interval).partitions().get_partition_keys()[:2] == first_windows


def test_an_end_date_ends_the_windows(component):
    partitions = component(interval="1 day", end_date="2026-01-03").partitions()
    assert partitions.get_partition_keys() == ["2026-01-01", "2026-01-02"]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"project_id": "Shop"}, "project_id 'Shop': write a lower-case letter"),
        ({"project_id": "s" * 128}, "project_id"),
        ({"app_ids": []}, "app_ids is empty: write at least one"),
        ({"app_ids": ["1web"]}, "app_ids '1web': write a letter"),
        ({"app_ids": ["web", "web"]}, "app_ids has 'web' twice"),
        ({"interval": "7 hours"}, "write 1, 2, 3, 4, 6, 8, 12 or 24 hours"),
        ({"interval": "61 * * * *"}, "interval '61 \\* \\* \\* \\*' is no cron expression"),
        ({"interval": "10 minutes", "start_date": "2020-01-01"}, "write a longer interval"),
        ({"start_date": "yesterday"}, "'yesterday' is no date: write 2026-11-01"),
        ({"end_date": "2025-01-01"}, "end_date 2025-01-01 is not after start_date"),
        ({"grace_minutes": 60}, "grace_minutes"),
        ({"interval": "30 3,15 * * *", "grace_minutes": 40}, "write 29 or less"),
        ({"freshness_days": 0}, "freshness_days"),
        ({"engine": "flink"}, "engine 'flink': write sail, spark or sc://host:port"),
        ({"lake": "gs://bucket/lake"}, "lake 'gs://bucket/lake': write a directory or s3://"),
        ({"raw": "data", "lake": "data/lake"}, "lake 'data/lake' lies in raw 'data', so that"),
        ({"raw": "s3://b/x", "lake": "s3://b/x/"}, "would be read as raw files: write a lake"),
        ({"warehouses": [{"engine": "duckdb"}] * 2}, "warehouses has an engine twice"),
        ({"warehouses": [{"path": "db/Shop.duckdb"}]}, "Shop.duckdb is named like a schema"),
        ({"warehouses": [{"path": "shop_lake.v1.db"}]}, "for example shop_models.duckdb"),
        ({"project_id": "warehouse"}, "name the file otherwise"),
        ({"project_id": "temp"}, "'temp' is a name that DuckDB keeps for itself"),
        ({"quality": {"max_bad_ratio": 1.5}}, "max_bad_ratio"),
        ({"trigger": "hourly"}, "trigger"),
        ({"definitions": {"time_zone": "Mars"}}, "time_zone 'Mars' is not in the IANA database"),
        ({"definitions": {"week_start": "Monday"}}, "week_start"),
        ({"definitions": {"purchase_events": ["a'b"]}}, "purchase_events has the name"),
        (
            {"definitions": {"funnels": [{"name": "a", "steps": [{"event": "x"}]}]}},
            "funnel a has 1 steps: write 2 to 10",
        ),
        ({"maintenance": {"cron": "daily"}}, "cron 'daily' is no cron expression: write 0 3"),
        ({"warehouses": [{"tests_cron": "weekly"}]}, "tests_cron 'weekly' is no cron expression"),
        ({"maintenance": {"keep_snapshots_days": 0}}, "0 days of snapshots: write 1 or more"),
        ({"transformer": "sdkk"}, "transformer[\\s\\S]*no plug-in 'sdkk' in .*; write one of sdk"),
        ({"enrichments": ["us"]}, "enrichments[\\s\\S]*no plug-in 'us' in .*; write one of ip"),
        (
            {"enrichments": [{"name": "ua", "config": {"bots": 1}}]},
            "enrichments[\\s\\S]*plug-in ua: config key 'bots' is not known; it takes no config",
        ),
        ({"enrichments": [{"config": {}}]}, "enrichments[\\s\\S]*name"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_a_remedy(component, attributes, message):
    with pytest.raises(Exception, match=message):
        component(**attributes)


def test_a_plugin_is_a_name_or_a_name_with_a_config(component):
    tier = {"name": "tests.processing.broken_plugins:Tier", "config": {"tiers": ["gold"]}}
    project = component(enrichments=["ua", tier]).project(Path("/srv/dagster"))
    assert project.enrichments == (
        PluginChoice("ua"),
        PluginChoice("tests.processing.broken_plugins:Tier", {"tiers": ["gold"]}),
    )
    assert project.transformer == PluginChoice("sdk")
    assert project.root == "/srv/dagster"


def test_a_wrong_key_is_told_by_name():
    with pytest.raises(Exception, match="start_dat"):
        ClickstreamProject.from_attributes_dict(
            attributes={"project_id": "shop", "app_ids": ["web"], "start_dat": "2026-01-01"}
        )


EMR = {
    "application_id": "00f1abcdexample",
    "execution_role_arn": "arn:aws:iam::123456789012:role/processing",
    "artifacts": "s3://bucket/emr/",
}
ON_EMR = {"engine": "emr_serverless", "raw": "s3://bucket/raw", "lake": "s3://bucket/lake"}


def test_emr_serverless_is_chosen_with_its_block(component):
    block = {
        **EMR,
        "preset": "large",
        "executor_memory_gb": 64,
        "spark": {"spark.task.maxFailures": 8, "spark.speculation": True},
        "region": "eu-west-1",
    }
    s3 = {"region": "us-east-1", "profile": "analytics"}
    engine = component(**ON_EMR, s3=s3, emr_serverless=block).spark_engine()
    assert engine.artifacts == "s3://bucket/emr"
    assert (engine.capacity.executor.cores, engine.capacity.executor.memory_gb) == (16, 64)
    assert engine.capacity.max_executors == 6
    assert engine.capacity.spark == {"spark.task.maxFailures": "8", "spark.speculation": "true"}
    assert (engine.access.region, engine.access.profile) == ("eu-west-1", "analytics")
    assert engine.s3.region == "us-east-1"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (ON_EMR, "engine emr_serverless needs the block emr_serverless: write application_id"),
        (
            {**ON_EMR, "lake": "data/lake", "emr_serverless": EMR},
            "engine emr_serverless reads and writes S3 only: write lake: s3://bucket/prefix",
        ),
        ({"engine": "emr_serverless", "emr_serverless": EMR}, "S3 only: write raw: s3://"),
        ({"emr_serverless": {**EMR, "application_id": "My App"}}, "application_id 'My App': write"),
        ({"emr_serverless": {**EMR, "execution_role_arn": "role"}}, "execution_role_arn 'role': w"),
        ({"emr_serverless": {**EMR, "artifacts": "data/emr"}}, "artifacts 'data/emr': write s3://"),
        ({"emr_serverless": {**EMR, "preset": "huge"}}, "preset 'huge': write one of xsmall, smal"),
        ({"emr_serverless": {**EMR, "executor_cores": 3}}, "executor_cores"),
        (
            {"emr_serverless": {**EMR, "preset": "large", "executor_memory_gb": 60}},
            "executor_memory_gb is 60: a worker of 16 cores has 32 to 120 GB in steps of 8",
        ),
        (
            {"emr_serverless": {**EMR, "spark": {"spark.executor.instances": 4}}},
            "spark setting 'spark.executor.instances' is set by the framework: take it out",
        ),
        ({"emr_serverless": {**EMR, "timeout_minutes": 1}}, "timeout_minutes"),
        ({"emr_serverless": {**EMR, "endpoint_url": "emr"}}, "'emr': write http://host:port"),
    ],
)
def test_a_wrong_value_about_emr_is_told_with_its_key(component, attributes, message):
    with pytest.raises(Exception, match=message):
        component(**attributes)


def test_every_attribute_has_a_description():
    schema = ClickstreamProject.get_model_cls().model_json_schema()
    models = [schema, *schema.get("$defs", {}).values()]
    fields = [(name, field) for model in models for name, field in model["properties"].items()]
    assert len(fields) > 20
    assert [name for name, field in fields if not field.get("description")] == []


def test_a_refused_scaffold_leaves_no_folder_that_would_be_in_its_way():
    with create_defs_folder_sandbox() as sandbox:
        made = partial(sandbox.scaffold_component, ClickstreamProject, "shop")
        with pytest.raises(click.UsageError, match="app id 'bad app': write a letter"):
            made(scaffold_params={"app_id": "bad app"})
        assert not (sandbox.defs_folder_path / "shop").exists()
        assert (made(scaffold_params={"app_id": "shop_web"}) / "defs.yaml").is_file()


def test_the_scaffolded_file_loads_as_it_is():
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=ClickstreamProject,
            defs_path="my-shop",
            scaffold_params={"app_id": "shop_web,shop_ios"},
        )
        text = (folder / "defs.yaml").read_text()
        assert yaml.safe_load(text)["attributes"]["project_id"] == "my_shop"
        # Without a warehouse nothing has to be parsed to look at the rest.
        (folder / "defs.yaml").write_text(text + "  warehouses: []\n")
        with sandbox.load_component_and_build_defs(defs_path=folder) as (found, defs):
            assert found.app_ids == ["shop_web", "shop_ios"]
            assert {spec.key for spec in defs.resolve_all_asset_specs()} == {
                dg.AssetKey(["my_shop", name])
                for name in ("raw_batch", "ods_event", "bad_event", "lake_maintenance")
            }
            assert defs.resolve_job_def("my_shop_pipeline")


def test_what_the_template_shows_as_defaults_are_the_defaults(component):
    from clickstream_dagster.components.scaffolder import TEMPLATE

    shown = TEMPLATE.format(
        component="x", project_id="shop", app_ids="shop_web", start_date="2026-01-01"
    ).replace("  # ", "  ")
    attributes = yaml.safe_load(shown)["attributes"]
    for name in ("trigger", "owners", "geo_database"):
        del attributes[name]
    root = Path("/srv")
    assert component(**attributes).project(root) == component().project(root)
    (shown_warehouse,), (default,) = (
        made.warehouses for made in (component(**attributes), component())
    )
    assert shown_warehouse.tests_cron == default.tests_cron


def test_projects_share_a_code_location_whatever_their_engines(component):
    projects = {"shop": "sail", "news": "sc://spark.internal:15002", "games": "spark"}
    on_emr = component(project_id="maps", **ON_EMR, emr_serverless=EMR, warehouses=[])
    defs = dg.Definitions.merge(
        dg.component_defs(component=on_emr),
        *(
            dg.component_defs(component=component(project_id=name, engine=engine, warehouses=[]))
            for name, engine in projects.items()
        ),
    )
    dg.Definitions.validate_loadable(defs)
    for name in (*projects, "maps"):
        assert defs.resolve_job_def(f"{name}_pipeline")
