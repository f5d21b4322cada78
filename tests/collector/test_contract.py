"""What a client is answered, and what is kept of its request."""

import base64
import gzip
import json
import re
import socket
import time
import zlib
from functools import partial

import brotli
import pytest
from backports import zstd

from clickstream_dagster.processing.bad_reasons import BadReason
from clickstream_dagster.processing.requests import BadBodyError, decode_body
from tests.collector.running import (
    APP,
    QUERY,
    RunningCollector,
    records_in,
    refusal_to_run,
    running_collector,
)

EVENTS = json.dumps([{"event_type": "_page_view", "event_id": "e1", "title": "Größe"}]).encode()
ORIGINS = ("https://www.example.com", "https://*.shop.example", "http://localhost:8080")


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    options = [part for origin in ORIGINS for part in ("--origin", origin)]
    with running_collector(tmp_path_factory.mktemp("contract"), *options) as running:
        yield running


@pytest.fixture
def kept(collector, tmp_path):
    """Give what a collector keeps of the requests that a function sends to it."""

    def records(send, *options: str):
        if not options:
            before = len(collector.logged())
            send(collector)
            return collector.logged()[before:]
        with running_collector(tmp_path, *options) as running:
            send(running)
            return running.logged()

    return records


def test_answers_stored_events_with_200_and_nothing_else(collector: RunningCollector) -> None:
    answer = collector.send(EVENTS)

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == "0"


def test_keeps_the_fields_that_processing_reads(kept) -> None:
    before = time.time_ns() // 1_000_000
    query = f"{QUERY}&upload_timestamp=1700000000123&hashCode=abcd1234&x=%C3%A9"

    (record,) = kept(
        lambda to: to.send(EVENTS, query=query, headers={"User-Agent": "Browser/1"}),
    )

    after = time.time_ns() // 1_000_000
    assert before <= record["ingest_time"] <= after
    assert record["server_ingest_time"] == record["ingest_time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["date"])
    assert re.fullmatch(r"[0-9a-f]{32}", record["rid"])
    told = {name: record[name] for name in ("ip", "ua", "uri", "method", "platform", "appId")}
    assert told == {
        "ip": "127.0.0.1",
        "ua": "Browser/1",
        "uri": f"/collect?{query}",
        "method": "POST",
        "platform": "Web",
        "appId": APP,
    }
    assert record["compression"] is None
    assert record["client_timestamp"] == "1700000000123"
    assert (record["path"], record["source_type"]) == ("/collect", "http_server")
    assert record["data"] == EVENTS.decode()


def test_takes_the_last_of_a_parameter_that_comes_twice(kept) -> None:
    (record,) = kept(lambda to: to.send(EVENTS, query=f"appId=other&{QUERY}&platform=iOS"))

    assert (record["appId"], record["platform"]) == (APP, "iOS")


PACKED = {
    "gzip": gzip.compress(EVENTS),
    "deflate": zlib.compress(EVENTS),
    "br": brotli.compress(EVENTS),
    "zstd": zstd.compress(EVENTS),
    "gzip, br": brotli.compress(gzip.compress(EVENTS)),
}
RAW_DEFLATE = zlib.compress(EVENTS)[2:-4]


def test_undoes_content_encodings(kept) -> None:
    def send(to: RunningCollector) -> None:
        for name, body in [*PACKED.items(), ("deflate", RAW_DEFLATE), ("identity", EVENTS)]:
            assert to.send(body, headers={"Content-Encoding": name}).status == 200

    records = kept(send)

    assert [record["data"] for record in records] == [EVENTS.decode()] * (len(PACKED) + 2)


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_says_what_is_wrong_with_a_body_that_cannot_be_unpacked(
    collector: RunningCollector, name: str
) -> None:
    for body in (b"no such data", PACKED[name][:-6]):
        answer = collector.send(body, headers={"Content-Encoding": name})

        assert (answer.status, name in answer.body.decode()) == (400, True), answer.body


def test_refuses_unknown_encodings(collector: RunningCollector) -> None:
    answer = collector.send(EVENTS, headers={"Content-Encoding": "snappy"})

    assert answer.status == 400
    assert b"send gzip, deflate, br or zstd" in answer.body


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", partial(brotli.compress, quality=9)),  # the best takes ten seconds
        ("zstd", zstd.compress),
    ],
)
def test_stops_a_decompression_bomb(collector: RunningCollector, name: str, pack) -> None:
    answer = collector.send(pack(bytes(64 << 20)), headers={"Content-Encoding": name})

    assert answer.status == 413


def test_keeps_bytes_that_are_no_text_for_processing(kept) -> None:
    bodies = [b'[{"a": "\xff"}]', gzip.compress(EVENTS)]

    damaged, packed = kept(lambda to: [to.send(body) for body in bodies])

    assert base64.b64decode(damaged["data"]) == bodies[0]
    with pytest.raises(BadBodyError) as failure:
        decode_body(damaged["data"])
    assert failure.value.reason is BadReason.UNDECODABLE_BODY
    assert decode_body(packed["data"]) == EVENTS.decode()


def test_keeps_nothing_of_an_empty_body(kept) -> None:
    def send(to: RunningCollector) -> None:
        assert to.send(b"").status == 200

    assert kept(send) == []


def test_refuses_an_unknown_app(collector: RunningCollector) -> None:
    for query in ("platform=Web&appId=other", "platform=Web", "appId=", ""):
        answer = collector.send(EVENTS, query=query)

        assert answer.status == 403
        assert answer.headers["content-type"].startswith("text/plain")


def test_takes_requests_without_an_app_for_third_party_sdks(kept) -> None:
    (record,) = kept(lambda to: to.send(EVENTS, query="a=1"), "--any-app")

    assert record["appId"] is None


def test_refuses_a_body_over_the_limit(collector: RunningCollector) -> None:
    assert collector.send(bytes(1 << 20)).status == 200
    for size in ((1 << 20) + 1, 4 << 20):  # its sender gets to see why
        assert collector.send(bytes(size)).status == 413


@pytest.mark.parametrize("size", [100_000, 1 << 20, 4 << 20])
def test_a_sender_of_a_large_body_sees_why_it_is_refused(
    collector: RunningCollector, size: int
) -> None:
    for _ in range(5):
        assert collector.send(bytes(size), query="appId=stranger").status == 403


def test_refuses_an_endless_body_of_a_stranger_as_soon_as_one_of_a_known_app(
    collector: RunningCollector,
) -> None:
    assert b" 403 " in answer_to_endless_body(collector, "appId=stranger")


def test_refuses_an_endless_body_when_it_passes_the_limit(collector: RunningCollector) -> None:
    assert b" 413 " in answer_to_endless_body(collector, QUERY)


def answer_to_endless_body(collector: RunningCollector, query: str) -> bytes:
    """Send a body without an end, give the answer; it must come before 16 MB are taken."""
    with socket.create_connection(("127.0.0.1", collector.port), timeout=30) as client:
        head = f"POST /collect?{query} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head.encode())
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        sent = 0
        try:
            while sent < 64 << 20:
                client.sendall(chunk)
                sent += 0x10000
        except OSError:
            pass
        assert sent < 16 << 20
        return client.recv(200)


def test_answers_preflights(collector: RunningCollector) -> None:
    answer = collector.send(
        None,
        method="OPTIONS",
        headers={
            "Origin": "https://www.example.com",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
    )

    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "https://www.example.com"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Content-Type" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("https://www.example.com", True),
        ("https://WWW.example.com", True),
        ("https://a.shop.example", True),
        ("https://a.b.shop.example", True),
        ("http://localhost:8080", True),
        ("http://localhost", False),
        ("http://www.example.com", False),
        ("https://www.example.com.evil.net", False),
        ("https://evil.net/https://www.example.com", False),
        ("https://wwwXexample.com", False),
        ("https://shop.example", False),
        ("https://evilshop.example", False),
        ("https://example.com", False),
        ("null", False),
    ],
)
def test_tells_pages_of_the_allow_list_only_that_they_may_send(
    collector: RunningCollector, origin: str, may: bool
) -> None:
    for method, status in (("POST", 200), ("OPTIONS", 204)):
        answer = collector.send(EVENTS, method=method, headers={"Origin": origin})

        assert answer.status == status
        assert answer.headers.get("access-control-allow-origin") == (origin if may else None)


def test_names_the_origin_where_every_page_may_send(tmp_path) -> None:
    """With credentials a browser takes no `*`."""
    with running_collector(tmp_path, "--origin", "*") as running:
        answer = running.send(EVENTS, headers={"Origin": "https://any.example"})

    assert answer.headers["access-control-allow-origin"] == "https://any.example"
    assert answer.headers["access-control-allow-credentials"] == "true"


def test_lets_a_page_read_a_refusal(collector: RunningCollector) -> None:
    answer = collector.send(EVENTS, query="", headers={"Origin": ORIGINS[0]})

    assert (answer.status, answer.headers["access-control-allow-origin"]) == (403, ORIGINS[0])


def test_takes_what_a_page_sends_when_it_is_left(kept) -> None:
    (record,) = kept(
        lambda to: to.send(EVENTS, headers={"Content-Type": "text/plain;charset=UTF-8"})
    )

    assert record["data"] == EVENTS.decode()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_takes_every_method_and_keeps_its_name(kept, method: str) -> None:
    (record,) = kept(lambda to: to.send(EVENTS, method=method))

    assert record["method"] == method


def test_answers_an_image_with_one_pixel(kept) -> None:
    query = (
        f"platform=Mail&appId={APP}&event_type=mail_open&unique_id=u%2B1"
        "&attributes.campaign=Winter+sale"
    )

    def send(to: RunningCollector) -> None:
        answer = to.send(None, method="GET", query=query)
        assert answer.status == 200
        assert answer.headers["content-type"] == "image/gif"
        assert "no-store" in answer.headers["cache-control"]
        assert answer.body[:6] == b"GIF89a"

    (record,) = kept(send)

    (event,) = json.loads(record["data"])
    assert event["event_type"] == "mail_open"
    assert event["unique_id"] == event["device_id"] == "u+1"
    assert event["attributes"] == {"campaign": "Winter sale"}
    assert event["event_id"] == record["rid"]
    assert abs(event["timestamp"] - record["ingest_time"]) < 5_000


def test_takes_events_in_the_address_of_an_image(kept) -> None:
    from urllib.parse import quote

    (record,) = kept(
        lambda to: to.send(None, method="GET", query=f"{QUERY}&data={quote(EVENTS.decode())}")
    )

    assert record["data"] == EVENTS.decode()


def test_says_what_an_image_s_event_lacks(collector: RunningCollector) -> None:
    answer = collector.send(None, method="GET", query=f"{QUERY}&event_type=mail_open")

    assert answer.status == 400
    assert b"unique_id" in answer.body


def test_tells_health_and_time(collector: RunningCollector) -> None:
    health = collector.send(None, path="/health", query="", method="GET")
    ping = collector.send(None, path="/ping", query="", method="GET")

    assert health.status == 200
    assert set(json.loads(ping.body)) == {"timestamp"}
    assert abs(json.loads(ping.body)["timestamp"] - time.time()) < 5


def test_serves_another_path_when_it_is_told(tmp_path) -> None:
    with running_collector(tmp_path, "--path", "/e/$-1") as running:
        assert running.send(EVENTS, path="/e/$-1").status == 200
        assert running.send(EVENTS, path="/collect").status == 404


@pytest.mark.parametrize(
    ("forwarded", "ip"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("nonsense, 203.0.113.9", "203.0.113.9"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("203.0.113.9:1234", "203.0.113.9"),
        ("10.0.0.9, 10.1.2.3", "10.0.0.9"),
        ("nonsense", "127.0.0.1"),
    ],
)
def test_believes_its_own_proxies_about_the_address(kept, forwarded: str, ip: str) -> None:
    (record,) = kept(lambda to: to.send(EVENTS, headers={"X-Forwarded-For": forwarded}))

    assert record["ip"] == ip


def test_reads_several_lines_of_a_header_as_one_list(kept) -> None:
    """What a client has sent stands in a line of its own, before that of the load balancer."""
    lines = "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.9, 10.1.2.3\r\n"
    head = f"POST /collect?{QUERY} HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {len(EVENTS)}"

    def send(to: RunningCollector) -> None:
        with socket.create_connection(("127.0.0.1", to.port), timeout=30) as client:
            client.sendall(f"{head}\r\n\r\n".encode() + EVENTS)
            assert b" 200 " in client.recv(1_000)

    (record,) = kept(send)

    assert record["ip"] == "203.0.113.9"


def test_does_not_believe_others(kept) -> None:
    (record,) = kept(
        lambda to: to.send(EVENTS, headers={"X-Forwarded-For": "203.0.113.9"}),
        *("--trusted-proxy", "10.0.0.0/8"),
    )

    assert record["ip"] == "127.0.0.1"


@pytest.mark.parametrize(("options", "ip"), [((), "127.0.0.1"), (("--dev",), "1.1.1.1")])
def test_takes_a_given_address_in_development_only(kept, options, ip: str) -> None:
    (record,) = kept(lambda to: to.send(EVENTS, query=f"{QUERY}&fakeIp=1.1.1.1"), *options)

    assert (record["ip"], record["fakeIp"]) == (ip, "1.1.1.1")


def test_gives_each_request_an_id_of_its_own(tmp_path) -> None:
    with running_collector(tmp_path, workers=2) as running:
        for _ in range(50):
            running.send(EVENTS)
        running.stop()

    ids = [record["rid"] for record in records_in(tmp_path / "raw")]
    assert len(ids) == len(set(ids)) == 50


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kafka: {security: none}", "kafka.security: Input should be 'plaintext'"),
        ("kinesis: {batch_records: 501}", "kinesis.batch_records: Input should be less"),
        ("kafak: {}", "kafak: Extra inputs"),
        ("kafka: [", "streams.yaml"),
    ],
)
def test_says_what_is_wrong_with_the_settings_of_a_stream(tmp_path, text: str, told: str) -> None:
    file = tmp_path / "streams.yaml"
    file.write_text(text)

    assert told in refusal_to_run(tmp_path, "--sink-settings", str(file))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--path", "collect"), "path 'collect': write / and letters"),
        (("--path", "/health"), "not /health"),
        (("--origin", "www.example.com"), "write https://www.example.com"),
        (("--segment-mb", "51"), "segment size 51: write 1 to 50 MiB"),
        (("--segment-seconds", "4000"), "segment age"),
        (("--sync", "sometimes"), "write always, interval, never"),
        (("--log", "xml"), "write json, text"),
        (("--trusted-proxy", "10.0.0"), "write 10.0.0.0/8 or 10.1.2.3"),
        (("--oidc-issuer", "https://id.example.com"), "together with --oidc-audience"),
        (("--oidc-issuer", "http://id.example.com", "--oidc-audience", "a"), "https:// address"),
        (("--listen", "8088"), "write an address and a port"),
        (("--tls-key", "key.pem"), "together with --tls-key"),
        (("--any-app", "--body-kb", "9000"), "body limit 9000: write 1 to 8,192 KiB"),
    ],
)
def test_says_which_setting_is_wrong_before_it_listens(tmp_path, options, told: str) -> None:
    assert told in refusal_to_run(tmp_path, *options)
