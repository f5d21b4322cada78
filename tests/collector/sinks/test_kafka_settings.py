"""Settings of the Kafka sink: what can't work is found when the sink is made."""

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.collector.sinks import kafka
from clickstream_dagster.collector.sinks.kafka import KafkaSink
from clickstream_dagster.collector.sinks.settings import KafkaSettings
from clickstream_dagster.collector.sinks.sink import SinkError
from clickstream_dagster.errors import SettingError
from tests.collector.sinks.segments import record, sealed_segment

NOBODY = "127.0.0.1:1"


def make(s3=None, **settings):
    return KafkaSink(NOBODY, "shop", KafkaSettings(**settings), s3 or S3Access())


def test_a_broker_out_of_reach_is_an_error_of_the_shipment_and_not_of_the_start(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(kafka, "_DELIVERY_SECONDS", 1)
    sink = make()
    with pytest.raises(SinkError, match=r"shop at 127.0.0.1:1 did not take 1 of 1 .*refused"):
        sink.ship(sealed_segment(tmp_path, [[record(1)]]))
    assert (sink.counters.records, sink.counters.errors) == (0, 1)


def test_settings_that_no_longer_work_are_an_error_of_the_shipment(tmp_path, monkeypatch):
    monkeypatch.setattr(kafka, "_DELIVERY_SECONDS", 1)
    sink = make()
    segment = sealed_segment(tmp_path, [[record(1)]])
    with pytest.raises(SinkError):
        sink.ship(segment)
    sink._config["ssl.ca.location"] = str(tmp_path / "gone.pem")
    sink._config["security.protocol"] = "SSL"
    with pytest.raises(SinkError, match=r"shop at 127.0.0.1:1 can't be written to: .*ssl\.ca"):
        sink.ship(segment)
    assert sink.counters.errors == 2


@pytest.mark.parametrize("variable", [kafka.USERNAME, kafka.PASSWORD])
def test_scram_without_user_or_password_names_the_variable(variable, monkeypatch):
    monkeypatch.setenv(kafka.USERNAME, "collector")
    monkeypatch.setenv(kafka.PASSWORD, "secret")
    monkeypatch.delenv(variable)
    with pytest.raises(SettingError, match=f"variable {variable} is not set"):
        make(security="scram")


@pytest.mark.parametrize(
    "line",
    [
        "acks=1",
        "request.required.acks=0",
        "enable.idempotence = false",
        "delivery.report.only.error=1",
    ],
)
def test_properties_that_could_lose_messages_are_refused(line, tmp_path):
    file = tmp_path / "kafka.properties"
    file.write_text(f"{line}\n")
    with pytest.raises(SettingError, match="could be lost otherwise; take the line out"):
        make(properties_file=file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sasl.password", "line 1 of .*kafka.properties is no name=value"),
        ("no.such.property=secret", 'No such configuration property: "no.such.property"'),
    ],
)
def test_a_properties_file_that_can_not_be_used_is_told_without_its_values(text, message, tmp_path):
    file = tmp_path / "kafka.properties"
    file.write_text(text)
    with pytest.raises(SettingError, match=message) as error:
        make(properties_file=file)
    assert "secret" not in str(error.value)


def test_a_missing_properties_file_and_missing_certificates_are_named(tmp_path):
    with pytest.raises(SettingError, match=r"the properties file .*nowhere can't be read"):
        make(properties_file=tmp_path / "nowhere")
    with pytest.raises(SettingError, match=r"ca_file .*nowhere\.pem is no file; name one"):
        make(security="tls", ca_file=tmp_path / "nowhere.pem")


def test_iam_signs_a_token_for_the_region_with_the_credentials_that_boto3_finds(aws):
    token, until = kafka._msk_token(S3Access(region="eu-west-1"))("")
    signed = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    query = parse_qs(signed.query)
    assert signed.hostname == "kafka.eu-west-1.amazonaws.com"
    assert query["Action"] == ["kafka-cluster:Connect"]
    assert query["X-Amz-Credential"][0].startswith("test/")
    assert until > 1_700_000_000
    make(S3Access(region="eu-west-1"), security="iam").close()


def test_iam_without_a_region_says_what_to_set(aws, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(SettingError, match="security is iam, but there is no region"):
        make(security="iam")
