"""`clickstream package emr` tells what it lacks before it builds anything."""

import pytest
from typer.testing import CliRunner

from clickstream_dagster.cli import app

NO_BLOCK = "attributes: {project_id: shop, app_ids: [shop], start_date: '2026-01-01'}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a PROJECT, or --artifacts"),
        (["--artifacts", "s3://b/emr", "--architecture", "sparc"], "write x86_64 or arm64"),
        (["nowhere"], "there is no nowhere: name the project's defs.yaml or its folder"),
        (["defs.yaml"], "has no emr_serverless.artifacts: write it, or --artifacts"),
        (["wrong.yaml"], "wrong.yaml can't be loaded"),
        (
            ["--artifacts", "s3://b/emr", "--python", "."],
            "--python . is no interpreter with its library beside it",
        ),
    ],
)
def test_what_is_missing_is_told(arguments, message, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "defs.yaml").write_text(NO_BLOCK)
    (tmp_path / "wrong.yaml").write_text("attributes: {project_id: Shop}")
    done = CliRunner().invoke(app, ["package", "emr", *arguments])
    assert done.exit_code != 0
    assert message in done.output
    assert "Traceback" not in done.output
