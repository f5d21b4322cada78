"""Requests that nobody thought of: by the OpenAPI description, and as raw bytes.

`CLICKSTREAM_COLLECTOR_FUZZ` is how many of each kind, `CLICKSTREAM_FUZZ_SEED` another start.
"""

import json
import os
import random
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from schemathesis.checks import CHECKS, load_all_checks

from tests.collector.running import QUERY, RunningCollector, running_collector

EXAMPLES = int(os.environ.get("CLICKSTREAM_COLLECTOR_FUZZ", "50"))
SEED = int(os.environ.get("CLICKSTREAM_FUZZ_SEED", "1"))
APP_KEY = "k" * 32
EVENTS = b'[{"event_type": "_page_view", "event_id": "e1"}]'
DESCRIPTION = Path(__file__).parents[2] / "docs" / "collector-openapi.yaml"

schema = schemathesis.openapi.from_path(str(DESCRIPTION))
load_all_checks()
# The others ask for what a collector must not do: refuse bodies and methods that it can keep.
HOLD = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    root = tmp_path_factory.mktemp("fuzz")
    keys = root / "keys.yaml"
    keys.write_text(f'guarded: "{APP_KEY}"\n')
    options = ("--write-keys", str(keys), "--origin", "https://*.example.com")
    with running_collector(root, *options, apps=("shop_web", "guarded")) as running:
        yield running
        assert_whole(running)


def assert_whole(collector: RunningCollector) -> None:
    """It still collects, has not failed anywhere, and what it keeps are records."""
    assert collector.send(EVENTS).status == 200
    lines = [json.loads(line) for line in collector.log.read_text().splitlines()]
    assert [line for line in lines if line["levelname"] in ("ERROR", "CRITICAL")] == []
    assert [line for line in lines if "exc_info" in line] == []
    assert all(record["rid"] for record in collector.logged())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@schema.parametrize()
def test_answers_as_its_description_says(
    case: schemathesis.Case, collector: RunningCollector
) -> None:
    case.call_and_validate(base_url=f"http://127.0.0.1:{collector.port}", checks=HOLD)


def test_the_description_names_every_status_that_it_answers() -> None:
    """Each status in the code is described, and none that is not there."""
    folder = Path(__file__).parents[2] / "clickstream_dagster" / "collector"
    refusals = {
        found
        for file in ("app.py", "bodies.py", "connections.py", "pixels.py")
        for found in re.findall(r"RefusalError\(\s*(\d{3})", (folder / file).read_text())
    }
    described = set(schema.raw_schema["paths"]["/collect"]["post"]["responses"])
    assert described == refusals | {"200"}


def test_outlives_random_bytes(collector: RunningCollector) -> None:
    """Whole requests with some bytes changed, cut, doubled or put in."""
    rng = random.Random(SEED)
    whole = (
        f"POST /collect?{QUERY} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(EVENTS)}\r\n"
        "Content-Encoding: identity\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    ).encode() + EVENTS
    for _ in range(EXAMPLES * 4):
        sent = damaged(whole, rng)
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", collector.port), timeout=5) as client,
        ):
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(100)
            assert not answer.startswith(b"HTTP/1.1 5"), (sent, answer)
    assert_whole(collector)


def damaged(request: bytes, rng: random.Random) -> bytes:
    """Change a request in a few places."""
    out = bytearray(request)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(out))
        match rng.randrange(4):
            case 0:
                out[at] = rng.randrange(256)
            case 1:
                del out[at : at + rng.randint(1, 40)]
            case 2:
                out[at:at] = out[at : at + rng.randint(1, 60)]
            case _:
                out[at:at] = rng.randbytes(rng.randint(1, 20))
        if not out:
            return b"\0"
    return bytes(out)


@pytest.mark.parametrize("timestamp", ["9" * 30, "9" * 5_000, "-1", "1.5", "\u0661"])
def test_an_image_with_any_timestamp_is_answered(
    collector: RunningCollector, timestamp: str
) -> None:
    from urllib.parse import quote

    query = f"{QUERY}&event_type=open&unique_id=1&timestamp={quote(timestamp)}"
    assert collector.send(None, method="GET", query=query).status == 200
    assert_whole(collector)


def test_no_header_and_no_body_is_in_the_log(collector: RunningCollector) -> None:
    secret = "S3cr3tThing"
    headers = {
        "User-Agent": f"{secret}\tua",
        "Origin": f"https://{secret}.example",
        "X-Forwarded-For": secret,
        "X-Write-Key": secret,
        "Authorization": f"Bearer {secret}",
        "Content-Encoding": secret,
        "Cookie": secret,
    }
    body = f'[{{"a": "{secret}"'.encode()
    for query in (QUERY, "appId=guarded", f"appId={secret}", f"{QUERY}&x={secret}"):
        for extra in ({}, headers, {**headers, "Content-Encoding": "gzip"}):
            collector.send(body, query=query, headers=extra)
    collector.send(None, method="GET", query=f"{QUERY}&event_type={secret}&timestamp={secret}")
    collector.send(None, path=f"/{secret}", query=secret)
    assert secret not in collector.log.read_text()
    assert secret not in collector.metrics()
