"""The task of the template runs the real collector: its command line, behind the image's own."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import boto3
import pytest

from clickstream_dagster.cli import app as cli
from clickstream_dagster.infra.module import Part
from tests.collector.running import CLICKSTREAM, RunningCollector, kill_session
from tests.collector.test_container import command as command_of_image
from tests.infra.templates.deployed import Network, deployed, known_part, network, template_of
from tests.infra.templates.test_ingestion import CLUSTER, SECRET, parameters_of
from tests.served import eventually, free_port

EVENTS = b'[{"event_type": "a"}]'
KEY_ARN = "arn:aws:kms:us-east-1:123456789012:key/5f1d0a3e-6a0c-4a5e-8d5b-0c4a4bb0e3c1"


@pytest.fixture(scope="module")
def vpc(aws: str) -> Network:
    return network(2)


def container_of(vpc: Network, **told: str) -> dict:
    """Give the container of the task as ECS has it."""
    parameters = parameters_of(vpc, **told)
    with deployed(known_part(template_of("ingestion"), parameters), parameters) as stack:
        task = boto3.client("ecs").describe_task_definition(
            taskDefinition=stack.physical()["Task"]
        )["taskDefinition"]
    (container,) = task["containerDefinitions"]
    return container


@contextmanager
def running(
    container: dict, root: Path, environment: dict[str, str] | None = None
) -> Iterator[RunningCollector]:
    """Run what the container would, on loopback and with a spool below `root`."""
    port, spool, log = free_port(), root / "spool", root / "collector.log"
    entry = command_of_image("ENTRYPOINT")
    assert entry[:2] == ["/opt/clickstream/bin/clickstream", "collector"]
    places = {"/spool": str(spool), "0.0.0.0:8088": f"127.0.0.1:{port}"}
    words = [places.get(word, word) for word in (*entry[1:], *container["command"])]
    words[words.index("127.0.0.1:9464")] = metrics = f"127.0.0.1:{free_port()}"
    with log.open("w") as output:
        process = subprocess.Popen(
            [CLICKSTREAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=root,
            env={**os.environ, **(environment or {})},
        )
    collector = RunningCollector(
        port, int(metrics.rpartition(":")[2]), spool, root / "raw", log, process
    )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with suppress(OSError):
            return collector.send(None, path="/health", query="", method="GET").status == 200
        return False

    try:
        eventually(answers, 60, log.read_text)
        yield collector
    finally:
        with suppress(ProcessLookupError):
            kill_session(process.pid)
        process.wait(60)


def test_takes_events_and_ships_them_to_the_bucket(vpc: Network, make_bucket, tmp_path) -> None:
    bucket = make_bucket()
    container = container_of(
        vpc,
        RawBucket=bucket.name,
        RawPrefix="clickstream/shop/",
        Origins="https://www.example.com,https://*.example.org",
        BufferSeconds="60",
    )
    with running(container, tmp_path) as collector:
        answer = collector.send(
            EVENTS, query="appId=whichever", headers={"Origin": "https://a.example.org"}
        )
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "https://a.example.org"
        assert collector.stop() == 0
    found = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="clickstream/shop/year=")
    assert found["KeyCount"] == 1


def test_tells_the_state_of_the_spool_as_the_filters_of_the_template_read_it(
    vpc: Network, make_bucket, tmp_path
) -> None:
    container = container_of(vpc, RawBucket=make_bucket().name)
    resources = template_of("ingestion")["Resources"]
    filters = [resources[name]["Properties"] for name in ("OldestSegment", "WaitingBytes")]
    with running(container, tmp_path) as collector:
        lines = [json.loads(line) for line in collector.log.read_text().splitlines()]
    for one in filters:
        (message,) = re.findall(r'\$\.message = "(.+?)"', one["FilterPattern"])
        (field,) = [told["MetricValue"] for told in one["MetricTransformations"]]
        states = [line for line in lines if line["message"] == message]
        assert states
        assert all(line[field.removeprefix("$.")] >= 0 for line in states)


def test_asks_for_write_keys_of_the_secret(vpc: Network, make_bucket, tmp_path) -> None:
    container = container_of(
        vpc, RawBucket=make_bucket().name, AppIds="shop_web,shop_tv", WriteKeysSecretArn=SECRET
    )
    (secret,) = filter(None, container["secrets"])  # moto keeps a place for AWS::NoValue
    assert secret["valueFrom"] == SECRET
    keys = {secret["name"]: json.dumps({"shop_web": "k" * 32})}
    with running(container, tmp_path, keys) as collector:
        assert collector.send(EVENTS, query="appId=shop_web").status == 401
        assert (
            collector.send(EVENTS, query="appId=shop_web", headers={"X-Write-Key": "k" * 32}).status
            == 200
        )
        assert collector.send(EVENTS, query="appId=shop_tv").status == 200
        assert collector.send(EVENTS, query="appId=other").status == 403


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            {"SinkType": "kinesis", "StreamName": "shop", "SinkBatchRecords": "100"},
            {"sink": "kinesis://shop", "sink_settings": '{"kinesis":{"batch_records":100}}'},
        ),
        (
            {
                "SinkType": "kafka",
                "KafkaBrokers": "b-1.kafka:9098,b-2.kafka:9098",
                "KafkaTopic": "shop",
                "KafkaSecurity": "iam",
                "KafkaClusterArn": CLUSTER,
                "SinkBatchRecords": "10000",
            },
            {
                "sink": "kafka://b-1.kafka:9098,b-2.kafka:9098/shop",
                "sink_settings": '{"kafka":{"security":"iam","batch_records":10000}}',
            },
        ),
        (
            {"KmsKeyArn": KEY_ARN, "Dev": "true", "CollectPath": "/c", "Sync": "interval"},
            {"kms_key_id": KEY_ARN, "dev": True, "path": "/c", "sync": "interval"},
        ),
        (
            {"OidcIssuer": "https://id.example.com", "OidcAudience": "clickstream"},
            {"oidc_issuer": "https://id.example.com", "oidc_audience": "clickstream"},
        ),
        (
            {"TrustedProxies": "10.0.0.0/8,100.64.0.0/10"},
            {"trusted_proxy": ("10.0.0.0/8", "100.64.0.0/10"), "any_app": True, "workers": 1},
        ),
    ],
)
def test_its_options_are_those_of_the_collector(
    vpc: Network, told: dict[str, str], expected: dict[str, object]
) -> None:
    import typer

    command = typer.main.get_command(cli).commands["collector"]
    words = [*command_of_image("ENTRYPOINT")[2:], *container_of(vpc, **told)["command"]]
    parsed = command.make_context("collector", list(words)).params
    assert {name: parsed[name] for name in expected} == expected


def test_a_part_of_an_app_is_no_word_of_the_command(vpc: Network) -> None:
    """So a new app changes rules alone, and restarts no collector."""
    rule = Part("listener_rule.yaml", "A", {"app_id": "shop_web", "priority": 1000})
    plain, with_app = template_of("ingestion"), template_of("ingestion", rule)
    assert plain["Resources"]["Task"] == with_app["Resources"]["Task"]
