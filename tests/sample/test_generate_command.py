"""`clickstream generate` as a user types it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clickstream_dagster.cli import app
from clickstream_dagster.sample.generator import generate
from clickstream_dagster.sample.plan import TrafficPlan
from tests.sample.collector import Collector

RUNNER = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})


def files(directory: Path) -> dict[str, bytes]:
    found = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def test_it_writes_files_and_prints_what_they_hold(tmp_path: Path) -> None:
    arguments = ["generate", "--out", str(tmp_path), "--events", "1500", "--days", "2"]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "1,500" in result.stdout
    assert "100%" not in result.stdout
    assert "1500/1500" in result.stderr
    written = files(tmp_path)
    assert written
    assert RUNNER.invoke(app, arguments).exit_code == 0
    assert files(tmp_path) == written


def test_the_end_is_utc_and_decides_the_folders(tmp_path: Path) -> None:
    end = ["--end", "2026-02-03T00:00", "--days", "1"]
    RUNNER.invoke(app, ["generate", "--out", str(tmp_path), "--events", "200", *end, "--clean"])
    assert {name[:28] for name in files(tmp_path)} == {"year=2026/month=02/day=02/ho"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --out or --endpoint"),
        (["--out", "x", "--endpoint", "http://localhost/"], "either --out or --endpoint"),
        (["--out", __file__], "is a file"),
        (["--out", "x", "--events", "0"], "events must be from 1"),
        (["--out", "x", "--days", "-1"], "days must be from 1"),
        (["--out", "x", "--app-id", "a b"], "is not an id"),
        (["--out", "x", "--end", "tomorrow"], "tomorrow"),
    ],
)
def test_wrong_options_are_usage_errors(arguments: list[str], message: str) -> None:
    result = RUNNER.invoke(app, ["generate", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_endpoint_that_cannot_be_reached_is_one_clear_line() -> None:
    result = RUNNER.invoke(app, ["generate", "--endpoint", "http://127.0.0.1:9/", "--events", "5"])
    assert result.exit_code == 1
    assert "Error: cannot post to http://127.0.0.1:9/" in result.stderr
    assert "Traceback" not in result.stderr


def test_it_posts_what_it_would_write_and_prints_what_that_is(collector: Collector) -> None:
    end = datetime(2026, 2, 3, tzinfo=UTC)
    options = ["--events", "700", "--days", "1", "--seed", "9", "--end", "2026-02-03"]
    result = RUNNER.invoke(app, ["generate", "--endpoint", collector.endpoint, *options])
    assert result.exit_code == 0, result.output
    requests = list(generate(TrafficPlan(events=700, days=1, seed=9, end=end)))
    assert [body for *_, body in collector.received] == [request.body for request in requests]
    assert collector.endpoint in result.stdout
    assert f"{len(requests):,}" in result.stdout


def test_an_endpoint_that_refuses_is_one_clear_line(collector: Collector) -> None:
    collector.status = 403
    result = RUNNER.invoke(app, ["generate", "--endpoint", collector.endpoint, "--events", "5"])
    assert result.exit_code == 1
    assert "answered 403" in result.stderr
    assert "Traceback" not in result.stderr
