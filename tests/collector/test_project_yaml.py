"""What a project's YAML says about its collector, and a collector that is told by it."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clickstream_dagster
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.cli import app
from clickstream_dagster.collector.log import Sync
from clickstream_dagster.collector.settings import MB, ProjectSettings
from clickstream_dagster.collector.sinks.settings import (
    KafkaSettings,
    KinesisSettings,
    SinkSettings,
)
from clickstream_dagster.collector.tokens import OidcSettings
from clickstream_dagster.components import ClickstreamProject
from tests.collector.running import QUERY, records_in, refusal_to_run, running_collector
from tests.served import eventually

EVENTS = b'[{"event_id": "e1"}]'
KEY = "k" * 32
ROOT = Path("/srv/web")
ON_S3 = {"raw": "s3://bucket/raw"}


def settings_of(collector: dict, **attributes) -> ProjectSettings:
    """Give what a collector of a project is started with."""
    given = {
        "project_id": "shop",
        "app_ids": ["shop_web"],
        "start_date": "2026-01-01",
        "warehouses": [],
        "collector": collector,
    }
    component = ClickstreamProject.from_attributes_dict(attributes=given | attributes)
    return component.project(ROOT).collector.settings


def test_a_project_that_says_nothing_writes_files_where_it_reads_them() -> None:
    plain = SinkSettings(project_id="shop")
    assert settings_of({}) == ProjectSettings(sink="/srv/web/data/shop/raw", sink_settings=plain)
    assert settings_of({}, **ON_S3).sink == "s3://bucket/raw"


@pytest.mark.parametrize(
    ("sink", "attributes", "address", "told"),
    [
        ({"type": "directory"}, {"raw": "/data/raw"}, "/data/raw", {}),
        (
            {"type": "s3", "kms_key_id": "alias/raw"},
            {**ON_S3, "s3": {"region": "eu-west-1", "kms_key_id": "alias/lake"}},
            "s3://bucket/raw",
            {"s3": S3Access(region="eu-west-1", kms_key_id="alias/raw")},
        ),
        (
            {"type": "s3"},
            {**ON_S3, "s3": {"kms_key_id": "alias/lake"}},
            "s3://bucket/raw",
            {"s3": S3Access(kms_key_id="alias/lake")},
        ),
        (
            {"type": "kinesis", "stream": "events", "batch_records": 100},
            {**ON_S3, "s3": {"region": "eu-west-1"}},
            "kinesis://events",
            {"s3": S3Access(region="eu-west-1"), "kinesis": KinesisSettings(batch_records=100)},
        ),
        (
            {
                "type": "kafka",
                "brokers": ["b-1.example:9098", "b-2.example:9098"],
                "security": "scram",
                "ca_file": "ca.pem",
                "properties_file": "/etc/kafka.properties",
                "batch_records": 5_000,
            },
            ON_S3,
            "kafka://b-1.example:9098,b-2.example:9098/",
            {
                "kafka": KafkaSettings(
                    security="scram",
                    ca_file=ROOT / "ca.pem",
                    properties_file=Path("/etc/kafka.properties"),
                    batch_records=5_000,
                )
            },
        ),
        (
            {"type": "kafka", "brokers": ["[::1]:9092"], "topic": "events"},
            {},
            "kafka://[::1]:9092/events",
            {},
        ),
    ],
    ids=["directory", "s3", "s3 with the project's key", "kinesis", "kafka", "topic"],
)
def test_the_sink_of_the_yaml(sink: dict, attributes: dict, address: str, told: dict) -> None:
    found = settings_of({"sink": sink}, **attributes)
    assert (found.sink, found.sink_settings) == (address, SinkSettings(project_id="shop", **told))


def test_the_endpoint_of_the_yaml() -> None:
    found = settings_of(
        {
            "path": "/e",
            "any_app": True,
            "oidc": {"issuer": "https://id.example.com", "audience": "clickstream"},
            "trusted_proxies": ["10.0.0.0/8"],
            "body_kb": 512,
            "body_seconds": 10,
            "sync": "interval",
            "dev": True,
            "sink": {"buffer_mb": 1.5, "buffer_seconds": 60},
        }
    )
    assert found == ProjectSettings(
        sink="/srv/web/data/shop/raw",
        sink_settings=SinkSettings(project_id="shop"),
        path="/e",
        needs_app=False,
        oidc=OidcSettings("https://id.example.com", "clickstream"),
        trusted_proxies=("10.0.0.0/8",),
        body_bytes=512 << 10,
        body_seconds=10,
        sync=Sync.INTERVAL,
        dev=True,
        segment_bytes=int(1.5 * MB),
        segment_seconds=60,
    )


@pytest.mark.parametrize(
    ("collector", "attributes", "told"),
    [
        ({"sink": {"type": "sqs"}}, {}, "'directory', 's3', 'kinesis' or 'kafka'"),
        ({"sink": {"type": "s3"}}, {}, "write raw: s3://bucket/prefix"),
        ({"sink": {"type": "directory"}}, ON_S3, "write type: s3"),
        ({"sink": {"buffer_seconds": 59}}, ON_S3, "buffer_seconds 59: write 60 to 3600 for s3"),
        ({"sink": {"buffer_seconds": 3601}}, {}, "less than or equal to 3600"),
        ({"sink": {"buffer_mb": 51}}, {}, "less than or equal to 50"),
        ({"sink": {"buffer_mb": 0.9}}, {}, "greater than or equal to 1"),
        ({"sink": {"type": "kinesis"}}, {}, "needs stream"),
        ({"sink": {"type": "kinesis", "stream": "a/b"}}, {}, "stream 'a/b': write up to 128"),
        (
            {"sink": {"type": "kinesis", "stream": "a", "batch_records": 501}},
            {},
            "batch_records 501: write 500 at most",
        ),
        ({"sink": {"stream": "a"}}, {}, "stream is of another sink: write type: kinesis"),
        ({"sink": {"type": "s3", "brokers": ["a:1"]}}, ON_S3, "write type: kafka"),
        ({"sink": {"type": "kafka"}}, {}, r"needs brokers: write \[host:port"),
        ({"sink": {"type": "kafka", "brokers": ["a"]}}, {}, "brokers 'a': write host:port"),
        ({"sink": {"type": "kafka", "brokers": ["a:1"], "topic": "_a"}}, {}, "topic '_a': write"),
        ({"path": "collect"}, {}, "path 'collect': write /"),
        ({"trusted_proxies": ["10.0.0"]}, {}, "write 10.0.0.0/8"),
        ({"oidc": {"issuer": "http://id.example.com", "audience": "a"}}, {}, "https:// address"),
        ({"sync": "sometimes"}, {}, "'always', 'interval' or 'never'"),
        ({"body_kb": 9_000}, {}, "less than or equal to 8192"),
    ],
)
def test_a_wrong_setting_says_what_to_write(collector: dict, attributes: dict, told: str) -> None:
    with pytest.raises(Exception, match=told):
        settings_of(collector, **attributes)


def test_an_address_with_a_password_is_not_repeated() -> None:
    sink = {"type": "kafka", "brokers": ["me:secret@broker:9092"]}
    with pytest.raises(Exception, match="go into the environment") as told:
        settings_of({"sink": sink})
    assert "brokers with credentials" in str(told.value)


@pytest.fixture
def write_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give what writes the YAML of a deployment of its own: the package with another `defs/`."""
    package = tmp_path / "deployment" / "clickstream_dagster"
    yaml = package / "defs" / "shop" / "defs.yaml"
    yaml.parent.mkdir(parents=True)
    for part in Path(clickstream_dagster.__file__).parent.iterdir():
        if part.name != "defs":
            (package / part.name).symlink_to(part)
    (package / "defs" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    head = f"""\
        type: clickstream_dagster.components.ClickstreamProject
        attributes:
          project_id: shop
          start_date: "2026-01-01"
          raw: {tmp_path / "raw"}
        """

    def write(text: str) -> None:
        fresh = yaml.with_suffix(".new")  # the collector never sees half of it
        fresh.write_text(textwrap.dedent(head) + textwrap.indent(textwrap.dedent(text), "  "))
        fresh.rename(yaml)

    return write


def test_a_collector_does_as_the_yaml_says_and_follows_who_may_send(
    tmp_path: Path, write_yaml: Callable[[str], None]
) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(f'shop_ios: "{KEY}"\n')
    text = f"""\
        app_ids: [APPS]
        collector:
          origins: ["ORIGIN"]
          path: /e
          body_kb: 1
          write_keys: {keys}
          sink: {{buffer_seconds: 1}}
        """

    def write(apps: str, origin: str) -> None:
        write_yaml(text.replace("APPS", apps).replace("ORIGIN", origin))

    write("shop_web, shop_ios", "https://www.example.com")
    with running_collector(tmp_path, apps=()) as it:
        assert it.send(EVENTS, path="/e").status == 200
        assert it.send(EVENTS, path="/collect").status == 404
        assert it.send(bytes(1025), path="/e").status == 413
        assert it.send(EVENTS, path="/e", query="appId=shop_android").status == 403
        assert it.send(EVENTS, path="/e", query="appId=shop_ios").status == 401
        key = {"X-Write-Key": KEY}
        assert it.send(EVENTS, path="/e", query="appId=shop_ios", headers=key).status == 200
        eventually(lambda: len(records_in(tmp_path / "raw")) == 2, 20, it.log.read_text)

        write_yaml("collector: [")
        eventually(lambda: "stay as they are" in it.log.read_text(), 60)
        assert "defs.yaml" in it.log.read_text()
        assert it.send(EVENTS, path="/e", query=QUERY).status == 200

        write("shop_web, shop_ios, shop_android", "https://*.example.com")
        page = {"Origin": "https://new.example.com"}
        eventually(
            lambda: (
                "access-control-allow-origin" in it.send(EVENTS, path="/e", headers=page).headers
            ),
            60,
        )
        assert it.send(EVENTS, path="/e", query="appId=shop_android").status == 200
        assert "start the collector again" not in it.log.read_text()

        text = text.replace("body_kb: 1", "body_kb: 2")
        write("shop_web", "https://www.example.com")
        eventually(lambda: "start the collector again" in it.log.read_text(), 60)
        assert it.send(bytes(1025), path="/e").status == 413


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "app_ids: [a]\ncollector: {sink: {type: kafka}}",
            ("defs/shop/defs.yaml:7", "attributes.collector.sink", "write [host:port"),
        ),
        (
            "app_ids: [a]\ncollector: {sink: {type: s3}}",
            ("defs/shop/defs.yaml", "collector.sink of type s3", "write raw: s3://bucket"),
        ),
        (
            "app_ids: [a]\ncollector: {sink: {stream: a, steam: b}}",
            ("defs/shop/defs.yaml:7", "steam", "Extra inputs"),
        ),
        (
            "app_ids: [a]\ncollector: {path: 8}",
            ("collector.path at ", "defs/shop/defs.yaml:7: Input should be a valid string"),
        ),
        ("app_ids: [", ("defs/shop/defs.yaml", "line 6")),
    ],
)
def test_a_wrong_yaml_is_told_by_file_and_key_before_it_listens(
    tmp_path: Path, write_yaml: Callable[[str], None], text: str, told: tuple[str, ...]
) -> None:
    write_yaml(text)
    refusal = refusal_to_run(tmp_path, apps=())
    assert [part for part in told if part not in refusal] == [], refusal


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--path", "/e", "--dev"), "--path, --dev: the project's YAML says this"),
        (("--app-id", "a"), "--app-id: the project's YAML says this"),
        (("--sink", "raw"), "--sink without --app-id: name the apps"),
    ],
)
def test_what_the_yaml_says_is_no_option(tmp_path: Path, options, told: str) -> None:
    spool = ("--spool", str(tmp_path / "spool"))
    result = CliRunner().invoke(app, ["collector", "--project-id", "demo", *spool, *options])
    assert result.exit_code == 1
    assert told in result.stderr
