"""The configuration of the connector: MSK Connect takes it, and batches find its objects."""

import json
import re
import string
from datetime import UTC, datetime
from pathlib import Path

import botocore.session
from botocore.validate import ParamValidator

from clickstream_dagster.batches.objects import is_object
from clickstream_dagster.batches.windows import hour_folder, key_time_ms

TEMPLATE = Path(__file__).parents[3] / "infra" / "kafka" / "s3_sink_connector.json"
VALUES = {
    "AUTHENTICATION": "IAM",
    "BOOTSTRAP_SERVERS": "b-1.shop.kafka.eu-west-1.amazonaws.com:9098",
    "BUCKET": "my-bucket",
    "ENCRYPTION": "TLS",
    "PLUGIN_ARN": "arn:aws:kafkaconnect:eu-west-1:123456789012:custom-plugin/s3/1",
    "PREFIX": "clickstream/shop/data/buffer",
    "PROJECT_ID": "shop",
    "REGION": "eu-west-1",
    "ROLE_ARN": "arn:aws:iam::123456789012:role/clickstream-connector",
    "SECURITY_GROUP": "sg-1",
    "SUBNET_1": "subnet-1",
    "SUBNET_2": "subnet-2",
    "TOPIC": "shop",
}
JODA = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H"}


def filled():
    return json.loads(string.Template(TEMPLATE.read_text()).substitute(VALUES))


def test_msk_connect_takes_the_configuration_once_its_variables_are_filled_in():
    model = botocore.session.Session().get_service_model("kafkaconnect")
    shape = model.operation_model("CreateConnector").input_shape
    report = ParamValidator().validate(filled(), shape)
    assert not report.has_errors(), report.generate_report()
    # The service allows these values alone; the model's shapes name them.
    for setting, names in (
        ("kafkaClusterClientAuthentication", {"NONE", "IAM"}),
        ("kafkaClusterEncryptionInTransit", {"PLAINTEXT", "TLS"}),
    ):
        (member,) = shape.members[setting].members.values()
        assert set(member.enum) == names
        assert set(filled()[setting].values()) <= names


def test_the_documentation_tells_every_variable():
    page = (TEMPLATE.parents[2] / "docs" / "collector-sinks.md").read_text()
    used = set(re.findall(r"\$\{(\w+)\}", TEMPLATE.read_text()))
    assert used == VALUES.keys()
    assert {name for name in used if f"`{name}`" not in page} == set()


def test_batches_find_the_hour_of_the_connectors_objects():
    settings = filled()["connectorConfiguration"]
    at = datetime(2026, 11, 25, 15, 59, 59, tzinfo=UTC)
    path = re.sub(
        r"yyyy|MM|dd|HH", lambda name: at.strftime(JODA[name[0]]), settings["path.format"]
    )
    folder = path.replace("'", "")
    topic = settings["topics"]
    name = f"{topic}+0+0000000123{settings['format.bytearray.extension']}.gz"
    key = f"{settings['topics.dir']}/{topic}/{folder}/{name}"
    hour = datetime(2026, 11, 25, 15, tzinfo=UTC).timestamp() * 1000
    assert is_object(key)
    assert key_time_ms(key, 0) == hour
    assert f"{folder}/" == hour_folder(int(hour))
