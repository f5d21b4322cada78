"""The function at CloudFront's edge, on CloudFront's own events, with a Firehose behind it."""

import base64
import gzip
import importlib.util
import json
import random
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.batches.windows import key_time_ms
from clickstream_dagster.collector import pixels
from clickstream_dagster.collector.queries import parameters
from clickstream_dagster.collector.records import Records
from clickstream_dagster.processing.requests import ReadTally, read_requests

FOLDER = Path(__file__).parents[2] / "infra" / "edge_function"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
QUERY = "platform=Web&appId=shop_web&event_bundle_sequence_id=1&upload_timestamp=1795876800000"
EVENTS = (
    b'[{"event_type": "_page_view", "event_id": "e-1", "attributes": {"title": "caf\xc3\xa9"}}]'
)
CLOCKS = ("date", "ingest_time", "server_ingest_time", "timestamp", "rid")


@pytest.fixture(scope="module")
def function(aws: str) -> Iterator[ModuleType]:
    """The function as Lambda starts it: from its own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        spec = importlib.util.spec_from_file_location("edge_handler", FOLDER / "handler.py")
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "edge_handler", module)
        spec.loader.exec_module(module)
        yield module
        sys.modules.pop("record", None)


class Delivery:
    """A Firehose stream, and what it has put to S3."""

    def __init__(self, bucket: Any) -> None:
        self.bucket = bucket
        self.name = f"stream-{uuid.uuid4().hex[:8]}"
        boto3.client("firehose").create_delivery_stream(
            DeliveryStreamName=self.name,
            DeliveryStreamType="DirectPut",
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/delivery",
                "BucketARN": f"arn:aws:s3:::{bucket.name}",
                "Prefix": "raw/",
            },
        )

    def lines(self) -> list[bytes]:
        found = self.bucket.client.list_objects_v2(Bucket=self.bucket.name).get("Contents", [])
        return [
            self.bucket.client.get_object(Bucket=self.bucket.name, Key=one["Key"])["Body"].read()
            for one in found
        ]

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def delivery(make_bucket) -> Delivery:
    return Delivery(make_bucket())


def event(
    stream: str,
    body: bytes | None = EVENTS,
    *,
    method: str = "POST",
    uri: str = "/collect",
    query: str = QUERY,
    headers: dict[str, str] | None = None,
    truncated: bool = False,
    **told: str,
) -> dict[str, Any]:
    """Give an origin request as CloudFront tells a function of it (Lambda@Edge event structure)."""
    custom = {
        "stream": stream,
        "region": "us-east-1",
        "path": "/collect",
        "apps": "shop_web,shop_ios",
        "origins": "https://www.example.com,https://*.example.org",
        "dev": "false",
        **told,
    }
    sent = {"Host": "d111111abcdef8.cloudfront.net", "User-Agent": AGENT, **(headers or {})}
    request: dict[str, Any] = {
        "clientIp": "203.0.113.178",
        "headers": {name.lower(): [{"key": name, "value": value}] for name, value in sent.items()},
        "method": method,
        "querystring": query,
        "uri": uri,
        "origin": {
            "custom": {
                "customHeaders": {
                    f"x-clickstream-{name}": [{"key": f"X-Clickstream-{name}", "value": value}]
                    for name, value in custom.items()
                },
                "domainName": "shop-data.s3.us-east-1.amazonaws.com",
                "keepaliveTimeout": 5,
                "path": "",
                "port": 443,
                "protocol": "https",
                "readTimeout": 30,
                "sslProtocols": ["TLSv1.2"],
            }
        },
    }
    if body is not None:
        request["body"] = {
            "inputTruncated": truncated,
            "action": "read-only",
            "encoding": "base64",
            "data": base64.b64encode(body).decode(),
        }
    config = {
        "distributionDomainName": "d111111abcdef8.cloudfront.net",
        "distributionId": "EDFDVBD6EXAMPLE",
        "eventType": "origin-request",
        "requestId": "4TyzHTaYWb1GX1qTfsHhEqV6HUDd_BzoBZnwfnvQc_1oF26ClkoUSEQ==",
    }
    return {"Records": [{"cf": {"config": config, "request": request}}]}


def headers_of(answer: dict[str, Any]) -> dict[str, str]:
    return {name: values[0]["value"] for name, values in answer["headers"].items()}


def without_clocks(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in CLOCKS}


def test_a_request_becomes_the_record_that_the_collector_would_write(function, delivery) -> None:
    answer = function.handler(event(delivery.name), None)
    assert (answer["status"], answer["body"]) == ("200", "")
    (line,) = delivery.lines()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    given = parameters(QUERY)
    collected = Records(take_fake_ip=False).line(
        "r", "POST", "/collect", QUERY, given, "203.0.113.178", AGENT, EVENTS.decode()
    )
    record = json.loads(line)
    assert without_clocks(record) == without_clocks(json.loads(collected))
    assert set(record) == set(json.loads(collected))
    assert record["ingest_time"] == record["server_ingest_time"] > 1_700_000_000_000


@pytest.mark.parametrize(
    ("sent", "headers"),
    [
        (gzip.compress(EVENTS), {"Content-Encoding": "gzip"}),
        (base64.b64encode(gzip.compress(EVENTS)), {}),
        (gzip.compress(EVENTS), {}),
    ],
    ids=["encoded", "mobile", "bytes"],
)
def test_packed_bodies_are_kept(function, delivery, sent, headers) -> None:
    assert function.handler(event(delivery.name, sent, headers=headers), None)["status"] == "200"
    (record,) = delivery.records()
    text = record["data"]
    assert text == EVENTS.decode() or gzip.decompress(base64.b64decode(text)) == EVENTS


@pytest.mark.parametrize(
    "query",
    [
        "platform=Mail&appId=shop_web&event_type=mail_open&unique_id=42&attributes.campaign=a+b",
        "platform=Mail&appId=shop_web&data=%5B%7B%22event_type%22%3A%22a%22%7D%5D",
    ],
)
def test_a_pixel_becomes_the_event_that_the_collector_would_make(function, delivery, query) -> None:
    answer = function.handler(event(delivery.name, None, method="GET", query=query), None)
    assert answer["status"] == "200"
    assert answer["bodyEncoding"] == "base64"
    assert base64.b64decode(answer["body"]) == pixels.GIF
    assert headers_of(answer)["content-type"] == "image/gif"
    (record,) = delivery.records()
    made, expected = (
        json.loads(text)
        for text in (record["data"], pixels.events_of(parameters(query), record["rid"], 0))
    )
    for one in (*made, *expected):
        one.pop("timestamp", None)
    assert made == expected


def test_what_firehose_keeps_as_it_came_is_a_raw_file_for_processing(function, delivery) -> None:
    """Firehose's own name of a file, below the prefix that the template gives (GZIP, an hour)."""
    for body in (EVENTS, gzip.compress(EVENTS)):
        function.handler(event(delivery.name, body), None)
    key = (
        "clickstream/shop/year=2026/month=11/day=28/hour=14/Clickstream-serverless-ingestion-shop-"
        "DeliveryStream-AbC1-2026-11-28-14-05-00-5f1d0a3e-6a0c-4a5e-8d5b-0c4a4bb0e3c1.gz"
    )
    delivery.bucket.put(key, gzip.compress(b"".join(delivery.lines())))
    (found,) = list_objects(delivery.bucket.address("clickstream/shop"))
    assert key_time_ms(key, 0) == 1_795_874_400_000
    rows = [row for batch in read_requests([found], ReadTally()) for row in batch.to_pylist()]
    assert [row["bad_reason"] for row in rows] == [None, None]
    assert {(row["request_app_id"], row["body"]) for row in rows} == {("shop_web", EVENTS.decode())}


def noise(size: int) -> bytes:
    return base64.b64encode(random.Random(7).randbytes(size))


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"query": "appId=other"}, "403", "appId"),
        ({"query": ""}, "403", "appId"),
        ({"uri": "/elsewhere"}, "404", "/collect"),
        ({"truncated": True}, "413", "1 MB"),
        ({"body": noise(900_000)}, "413", "1,024,000"),
        ({"headers": {"Content-Encoding": "br"}}, "400", "'br' is unknown"),
        ({"headers": {"Content-Encoding": "gzip"}}, "400", "no gzip"),
        (
            {"body": gzip.compress(bytes(9 << 20)), "headers": {"Content-Encoding": "gzip"}},
            "413",
            "8 MB",
        ),
        ({"body": None, "method": "GET", "query": f"{QUERY}&event_type=a"}, "400", "unique_id"),
    ],
    ids=["app", "no-app", "path", "truncated", "large", "br", "damaged", "bomb", "pixel"],
)
def test_what_is_not_stored_is_told_why(function, delivery, changed, status, said) -> None:
    answer = function.handler(event(delivery.name, **changed), None)
    assert answer["status"] == status
    assert said in answer["body"]
    assert delivery.lines() == []


def test_a_large_body_of_text_is_packed_to_fit_firehose(function, delivery) -> None:
    events = json.dumps([{"event_type": "a", "event_id": str(n)} for n in range(20_000)]).encode()
    assert len(events) < 1 << 20
    wide = events.replace(b'"', b'\\"')  # quotes double in a record
    assert function.handler(event(delivery.name, wide), None)["status"] == "200"
    (record,) = delivery.records()
    assert gzip.decompress(base64.b64decode(record["data"])) == wide


def test_an_empty_body_is_taken_and_nothing_is_kept(function, delivery) -> None:
    assert function.handler(event(delivery.name, b""), None)["status"] == "200"
    assert function.handler(event(delivery.name, None), None)["status"] == "200"
    assert delivery.lines() == []


def test_without_firehose_it_says_to_come_back(function) -> None:
    answer = function.handler(event("no-such-stream"), None)
    assert answer["status"] == "503"
    assert headers_of(answer)["retry-after"] == "10"


def test_any_app_may_send_where_third_party_sdks_do(function, delivery) -> None:
    assert function.handler(event(delivery.name, query="", apps="*"), None)["status"] == "200"
    (record,) = delivery.records()
    assert record["appId"] is None


@pytest.mark.parametrize(("dev", "ip"), [("false", "203.0.113.178"), ("true", "198.51.100.7")])
def test_a_fake_address_counts_in_development_only(function, delivery, dev: str, ip: str) -> None:
    function.handler(event(delivery.name, query=f"{QUERY}&fakeIp=198.51.100.7", dev=dev), None)
    (record,) = delivery.records()
    assert (record["ip"], record["fakeIp"]) == (ip, "198.51.100.7")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://www.example.com", True),
        ("https://a.b.example.org", True),
        ("https://example.org", False),
        ("https://www.example.com.evil.net", False),
        ("http://www.example.com", False),
    ],
)
def test_pages_of_allowed_origins_alone_may_send(function, delivery, origin, allowed) -> None:
    sent = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    preflight = function.handler(event(delivery.name, None, method="OPTIONS", headers=sent), None)
    posted = function.handler(event(delivery.name, headers=sent), None)
    assert (preflight["status"], posted["status"]) == ("204", "200")
    for answer in (preflight, posted):
        told = headers_of(answer).get("access-control-allow-origin")
        assert told == (origin if allowed else None)
    assert ("access-control-allow-methods" in headers_of(preflight)) == allowed


def test_no_page_may_send_unless_one_is_named_and_all_may_with_a_star(function, delivery) -> None:
    sent = {"Origin": "https://www.example.com"}
    none = function.handler(event(delivery.name, headers=sent, origins="none"), None)
    everybody = function.handler(event(delivery.name, headers=sent, origins="*"), None)
    assert "access-control-allow-origin" not in headers_of(none)
    assert headers_of(everybody)["access-control-allow-origin"] == "https://www.example.com"


def test_answers_pings(function) -> None:
    answer = function.handler(event("none", None, method="GET", uri="/ping", query=""), None)
    assert json.loads(answer["body"])["timestamp"] > 1_700_000_000
    answer = function.handler(event("none", None, method="GET", uri="/health", query=""), None)
    assert answer["status"] == "200"


def test_needs_nothing_that_lambda_does_not_have() -> None:
    import ast

    provided = set(sys.stdlib_module_names) | {"boto3", "botocore", "record"}
    files = sorted(FOLDER.glob("*.py"))
    assert [file.name for file in files] == ["handler.py", "record.py"]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = (
                [one.name for one in node.names]
                if isinstance(node, ast.Import)
                else [node.module]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert {name.partition(".")[0] for name in names} <= provided
