"""`clickstream process` refuses what can't be right before it starts anything."""

import pytest
from typer.testing import CliRunner, Result

from clickstream_dagster.cli import app
from tests.processing.records_input import event, plain, record, write_object


@pytest.fixture(autouse=True)
def raw(tmp_path, monkeypatch):
    """Raw objects in `raw` of the working directory."""
    monkeypatch.chdir(tmp_path)
    write_object(tmp_path / "raw" / "a.log.gz", [record(plain(event("e1")))])


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


def test_an_empty_name_of_a_batch_is_refused(tmp_path) -> None:
    done = process(batch="")
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: the batch's name is empty: write one, or leave it out\n",
    )
