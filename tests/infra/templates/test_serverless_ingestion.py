"""The template of serverless ingestion: what CloudFront, its function and Firehose are told."""

import json
from typing import Any

import pytest

from clickstream_dagster.collector.records import Records
from tests.infra.templates.deployed import deployed, known_part, made, template_of

PARAMETERS = {
    "ProjectId": "shop",
    "Apps": "shop_web,shop_ios",
    "CodeBucket": "shop-code",
    "FunctionCode": "code/edge-0123.zip",
    "DataBucket": "shop-data",
    "DataPrefix": "serverless/",
    "RawBucket": "shop-raw",
    "RawPrefix": "clickstream/shop/",
    "DatabaseName": "shop_requests",
}
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0b6fb8a1-6c53-4c5b-9d6c-8d1a4a4c7c55"


def properties(name: str, **told: str) -> dict[str, Any]:
    return made(template_of("serverless-ingestion"), {**PARAMETERS, **told})[name]["Properties"]


def distribution(**told: str) -> dict[str, Any]:
    return properties("Distribution", **told)["DistributionConfig"]


def test_cloudfront_speaks_https_only_and_keeps_no_answer() -> None:
    behaviour = distribution()["DefaultCacheBehavior"]
    assert behaviour["ViewerProtocolPolicy"] == "https-only"
    (function,) = behaviour["LambdaFunctionAssociations"]
    assert (function["EventType"], function["IncludeBody"]) == ("origin-request", True)
    own_name = distribution(DomainName="events.example.com", CertificateArn=CERTIFICATE)
    assert own_name["Aliases"] == ["events.example.com"]
    assert own_name["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert distribution()["ViewerCertificate"] == {"CloudFrontDefaultCertificate": True}


def test_the_function_is_told_by_headers_which_nobody_else_sees() -> None:
    (origin,) = distribution(Origins="https://www.example.com", Dev="true")["Origins"]
    told = {one["HeaderName"].lower(): one["HeaderValue"] for one in origin["OriginCustomHeaders"]}
    assert set(told) == {
        f"x-clickstream-{name}" for name in ("stream", "region", "path", "apps", "origins", "dev")
    }
    assert told["x-clickstream-apps"] == "shop_web,shop_ios"
    assert told["x-clickstream-origins"] == "https://www.example.com"


def test_firehose_writes_parquet_of_the_table_and_raw_files_every_quarter_of_an_hour() -> None:
    told = properties("DeliveryStream")["ExtendedS3DestinationConfiguration"]
    assert told["BufferingHints"] == {"IntervalInSeconds": 900, "SizeInMBs": 128}
    assert told["DataFormatConversionConfiguration"]["Enabled"] is True
    assert told["S3BackupMode"] == "Enabled"
    assert told["S3BackupConfiguration"]["CompressionFormat"] == "GZIP"
    written = template_of("serverless-ingestion")["Resources"]["DeliveryStream"]["Properties"]
    prefixes = written["ExtendedS3DestinationConfiguration"]
    assert "errors/!{firehose:error-output-type}/" in prefixes["ErrorOutputPrefix"]["Fn::Sub"]
    assert prefixes["S3BackupConfiguration"]["Prefix"]["Fn::Sub"].startswith("${RawPrefix}year=")


def test_the_table_has_a_column_for_each_field_of_the_record() -> None:
    line = Records(take_fake_ip=False).line(
        "r", "POST", "/collect", "", {"fakeIp": "1.1.1.1", "upload_timestamp": "1"}, "", None, "[]"
    )
    columns = properties("Table")["TableInput"]["StorageDescriptor"]["Columns"]
    assert {one["Name"] for one in columns} == {name.lower() for name in json.loads(line)}


def test_is_of_the_region_of_edge_functions() -> None:
    (rule,) = template_of("serverless-ingestion")["Rules"]["EdgeFunctionsAreOfOneRegion"][
        "Assertions"
    ]
    assert rule["Assert"] == {"Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]}


@pytest.mark.parametrize(("told", "logs"), [("true", True), ("false", False)])
def test_logs_requests_only_if_asked_to(told: str, logs: bool) -> None:
    resources = made(
        template_of("serverless-ingestion"),
        {**PARAMETERS, "AccessLogs": told, "LogsBucket": "shop-logs"},
    )
    assert ({"AccessLogSource", "AccessLogBucket", "AccessLogDelivery"} <= set(resources)) == logs


def test_the_part_that_the_endpoint_knows_is_made_and_deleted(aws: str) -> None:
    template = template_of("serverless-ingestion")
    with deployed(known_part(template, PARAMETERS), PARAMETERS) as stack:
        assert "DeliveryLog" in stack.physical()
