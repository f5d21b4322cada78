"""The arrival sensor of a project whose raw files and lake are on S3, in both modes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from clickstream_dagster.assets.project import last_ended
from clickstream_dagster.assets.raw import raw_batch
from clickstream_dagster.automation.arrivals import arrival_sensor
from clickstream_dagster.automation.schedules import pipeline_job
from clickstream_dagster.batches import queue as queue_module
from clickstream_dagster.batches.queue import Queue
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.batches.store import DirectoryStore
from clickstream_dagster.batches.windows import hour_folder

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr(queue_module, "_WAIT_SECONDS", 0)


@pytest.fixture
def shop(project, bucket, aws):
    """Three days of hours, with raw files and ledger in the bucket."""
    start = (datetime.now(UTC) - timedelta(days=3)).date().isoformat()
    found = project(start_date=start, s3={"endpoint_url": aws, "region": "us-east-1"})
    return replace(found, raw=bucket.address("raw"), lake=bucket.address("lake"))


@pytest.fixture
def last(shop):
    return last_ended(shop, datetime.now(UTC) - timedelta(minutes=shop.grace_minutes))


def put(bucket, moment: datetime, name: str = "a+b c") -> None:
    seconds = int(moment.timestamp())
    bucket.put(f"raw/{hour_folder(seconds * 1000)}{seconds}-{name}.log.gz", b"x")


def tick(shop, instance, cursor=None) -> tuple[list[str], dg.SensorResult]:
    """Evaluate the sensor as the daemon does, and let the runs that it asks for open windows."""
    sensor = arrival_sensor(shop, pipeline_job(shop))
    with dg.build_sensor_context(instance=instance, cursor=cursor, sensor_name=sensor.name) as at:
        result = sensor(at)
    return [request.partition_key for request in result.run_requests], result


def materialize(shop, instance, partition: str) -> int:
    """Run `raw_batch` for a partition; give the number of objects in its window."""
    result = dg.materialize([raw_batch(shop)], instance=instance, partition_key=partition)
    (made,) = result.asset_materializations_for_node(raw_batch(shop).node_def.name)
    return made.metadata["objects"].value


def test_by_listing(shop, bucket, last):
    put(bucket, last.start)
    put(bucket, last.start - 30 * HOUR)
    partition, old = shop.partition_key(last), last.start - 30 * HOUR
    with dg.DagsterInstance.ephemeral() as instance:
        asked, result = tick(shop, instance)
        assert asked == [old.strftime("%Y-%m-%d-%H:%M"), partition]
        assert [materialize(shop, instance, one) for one in asked] == [1, 1]
        asked, result = tick(shop, instance, result.cursor)
        assert asked == []
        assert "no window waits" in result.skip_reason.skip_message


def test_the_ledger_is_in_the_lake_on_s3(shop, bucket, last):
    put(bucket, last.start)
    with dg.DagsterInstance.ephemeral() as instance:
        materialize(shop, instance, shop.partition_key(last))
    answer = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="lake/_ledger/shop/log/")
    assert [item["Key"] for item in answer["Contents"]] == [
        "lake/_ledger/shop/log/000000000001.json"
    ]


def test_by_a_queue(shop, bucket, queue, last):
    shop = replace(shop, queue_url=queue.url)
    put(bucket, last.start)
    put(bucket, last.start + 10 * HOUR, "of-a-window-to-come")
    with dg.DagsterInstance.ephemeral() as instance:
        asked, _ = tick(shop, instance)
        assert asked == [shop.partition_key(last)]
        assert queue.bodies() == []
        # The run has not begun: nothing new in the queue, and the window is still asked for.
        assert tick(shop, instance)[0] == asked
        assert materialize(shop, instance, asked[0]) == 1
        assert tick(shop, instance)[0] == []


def test_a_late_object_that_a_queue_announces_waits_for_the_next_window(
    shop, bucket, queue, last, monkeypatch
):
    shop = replace(shop, queue_url=queue.url)
    put(bucket, last.start - 2 * HOUR)
    with dg.DagsterInstance.ephemeral() as instance:
        (asked,), _ = tick(shop, instance)
        assert materialize(shop, instance, asked) == 1
        put(bucket, last.start - 2 * HOUR, "late")
        asked, _ = tick(shop, instance)
        assert asked == [shop.partition_key(last)]
        assert materialize(shop, instance, asked[0]) == 1
        put(bucket, last.start - 2 * HOUR, "later")
        assert tick(shop, instance)[0] == []  # nothing has ended since


def test_unreadable_messages_do_not_stop_the_sensor(shop, bucket, queue, last):
    queue.send("hello")
    put(bucket, last.start)
    with dg.DagsterInstance.ephemeral() as instance:
        asked, _ = tick(replace(shop, queue_url=queue.url), instance)
    assert asked == [shop.partition_key(last)]


@pytest.mark.parametrize("by_queue", [False, True])
def test_sensors_that_tick_at_once_and_runs_at_once_share_the_objects(
    shop, bucket, queue, last, by_queue
):
    if by_queue:
        shop = replace(shop, queue_url=queue.url)
    for back in range(2):
        for minute in range(3):
            put(bucket, last.start - back * HOUR + minute * timedelta(minutes=1))
    with dg.DagsterInstance.ephemeral() as instance, ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: tick(shop, instance)[0], range(2)))
        asked = {partition for partitions in results for partition in partitions}
        assert len(asked) == 2
        windows = sorted(asked) * 2
        manifests = list(pool.map(lambda one: shop.ledger().open(shop.window(one)), windows))
        assert manifests[:2] == manifests[2:]
        objects = [one.uri for manifest in manifests[:2] for one in manifest.objects]
        assert len(objects) == len(set(objects)) == 6
        assert tick(shop, instance)[0] == []


def test_without_settings_nothing_is_on_s3(project):
    shop = project()
    assert shop.s3 == S3Access()
    assert isinstance(shop.ledger()._store, DirectoryStore)


def test_the_settings_of_the_yaml_reach_the_project(project):
    shop = project(
        s3={
            "region": "eu-west-1",
            "profile": "shop",
            "endpoint_url": "https://minio.internal:9000",
            "kms_key_id": "alias/clickstream",
            "glue_endpoint_url": "https://glue.internal",
        },
    )
    assert shop.s3 == S3Access(
        "eu-west-1",
        "shop",
        "https://minio.internal:9000",
        "alias/clickstream",
        "https://glue.internal",
    )


QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/shop"


def test_a_queue_in_the_yaml_reaches_the_project(component, tmp_path):
    found = component(raw="s3://bucket/raw", arrivals={"mode": "sqs", "queue_url": QUEUE})
    assert found.project(tmp_path).queue_url == QUEUE
    assert component(arrivals={"mode": "listing"}).project(tmp_path).queue_url is None
    assert Queue(QUEUE)._sqs.meta.region_name == "eu-west-1"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"arrivals": {"mode": "sqs"}}, "needs queue_url"),
        ({"arrivals": {"mode": "sqs", "queue_url": QUEUE}}, "needs raw files in S3"),
        ({"arrivals": {"queue_url": QUEUE}}, "write mode: sqs"),
        (
            {"raw": "s3://bucket/raw", "arrivals": {"mode": "sqs", "queue_url": "shop"}},
            "is no URL of a queue",
        ),
        ({"arrivals": {"mode": "kafka"}}, "listing"),
        ({"s3": {"endpoint_url": "minio:9000"}}, "write http://host:port"),
        ({"s3": {"endpoint_url": "https://me:secret@minio"}}, "holds credentials"),
        ({"s3": {"secret_access_key": "x"}}, "secret_access_key"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_what_to_write(component, attributes, message):
    with pytest.raises(Exception, match=message):
        component(**attributes)


LOCATION = """\
from pathlib import Path

import dagster as dg

import places


@dg.definitions
def defs() -> dg.Definitions:
    return dg.ComponentTree.from_module(
        defs_module=places, project_root=Path(__file__).parent
    ).build_defs()
"""

YAML = """\
type: clickstream_dagster.components.ClickstreamProject
attributes:
  project_id: shop
  app_ids: [shop_web]
  start_date: "{start}"
  raw: {raw}
  lake: lake
  warehouses: []
  arrivals: {{mode: sqs, queue_url: "{{{{ env.SHOP_QUEUE_URL }}}}"}}
"""


@pytest.mark.heavy
def test_dagster_evaluates_the_sensor_in_a_process_of_its_own(shop, bucket, queue, last, tmp_path):
    put(bucket, last.start)
    (tmp_path / "places" / "shop").mkdir(parents=True)
    (tmp_path / "places" / "__init__.py").touch()
    (tmp_path / "places" / "shop" / "defs.yaml").write_text(
        YAML.format(start=shop.partitions.start.date().isoformat(), raw=shop.raw)
    )
    (tmp_path / "location.py").write_text(LOCATION)
    (tmp_path / "home").mkdir()
    answer = subprocess.run(
        [
            str(Path(sys.executable).with_name("dagster")),
            *("sensor", "preview", "shop_arrivals", "-f", "location.py", "-d", str(tmp_path)),
        ],
        cwd=tmp_path,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path / "home"), "SHOP_QUEUE_URL": queue.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "Sensor returning run requests for 1 run(s)" in answer.stdout
    assert "2 messages: 1 objects announced" in answer.stderr
    assert queue.bodies() == []
