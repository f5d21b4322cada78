"""The templates of the streams: Kinesis with its function, and the connector from Kafka."""

import io
import json
import zipfile
from pathlib import Path

import boto3
import pytest

from tests.infra.templates.deployed import deployed, known_part, made, template_of

ROOT = Path(__file__).parents[3]
FUNCTION = ROOT / "infra" / "lambda" / "kinesis_to_s3"
KINESIS = {
    "ProjectId": "shop",
    "StreamName": "shop-events",
    "RawBucket": "shop-raw",
    "RawPrefix": "clickstream/shop/",
    "CodeBucket": "shop-code",
    "FunctionCode": "code/kinesis_to_s3.zip",
}
KAFKA = {
    "ProjectId": "shop",
    "VpcId": "vpc-1",
    "PrivateSubnetIds": "subnet-1,subnet-2",
    "KafkaBrokers": "b-1.kafka:9098,b-2.kafka:9098",
    "KafkaTopic": "shop",
    "KafkaSecurityGroupId": "sg-1",
    "PluginBucket": "shop-code",
    "PluginKey": "plugins/s3.zip",
    "RawBucket": "shop-raw",
    "TopicsDir": "clickstream/data",
}
CLUSTER = "arn:aws:kafka:us-east-1:123456789012:cluster/events/7d0f3d39-3"


def zipped(folder: Path) -> bytes:
    """Give the archive of a function's folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for file in folder.glob("*.py"):
            archive.write(file, file.name)
    return out.getvalue()


def test_the_stream_feeds_the_function_and_gives_no_record_up(make_bucket) -> None:
    code = make_bucket()
    code.put("code/kinesis_to_s3.zip", zipped(FUNCTION))
    parameters = {**KINESIS, "CodeBucket": code.name, "BatchSeconds": "60"}
    template = template_of("sink-kinesis")
    with deployed(known_part(template, parameters), parameters) as stack:
        outputs = stack.outputs()
        summary = boto3.client("kinesis").describe_stream_summary(StreamName=outputs["StreamName"])[
            "StreamDescriptionSummary"
        ]
        assert summary["StreamName"] == "shop-events"
        client = boto3.client("lambda")
        function = client.get_function_configuration(FunctionName=outputs["FunctionName"])
        assert function["Handler"] == "handler.handler"
        assert function["Environment"]["Variables"]["BUCKET"] == "shop-raw"
        assert function["Environment"]["Variables"]["PREFIX"] == "clickstream/shop/"
        (mapping,) = client.list_event_source_mappings(FunctionName=outputs["FunctionName"])[
            "EventSourceMappings"
        ]
        assert mapping["EventSourceArn"] == outputs["StreamArn"]
        assert mapping["BatchSize"] == 10_000
    written = made(template, parameters)["Mapping"]["Properties"]
    assert written["MaximumRetryAttempts"] == written["MaximumRecordAgeInSeconds"] == -1
    assert written["BisectBatchOnFunctionError"] is False
    assert written["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


@pytest.mark.parametrize(
    ("shards", "mode", "count"), [("0", "ON_DEMAND", None), ("3", "PROVISIONED", "3")]
)
def test_shards_are_told_or_on_demand(shards: str, mode: str, count: str | None) -> None:
    stream = made(template_of("sink-kinesis"), {**KINESIS, "Shards": shards})["DataStream"]
    assert stream["Properties"]["StreamModeDetails"] == {"StreamMode": mode}
    written = template_of("sink-kinesis")["Resources"]["DataStream"]["Properties"]["ShardCount"]
    assert written == {"Fn::If": ["OnDemand", {"Ref": "AWS::NoValue"}, {"Ref": "Shards"}]}
    if count:
        assert stream["Properties"]["ShardCount"] == count
    assert stream["Properties"]["StreamEncryption"]["EncryptionType"] == "KMS"


def test_a_stream_that_is_there_is_read_and_not_made() -> None:
    """As after a deletion of the stack, which keeps it."""
    resources = made(template_of("sink-kinesis"), {**KINESIS, "Stream": "existing"})
    assert "DataStream" not in resources
    written = template_of("sink-kinesis")["Resources"]["Mapping"]["Properties"]["EventSourceArn"]
    assert written["Fn::If"][2]["Fn::Sub"].endswith(":stream/${StreamName}")


def connector(**told: str) -> dict:
    return made(template_of("sink-kafka"), {**KAFKA, **told})["Connector"]["Properties"]


@pytest.mark.parametrize(
    ("security", "authentication", "encryption"),
    [("plaintext", "NONE", "PLAINTEXT"), ("tls", "NONE", "TLS"), ("iam", "IAM", "TLS")],
)
def test_the_connector_speaks_to_brokers_as_the_collectors_do(
    security: str, authentication: str, encryption: str
) -> None:
    told = connector(KafkaSecurity=security, KafkaClusterArn=CLUSTER)
    assert told["KafkaClusterClientAuthentication"] == {"AuthenticationType": authentication}
    assert told["KafkaClusterEncryptionInTransit"] == {"EncryptionType": encryption}
    parameters = {**KAFKA, "KafkaSecurity": security, "KafkaClusterArn": CLUSTER}
    resources = made(template_of("sink-kafka"), parameters)
    assert ("IamPolicy" in resources) == (security == "iam")


def test_the_connector_is_that_of_the_documented_call() -> None:
    """It says what infra/kafka/s3_sink_connector.json does, for MSK Connect's own call."""
    documented = json.loads((ROOT / "infra" / "kafka" / "s3_sink_connector.json").read_text())
    said = connector()["ConnectorConfiguration"]
    values = {
        "${TOPIC}": "shop",
        "${BUCKET}": "shop-raw",
        "${PREFIX}": "clickstream/data",
    }
    expected = {
        name: values.get(value, value)
        for name, value in documented["connectorConfiguration"].items()
        if name != "s3.region"
    }
    assert {name: str(said[name]) for name in expected} == expected
    assert connector()["KafkaConnectVersion"] == documented["kafkaConnectVersion"]
