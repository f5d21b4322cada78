"""`clickstream athena` reaches AWS by the profile and region that it is given."""

from collections.abc import Mapping
from pathlib import Path

import boto3
import pytest
from typer.testing import CliRunner

from clickstream_dagster.cli import app
from tests.athena.athena_edge import served_athena
from tests.views import VIEWS


@pytest.fixture
def analysts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile of the AWS configuration files, in a region of its own."""
    config = tmp_path / "config"
    config.write_text(
        "[profile analysts]\nregion = eu-west-1\n"
        "aws_access_key_id = other\naws_secret_access_key = other\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)


def test_set_up_makes_work_group_and_queries_by_a_profile(
    aws: str, analysts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--project-id", "shop", "--work-group", "by_profile", "--results", "s3://b/r/"]
    with served_athena(trino_port=0, behind=aws) as edge:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ATHENA", edge.url)
        result = CliRunner().invoke(app, ["athena", "set-up", *arguments, "--profile", "analysts"])
    assert result.exit_code == 0, result.output
    session = boto3.Session(profile_name="analysts")
    client = session.client("athena", endpoint_url=aws)
    assert client.meta.region_name == "eu-west-1"
    assert client.get_work_group(WorkGroup="by_profile")["WorkGroup"]["Name"] == "by_profile"
    queries = client.list_named_queries(WorkGroup="by_profile")["NamedQueryIds"]
    assert len(queries) == len(VIEWS)


def test_model_hands_profile_and_region_to_dbt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[list[str], Mapping[str, str]]] = []
    monkeypatch.setattr(
        "clickstream_dagster.resources.athena.invoke_dbt",
        lambda arguments, target, environment, place: runs.append((arguments, environment)),
    )
    arguments = ["--project-id", "shop", "--data", "s3://b/models/", "--scratch", str(tmp_path)]
    where = ["--profile", "analysts", "--region", "eu-west-1"]
    result = CliRunner().invoke(app, ["athena", "model", *arguments, *where])
    assert result.exit_code == 0, result.output
    ((ran, environment),) = runs
    assert ran[0] == "build"
    assert (environment["AWS_PROFILE"], environment["AWS_REGION"]) == ("analysts", "eu-west-1")
