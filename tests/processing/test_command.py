"""`clickstream process` refuses what can't be right before it starts anything."""

import json
from contextlib import nullcontext

import pytest
from typer.testing import CliRunner, Result

from clickstream_dagster.cli import app
from clickstream_dagster.processing import engines, job
from clickstream_dagster.processing.counters import BatchCounters
from tests.processing.records_input import event, plain, record, write_object


@pytest.fixture(autouse=True)
def raw(tmp_path, monkeypatch):
    """Raw objects in `raw` of the working directory."""
    monkeypatch.chdir(tmp_path)
    write_object(tmp_path / "raw" / "a.log.gz", [record(plain(event("e1")))])


ADDRESSES = [
    ("notaurl", "write http://host:port or https://host"),
    ("ftp://host", "write http://host:port or https://host"),
    ("http://a b", "write http://host:port or https://host"),
    ("https://key:secret@host", "holds credentials"),
]


@pytest.mark.parametrize(("address", "message"), ADDRESSES)
@pytest.mark.parametrize("option", ["endpoint-url", "glue-endpoint-url"])
def test_an_address_that_is_none_is_refused(option: str, address: str, message: str) -> None:
    done = process(**{option: address})
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {option.replace('-', '_')}: ")
    assert message in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("maintain", "--sink=s3://b/lake", "--project-id=demo"),
        ("model", "--sink=s3://b/lake", "--project-id=demo", "--warehouse=w.duckdb"),
        ("docs", "--sink=s3://b/lake"),
    ],
)
def test_every_command_on_s3_refuses_an_address_that_is_none(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--endpoint-url=nourl"])
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: endpoint_url: address 'nourl': write http://host:port or https://host\n",
    )


@pytest.mark.parametrize(
    "command",
    [
        ("process", "--source=s3://b/raw", "--sink=lake", "--project-id=demo", "--app-id=shop"),
        ("process", "--source=raw", "--sink=s3://b/lake", "--project-id=demo", "--app-id=shop"),
        ("replay", "demo", "--sink=s3://b/lake", "--app-id=shop", "--dry-run"),
        ("maintain", "--sink=s3://b/lake", "--project-id=demo"),
    ],
)
def test_a_profile_that_is_not_there_is_named_by_every_command_on_s3(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    done = CliRunner().invoke(app, [*command, "--profile=unknown"])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(
        "Error: AWS can't be reached as it is set up: The config profile (unknown) could not be"
        " found; correct the profile"
    )
    assert "Traceback" not in done.stderr


def test_counters_that_do_not_add_up_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "spark_session", lambda engine: nullcontext())
    monkeypatch.setattr(job, "process_batch", lambda *_: BatchCounters(requests=2, decoded=1))
    done = process()
    assert done.exit_code == 0
    assert "do not add up" in done.stderr
    assert "2 requests came in, 1 are accounted for" in done.stderr.replace("\n", "")
    assert json.loads(done.stdout)["requests"] == 2


def process(**options: str) -> Result:
    chosen = {"source": "raw", "sink": "lake", "project-id": "demo", "app-id": "shop", **options}
    return CliRunner().invoke(app, ["process", *(f"--{key}={chosen[key]}" for key in chosen)])


@pytest.mark.parametrize("sink", ["raw", "./raw/lake", "s3://bucket/raw/lake"])
def test_a_sink_in_the_source_is_refused(sink: str, tmp_path) -> None:
    source = "s3://bucket/raw" if sink.startswith("s3:") else "raw"
    done = process(source=source, sink=sink)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: the sink {sink} lies in the source {source}, so that")
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["a.log.gz"]


def test_a_source_that_is_neither_directory_nor_s3_is_refused(tmp_path) -> None:
    places = ["--source", "gs://bucket/raw", "--sink", str(tmp_path / "lake")]
    result = CliRunner().invoke(
        app, ["process", *places, "--project-id", "shop", "--app-id", "shop_web"]
    )
    assert result.exit_code == 1
    assert "source gs://bucket/raw: write a directory or s3://bucket/prefix" in result.stderr


def test_an_empty_name_of_a_batch_is_refused(tmp_path) -> None:
    done = process(batch="")
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: the batch's name is empty: write one, or leave it out\n",
    )
