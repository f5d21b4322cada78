"""Dagster's instance on ECS: Dagster reads it, and the stack's tasks give it what it asks for."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.templates.one import one_of
from tests.infra.templates.policy import text_of, walk
from tests.infra.templates.written import written

FOLDER = Path(__file__).parents[3] / "infra" / "orchestration"
DAGSTER = (FOLDER / "dagster.yaml").read_text()
DAGSTER_COMMAND = Path(sys.executable).with_name("dagster")
WORKSPACE = FOLDER / "workspace.yaml"

ENVIRONMENT = {
    "DAGSTER_POSTGRES_HOST": "db.internal",
    "DAGSTER_POSTGRES_USER": "dagster",
    "DAGSTER_POSTGRES_PASSWORD": "p@ss word/1",
    "CLICKSTREAM_LOGS_BUCKET": "logs",
    "CLICKSTREAM_LOGS_PREFIX": "dagster",
    "CLICKSTREAM_RUN_TASK_DEFINITION": "run",
    "CLICKSTREAM_CODE_HOST": "code.shop.clickstream.internal",
}


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: str) -> Iterator[Any]:
    """Give the instance as Dagster reads it from its home."""
    from dagster._core.instance.ref import InstanceRef

    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    shutil.copy(FOLDER / "dagster.yaml", tmp_path)
    return InstanceRef.from_dir(str(tmp_path))


def asked_for(*files: str) -> set[str]:
    """Give the variables that files of Dagster take from the environment."""
    return {
        one["env"]
        for text in files
        for one in walk(yaml.safe_load(text))
        if isinstance(one, dict) and set(one) == {"env"}
    }


def containers() -> dict[str, dict[str, Any]]:
    """Give the containers of Dagster's stack by their names."""
    return {
        container["Name"]: container
        for resource in written("orchestration.yaml")["Resources"].values()
        if resource["Type"] == "AWS::ECS::TaskDefinition"
        for container in resource["Properties"]["ContainerDefinitions"]
    }


def given(container: dict[str, Any]) -> set[str]:
    """Give the variables that a container has."""
    return {one["Name"] for key in ("Environment", "Secrets") for one in container.get(key, [])}


def test_storage_is_postgresql_by_tls_whose_server_proves_itself(reference: Any) -> None:
    from dagster._config import process_config
    from dagster._config.field import resolve_to_config_type
    from dagster_postgres import DagsterPostgresStorage
    from dagster_postgres.utils import pg_url_from_config
    from sqlalchemy import create_engine

    data = reference.storage_data
    assert (data.module_name, data.class_name) == ("dagster_postgres", "DagsterPostgresStorage")
    schema = resolve_to_config_type(DagsterPostgresStorage.config_type())
    read = process_config(schema, yaml.safe_load(data.config_yaml))
    assert read.success, read.errors
    engine = create_engine(pg_url_from_config(read.value))  # fails for a driver that is missing
    assert engine.dialect.driver == "psycopg2"
    url = engine.url
    assert (url.host, url.database, url.username) == ("db.internal", "dagster", "dagster")
    assert url.password == ENVIRONMENT["DAGSTER_POSTGRES_PASSWORD"]
    assert url.query["sslmode"] == "verify-full"
    assert url.query["sslrootcert"] in (FOLDER / "Containerfile").read_text()


def test_output_of_steps_goes_to_the_bucket(reference: Any) -> None:
    from dagster._core.storage.compute_log_manager import ComputeIOType

    manager = reference.compute_logs_data.rehydrate(as_type=object)
    assert type(manager).__name__ == "S3ComputeLogManager"
    assert manager._s3_bucket == "logs"
    assert manager._s3_key(["run", "step"], ComputeIOType.STDERR).startswith("dagster/")


def test_a_run_is_a_task_of_the_stacks_own_definition(
    reference: Any, make: Callable[..., Any], vpc: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make("orchestration", **vpc, Image="clickstream", LogsBucket="logs")
    assert one.apply() == "created"
    definition = one.physical_ids()["RunTask"]
    monkeypatch.setenv("CLICKSTREAM_RUN_TASK_DEFINITION", definition)
    launcher = reference.run_launcher_data.rehydrate(as_type=object)
    assert type(launcher).__name__ == "EcsRunLauncher"
    assert launcher.task_definition == definition
    assert launcher.secrets_tags == []


def test_runs_of_one_lake_wait_for_each_other(reference: Any) -> None:
    concurrency = yaml.safe_load(DAGSTER)["concurrency"]
    assert concurrency["pools"] == {"default_limit": 1, "granularity": "op"}
    assert reference.settings["concurrency"] == concurrency
    assert reference.settings["telemetry"] == {"enabled": False}


def test_the_workspace_is_the_code_service(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._core.workspace.load import location_origins_from_yaml_paths

    monkeypatch.setenv("CLICKSTREAM_CODE_HOST", ENVIRONMENT["CLICKSTREAM_CODE_HOST"])
    (origin,) = location_origins_from_yaml_paths([str(WORKSPACE)])
    assert (origin.host, origin.port) == ("code.shop.clickstream.internal", 4000)
    (service,) = one_of("orchestration", ProjectId="shop").resources(
        "AWS::ServiceDiscovery::PrivateDnsNamespace"
    ).values()  # fmt: skip
    assert f"code.{service['Name']}" == origin.host
    assert containers()["code"]["Command"][-2:] == ["--port", "4000"]


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (("webserver", "daemon"), (DAGSTER, WORKSPACE.read_text())),
        # The launcher is read where runs are started only.
        (("code", "run"), (DAGSTER.partition("run_launcher:")[0],)),
    ],
)
def test_tasks_have_the_variables_that_the_instance_asks_for(
    names: tuple[str, ...], files: tuple[str, ...]
) -> None:
    for name in names:
        assert asked_for(*files) <= given(containers()[name]), name


def test_no_variable_is_given_for_nothing() -> None:
    wanted = asked_for(DAGSTER, WORKSPACE.read_text()) | {"AWS_REGION"}
    assert wanted - {"AWS_REGION"} == ENVIRONMENT.keys()
    for name, container in containers().items():
        assert given(container) <= wanted, name


def test_tasks_mount_what_the_image_lets_them_write() -> None:
    text = (FOLDER / "Containerfile").read_text()
    volumes = set(json.loads(re.search(r"^VOLUME (.+)$", text, re.MULTILINE)[1]))
    for name, container in containers().items():
        if name != "bastion":
            mounts = {one["ContainerPath"] for one in container["MountPoints"]}
            assert mounts == volumes, name
    places = re.findall(r"(?:HOME|TMPDIR)=(\S+)", text.replace("DAGSTER_HOME", ""))
    assert places == ["/scratch", "/scratch"]
    assert yaml.safe_load(DAGSTER)["local_artifact_storage"]["config"]["base_dir"].startswith(
        "/scratch/"
    )


@pytest.mark.parametrize("name", ["code", "webserver", "daemon"])
def test_the_commands_of_the_tasks_are_dagsters_own(name: str) -> None:
    command = [text_of(part) for part in containers()[name]["Command"]]
    options = [part for part in command if part.startswith("--")]
    words = command[: command.index(options[0])]
    shown = subprocess.run(
        [Path(sys.executable).with_name(words[0]), *words[1:], "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [option for option in options if option not in shown] == []


JOBS = """
import dagster as dg

@dg.op
def works():
    pass

@dg.op
def breaks():
    raise ValueError("it breaks")

@dg.job(executor_def=dg.in_process_executor)
def shop_pipeline():
    works()

@dg.job(executor_def=dg.in_process_executor)
def shop_maintenance():
    breaks()
"""


def lines_that_match(pattern: str, text: str) -> list[str]:
    """Give the lines that a filter of CloudWatch Logs takes: each text, or one of those with ?."""
    quoted = re.findall(r'(\??)"([^"]+)"', pattern)
    assert quoted
    enough = any if quoted[0][0] else all
    return [
        line
        for line in text.splitlines()
        if enough(f" {word} " in f" {line} " for _, word in quoted)
    ]


def test_metrics_count_what_dagster_writes_about_runs(tmp_path: Path) -> None:
    """The filters of the log group find the end of a run in the output of a run's own process."""
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "home").mkdir()
    environment = os.environ | {"DAGSTER_HOME": str(tmp_path / "home")}
    output = {}
    for job in ("shop_pipeline", "shop_maintenance"):
        done = subprocess.run(
            [DAGSTER_COMMAND, "job", "execute", "-f", "jobs.py", "-a", job],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        output[job] = done.stdout + done.stderr
    filters = one_of("orchestration", ProjectId="shop").resources("AWS::Logs::MetricFilter")
    found = {
        (name, job): len(lines_that_match(one["FilterPattern"], text))
        for name, one in filters.items()
        for job, text in output.items()
    }
    assert found == {
        ("FailedRuns", "shop_pipeline"): 0,
        ("FailedRuns", "shop_maintenance"): 1,
        ("BatchRuns", "shop_pipeline"): 1,
        ("BatchRuns", "shop_maintenance"): 0,
    }, output


def test_lost_runs_are_counted_by_the_words_of_the_daemon() -> None:
    """The process of a run that is lost writes nothing more; the daemon ends it and says so."""
    from dagster._daemon.monitoring import run_monitoring

    words = " ".join(Path(run_monitoring.__file__).read_text().replace('"', "").split())
    (pattern,) = [
        one["FilterPattern"]
        for name, one in one_of("orchestration").resources("AWS::Logs::MetricFilter").items()
        if name == "FailedRuns"
    ]
    phrases = re.findall(r'"([^"]+)"', pattern)
    assert [one for one in phrases if one != "RUN_FAILURE" and one not in words] == []
    assert len(phrases) == 3
