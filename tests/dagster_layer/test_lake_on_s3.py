"""A project whose raw files and lake are on S3, from its YAML to its models."""

import uuid
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from clickstream_dagster.processing.lake import Lake
from tests.processing.records_input import NOW_MS, event, plain, record, write_object

PARTITION = "2026-01-01-00:00"


@pytest.fixture
def shop(component, bucket, aws, tmp_path):
    """A project on S3 with an object in its first hour, which began at NOW_MS."""
    file = write_object(tmp_path / "a.gz", [record(plain(event("e1"), event("e2")))])
    bucket.put(f"raw/year=2026/month=01/day=01/hour=00/{NOW_MS // 1000}-a.gz", file.read_bytes())
    found = component(
        project_id=f"shop_{uuid.uuid4().hex[:8]}",
        app_ids=["shop"],
        raw=bucket.address("raw"),
        lake=bucket.address("lake"),
        s3={"kms_key_id": "alias/clickstream"},
    )
    return found.project(tmp_path)


def run(shop, *more):
    from clickstream_dagster.assets.events import lake_events
    from clickstream_dagster.assets.raw import raw_batch
    from clickstream_dagster.resources.spark import SparkEngine

    assets = [raw_batch(shop), lake_events(shop, SparkEngine(engine="sail")), *more]
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(assets, instance=instance, partition_key=PARTITION)
    assert result.success
    return result


def test_a_window_is_processed_and_its_checks_pass(shop, bucket):
    result = run(shop)
    checks = result.get_asset_check_evaluations()
    assert len(checks) > 2
    assert {check.check_name for check in checks if not check.passed} == set()
    rows = Lake(shop.lake, shop.project_id, shop.s3).table("ods_event").scan().to_arrow()
    assert sorted(rows.column("event_id").to_pylist()) == ["e1", "e2"]
    answer = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="lake/")
    keys = [item["Key"] for item in answer["Contents"]]
    assert any("/_ledger/" in key for key in keys)
    for key in keys:
        told = bucket.client.head_object(Bucket=bucket.name, Key=key)
        assert told.get("SSEKMSKeyId") == "alias/clickstream", key


def test_the_lake_is_maintained(shop):
    from clickstream_dagster.assets.maintenance import lake_maintenance

    for _ in range(2):
        run(shop)
    lake = Lake(shop.lake, shop.project_id, shop.s3)
    (path,) = lake.data_files("ods_event")
    orphan = f"{path.rpartition('/')[0]}/dead-1.parquet"
    lake.storage.write(orphan, b"12345")
    result = dg.materialize([lake_maintenance(shop)])
    (made,) = result.get_asset_materialization_events()
    told = {name: value.value for name, value in made.materialization.metadata.items()}
    assert (told["files_before"], told["files_after"], told["orphans"]) == (1, 1, 0)
    assert lake.storage.read(orphan) == b"12345"  # it is young


@pytest.mark.heavy
def test_the_models_are_built_from_s3(shop, monkeypatch):
    from clickstream_dagster.assets.duckdb import duckdb_place
    from clickstream_dagster.assets.models import model_assets

    run(shop, model_assets(shop, duckdb_place(shop)))
    assert Path(shop.warehouse).is_file()
    with duckdb.connect(shop.warehouse, read_only=True) as found:
        query = f"select count(*) from {shop.project_id}.clickstream_ods_event_view"
        assert found.execute(query).fetchall() == [(2,)]
