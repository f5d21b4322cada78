"""An address and its settings make a sink, or say what to write."""

import pickle
import subprocess
import sys

import pytest

from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.collector.sinks import sink_of
from clickstream_dagster.collector.sinks.directory import DirectorySink
from clickstream_dagster.collector.sinks.kafka import KafkaSink
from clickstream_dagster.collector.sinks.kinesis import KinesisSink
from clickstream_dagster.collector.sinks.s3 import S3Sink
from clickstream_dagster.collector.sinks.settings import (
    KafkaSettings,
    KinesisSettings,
    SinkSettings,
)
from clickstream_dagster.components import ClickstreamProject
from clickstream_dagster.components.collector import Collector
from clickstream_dagster.components.sink import Sink
from clickstream_dagster.errors import SettingError
from tests.collector.sinks.segments import record, sealed_segment

SETTINGS = SinkSettings(project_id="shop")


@pytest.fixture
def segment(tmp_path):
    return sealed_segment(tmp_path / "spool", [[record(1)]])


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_path_is_a_directory(scheme, segment, tmp_path):
    sink = sink_of(f"{scheme}{tmp_path}/a folder/raw", SETTINGS)
    assert isinstance(sink, DirectorySink)
    sink.ship(segment)
    assert len(list(list_objects(f"{tmp_path}/a folder/raw"))) == 1


def test_a_relative_path_is_below_the_working_directory(segment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sink = sink_of("raw", SETTINGS)
    monkeypatch.chdir("/")
    sink.ship(segment)
    assert len(list(list_objects(f"{tmp_path}/raw"))) == 1


def test_s3_and_kinesis_are_reached_with_the_settings(segment, bucket, stream, aws, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    settings = SinkSettings(
        project_id="shop",
        s3=S3Access(region="us-east-1", endpoint_url=aws),
        kinesis=KinesisSettings(endpoint_url=aws),
    )
    s3, kinesis = (
        sink_of(bucket.address("raw"), settings),
        sink_of(f"kinesis://{stream.name}", settings),
    )
    assert (type(s3), type(kinesis)) == (S3Sink, KinesisSink)
    s3.ship(segment)
    kinesis.ship(segment)
    assert len(bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="raw/")["Contents"]) == 1
    assert len(stream.records()) == 1


def test_the_stream_of_a_projects_yaml_gets_the_records(segment, stream, tmp_path):
    component = ClickstreamProject(
        project_id="shop",
        app_ids=["shop_web"],
        start_date="2026-01-01",
        collector=Collector(sink=Sink(type="kinesis", stream=stream.name)),
    )
    told = component.project(tmp_path).collector.settings
    sink_of(told.sink, told.sink_settings).ship(segment)
    assert len(stream.records()) == 1


@pytest.mark.parametrize(
    ("address", "brokers", "topic"),
    [
        ("kafka://127.0.0.1:9092", "127.0.0.1:9092", "shop"),
        ("kafka://b-1.example:9092,b-2.example:9092/", "b-1.example:9092,b-2.example:9092", "shop"),
        ("kafka://[::1]:9092/events.v2", "[::1]:9092", "events.v2"),
    ],
)
def test_kafkas_topic_is_the_project_unless_it_is_named(address, brokers, topic):
    sink = sink_of(address, SETTINGS)
    assert isinstance(sink, KafkaSink)
    assert (sink._brokers, sink._topic) == (brokers, topic)
    sink.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "write a directory, s3://bucket/prefix, kinesis://stream or kafka://host:port"),
        ("gs://bucket", "the sink 'gs://bucket' is none; write a directory, s3://"),
        ("s3:/bucket/raw", "is none; write a directory, s3://"),
        ("S3://bucket/raw", "is none; write a directory, s3://"),
        ("file://raw", "is none; write a directory, s3://"),
        ("s3://", "names no bucket; write s3://bucket/prefix"),
        ("s3:///raw", "names no bucket; write s3://bucket/prefix"),
        ("s3://My_Bucket/raw", "names no bucket; write s3://bucket/prefix"),
        ("kinesis://", "names no data stream; write kinesis://stream"),
        ("kinesis://a/b", "names no data stream; write kinesis://stream"),
        ("kafka://", r"names no brokers; write kafka://host:port\[,host:port\]\[/topic\]"),
        ("kafka://broker", "names no brokers; write kafka://host:port"),
        ("kafka://broker:9092,/shop", "names no brokers; write kafka://host:port"),
        ("kafka://me:secret@broker:9092", "names no brokers; .* go into the environment"),
        ("gs://me:secret@bucket", "the sink 'gs://…@bucket' is none"),
        ("kafka://broker:9092/a/b", "the topic 'a/b' of the sink .* write up to 249 letters"),
        ("kafka://broker:9092/_hidden", "the topic '_hidden' .* none of . and _ in front"),
    ],
)
def test_anything_else_says_what_to_write(address, message):
    with pytest.raises(SettingError, match=message) as error:
        sink_of(address, SETTINGS)
    assert "secret" not in str(error.value)


def test_settings_go_to_another_process_and_through_json():
    settings = SinkSettings(
        project_id="shop",
        s3=S3Access(region="eu-west-1", kms_key_id="alias/clickstream"),
        kinesis=KinesisSettings(batch_records=100),
        kafka=KafkaSettings(security="tls", ca_file="/etc/ca.pem"),
    )
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert SinkSettings.model_validate_json(settings.model_dump_json()) == settings


def test_importing_the_sinks_imports_neither_boto3_nor_kafka():
    code = (
        "import sys, clickstream_dagster.collector.sinks\n"
        "assert not {'boto3', 'botocore', 'confluent_kafka'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
