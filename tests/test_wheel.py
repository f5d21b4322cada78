"""The wheel carries everything: installed elsewhere, it processes and models."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clickstream_dagster.backfill import Deployment
from tests.served import served_dagster

ROOT = Path(__file__).parents[1]
UV = [sys.executable, "-m", "uv"]
OUTSIDE = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("CLICKSTREAM_", "DAGSTER_", "SPARK_", "PYTHON", "VIRTUAL_ENV"))
}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside of the repository; a failure shows its output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=OUTSIDE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of commands of an empty environment with the wheel in it."""
    directory = tmp_path_factory.mktemp("wheel")
    run(*UV, "build", "--wheel", "--quiet", "--out-dir", directory, ROOT, cwd=directory)
    (wheel,) = directory.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", directory / "env", cwd=directory)
    python = directory / "env" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    run(*UV, "pip", "install", "--quiet", "--python", python, "-c", constraints, wheel,
        cwd=directory)  # fmt: skip
    return python.parent


@pytest.mark.heavy
def test_an_installed_wheel_processes_and_models(installed: Path, tmp_path: Path) -> None:
    clickstream = installed / "clickstream"
    project = ("--project-id", "demo")
    apps = ("--app-id", "demo_web", "--app-id", "demo_mobile")
    run(clickstream, "generate", "--out", "raw", "--events", "2000", "--days", "2", cwd=tmp_path)
    output = run(
        clickstream, "process", "--source", "raw", "--sink", "lake", *project, *apps, cwd=tmp_path
    )
    counters = json.loads(output.splitlines()[-1])
    assert counters["written"] > 1_900
    run(clickstream, "model", "--sink", "lake", *project, "--warehouse", "w.duckdb", cwd=tmp_path)
    count = "import duckdb; print(duckdb.connect('w.duckdb', read_only=True).execute("
    count += "'select count(*) from demo.clickstream_ods_event_view').fetchone()[0])"
    assert int(run(installed / "python", "-c", count, cwd=tmp_path)) == counters["written"]


@pytest.mark.heavy
def test_an_installed_wheel_shows_its_component(installed: Path, tmp_path: Path) -> None:
    where = run(
        installed / "python",
        "-c",
        "import clickstream_dagster, clickstream_plugins; print(clickstream_dagster.__file__)",
        cwd=tmp_path,
    )
    assert not where.startswith(str(ROOT))
    listed = run(installed / "dg", "list", "components", "--json", cwd=tmp_path)
    assert "clickstream_dagster.components.ClickstreamProject" in listed


@pytest.mark.heavy
def test_an_installed_wheel_has_the_templates_and_prices_of_infrastructure(
    installed: Path, tmp_path: Path
) -> None:
    look = """
from clickstream_dagster.infra.code import zipped
from clickstream_dagster.infra.module import Module, Part
from clickstream_dagster.infra.prices import price_list
from clickstream_dagster.infra.template import infra_folder, render
rule = Part("listener_rule.yaml", "Web", {"app_id": "web", "priority": 10})
print(*sorted(render(Module("ingestion", "ingestion.yaml", {}, (rule,)))["Resources"]))
print(len(zipped(infra_folder() / "lambda" / "kinesis_to_s3")) > 1_000, price_list()["as_of"])
"""
    resources, code = run(installed / "python", "-c", look, cwd=tmp_path).splitlines()
    assert {"Service", "ListenerRuleWeb"} <= set(resources.split())
    assert code.startswith("True 20")
    assert "plan" in run(installed / "clickstream", "infra", "--help", cwd=tmp_path)
    assert not list(installed.parent.parent.rglob("_infra/**/__pycache__"))


@pytest.mark.heavy
def test_an_installed_wheel_shows_the_project_in_the_ui(installed: Path, tmp_path: Path) -> None:
    with served_dagster([installed / "clickstream", "ui"], OUTSIDE, tmp_path) as url:
        query = "{ assetNodes { assetKey { path } } }"
        nodes = Deployment(url).ask(query)["assetNodes"]
    shown = {"/".join(node["assetKey"]["path"]) for node in nodes}
    assert {"demo/raw_batch", "demo/ods_event", "demo/duckdb/clickstream_session_view"} <= shown
    # What it keeps is in the directory that it was started in.
    assert {path.name for path in tmp_path.iterdir()} == {".dagster_home", "data", "server.log"}


@pytest.mark.heavy
def test_the_commands_of_the_plugin_guide_run_from_an_empty_directory(
    installed: Path, tmp_path: Path
) -> None:
    run(*UV, "pip", "install", "--quiet", "--python", installed / "python", "pip", cwd=tmp_path)
    guide = (ROOT / "docs" / "plugins.md").read_text()
    commands = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)
    assert len(commands) > 5
    script = "\n".join([f'export PATH="{installed}:$PATH"', "set -eux", *commands])
    output = run("bash", "-c", script, cwd=tmp_path)
    assert "enrichment   page_section:" in output
    assert "('shop', " in output
