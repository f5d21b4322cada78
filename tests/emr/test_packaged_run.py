"""A window of Dagster runs from the packaged archive on a JVM Spark, started as EMR starts it."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import dagster as dg
import pyspark
import pytest
import yaml
from typer.testing import CliRunner

from clickstream_dagster.assets.events import lake_events
from clickstream_dagster.assets.project import Project
from clickstream_dagster.assets.raw import raw_batch
from clickstream_dagster.cli import app
from clickstream_dagster.components import ClickstreamProject
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.resources.spark import SparkEngine
from tests.emr.conftest import glibc
from tests.emr_edge import ROLE, Emr, JobRun, emr_application
from tests.processing.conftest import city_database  # noqa: F401
from tests.processing.records_input import event, plain, record, write_object
from tests.processing.test_job import mixed_records

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(shutil.which("java") is None, reason="no Java runtime"),
]

WINDOW = "2026-01-01-00:00"
SPARK_3 = "pyspark==3.5.8"
OUTSIDE = ("PATH", "HOME", "JAVA_HOME")

DEFS = """\
type: clickstream_dagster.components.ClickstreamProject
attributes:
  project_id: shop
  app_ids: [shop]
  start_date: "2026-01-01"
  raw: {raw}
  lake: {lake}
  warehouses: []
  geo_database: {geo}
  enrichments:
    - ua
    - ip
    - name: loyalty_plugin:Loyalty
      config: {{tiers: rules/tiers.yaml}}
  engine: emr_serverless
  emr_serverless:
    application_id: {application}
    execution_role_arn: {role}
    artifacts: {artifacts}
    files: [rules]
"""

PLUGIN = '''\
"""An enrichment of a project's own: a module beside no package, which reads a file."""

from clickstream_dagster.processing.distinct import map_distinct
from clickstream_dagster.processing.plugins import ArrowPlugin, PluginConfig, read_mapping


class Config(PluginConfig):
    tiers: str


class Loyalty(ArrowPlugin):
    """Writes the tier of a platform in its place."""

    config_class = Config

    def apply(self, batches):
        tiers = read_mapping(self.context.path(self.config.tiers), "tiers")
        for batch in batches:
            place = batch.schema.get_field_index("platform")
            column = map_distinct(batch.column(place), lambda one: tiers.get(one, one))
            yield batch.set_column(place, batch.schema.field(place), column)
'''


class EmrWorkers:
    """Starts a job run as EMR does: archive unpacked, a clean environment, Spark beside it."""

    def __init__(self, spark_home: Path, endpoint: str, directory: Path) -> None:
        self.spark_home = spark_home
        self.endpoint = endpoint
        self.directory = directory
        self.output = ""

    def play(self, job_run: JobRun) -> str:
        work = self.directory / job_run.id
        work.mkdir()
        archive, _, folder = job_run.settings["spark.archives"].partition("#")
        with tarfile.open(_download(archive, work)) as packed:
            packed.extractall(work / folder, filter="tar")
        entry_point = _download(job_run.spark_submit["entryPoint"], work)
        environment = {
            **{name: os.environ[name] for name in OUTSIDE if name in os.environ},
            **job_run.environment,
            "SPARK_HOME": str(self.spark_home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "job",
            "AWS_SECRET_ACCESS_KEY": "job",
        }
        # Executors of a local master have the driver's environment; sizes are of real workers.
        settings = [
            f"--conf={key}={value}"
            for key, value in job_run.settings.items()
            if key.startswith(("spark.executorEnv.", "spark.default."))
        ]
        done = subprocess.run(
            ["bash", self.spark_home / "bin" / "spark-submit", "--master", "local[2]",
             "--conf=spark.ui.enabled=false", *settings, entry_point.name],
            cwd=work, env=environment, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        self.output += done.stdout + done.stderr
        return "SUCCESS" if done.returncode == 0 else "FAILED"


def _download(uri: str, folder: Path) -> Path:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    path = folder / key.rpartition("/")[2]
    boto3.client("s3").download_file(bucket, key, str(path))
    return path


@pytest.fixture(scope="module")
def emr(aws) -> Iterator[Emr]:
    with emr_application() as application:
        yield application


@pytest.fixture(scope="module")
def root(
    tmp_path_factory,
    emr,
    make_bucket,
    standalone_python,
    city_database,  # noqa: F811
) -> Iterator[Path]:
    """A Dagster project with a packaged component, and raw objects of one window."""
    root = tmp_path_factory.mktemp("dagster")
    bucket = make_bucket()
    (root / "loyalty_plugin.py").write_text(PLUGIN)
    (root / "rules").mkdir()
    (root / "rules" / "tiers.yaml").write_text("Web: Gold\n")
    (root / "defs.yaml").write_text(
        DEFS.format(
            raw=bucket.address("raw"),
            lake=bucket.address("lake"),
            artifacts=bucket.address("emr"),
            geo=city_database,
            application=emr.application_id,
            role=ROLE,
        )
    )
    in_london = record(plain(event("london")), rid="london", ip="81.2.69.160")
    objects = {"a": mixed_records(), "b": [in_london]}
    for name, records in objects.items():
        path = write_object(root / f"{name}.log.gz", records)
        bucket.put(f"raw/year=2026/month=01/day=01/hour=00/{path.name}", path.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        yield root


@pytest.fixture(scope="module")
def packaged(root, standalone_python) -> str:
    """What the command printed when it packaged the project the first time."""
    return package(root, standalone_python)


def package(root: Path, python: Path) -> str:
    arguments = ["package", "emr", str(root), "--root", str(root), "--python", str(python)]
    done = CliRunner().invoke(app, [*arguments, "--glibc", glibc()])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module", params=["4", "3.5"])
def spark_home(request, tmp_path_factory) -> Path:
    """Spark as PyPI has it: this project's, and the one of EMR 7."""
    if request.param == "4":
        return Path(pyspark.__file__).parent
    place = tmp_path_factory.mktemp("spark")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "pip", "install", "-q", "--target", place, SPARK_3], check=True)
    return place / "pyspark"


def component_of(root: Path) -> ClickstreamProject:
    attributes = yaml.safe_load((root / "defs.yaml").read_text())["attributes"]
    return ClickstreamProject.from_attributes_dict(attributes=attributes)


def run(project: Project, engine) -> dg.ExecuteInProcessResult:
    assets = [raw_batch(project), lake_events(project, engine)]
    return dg.materialize(assets, partition_key=WINDOW, raise_on_error=False)


def rows(project: Project) -> list[dict]:
    table = Lake(project.lake, project.project_id, project.s3).table("ods_event").scan().to_arrow()
    return sorted(table.to_pylist(), key=lambda row: (row["event_date"], row["event_id"]))


def facts(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    (node,) = (one for one in result.job_def.nodes if one.name.endswith("_lake_events"))
    events = result.asset_materializations_for_node(node.name)
    return {f"{one.asset_key}": {**one.metadata} for one in events} | {
        f"{one.asset_key} {one.check_name}": (one.passed, {**one.metadata})
        for one in result.get_asset_check_evaluations()
    }


def test_the_same_inputs_make_the_same_package(root, packaged, standalone_python) -> None:
    again = package(root, standalone_python).splitlines()
    assert "was there already" in again[0]
    assert again[1:] == packaged.splitlines()[1:]


def test_a_window_on_the_archive_gives_the_table_of_sail(
    root, packaged, emr, spark_home, s3_endpoint, tmp_path, request
) -> None:
    component = component_of(root)
    version = request.node.callspec.params["spark_home"]
    project = component.project(root)
    # The tables of a project have one place in Glue.
    name = f"shop_{version.replace('.', '_')}"
    project = replace(project, project_id=name, lake=f"{project.lake}/{version}")
    workers = EmrWorkers(spark_home, s3_endpoint, tmp_path)
    emr.play = workers.play
    engine = replace(component.spark_engine(), poll_seconds=0.5)
    result = run(project, engine)
    assert result.success, workers.output[-4_000:]

    here = replace(project, lake=str(tmp_path / "lake"))
    on_sail = run(here, SparkEngine(engine="sail"))
    assert on_sail.success
    table = rows(project)
    assert table == rows(here)
    assert len(table) == 7
    assert {row["platform"] for row in table} >= {"Gold"}
    assert "London" in {row["geo"]["city"] for row in table}
    assert facts(result) == facts(on_sail)


def test_an_error_of_the_job_is_the_error_of_the_run(
    root, packaged, emr, spark_home, s3_endpoint, tmp_path
) -> None:
    component = component_of(root)
    project = replace(component.project(root), geo_database="/nowhere/other.mmdb")
    project = replace(project, lake=f"{project.lake}/broken")
    workers = EmrWorkers(spark_home, s3_endpoint, tmp_path)
    emr.play = workers.play
    result = run(project, replace(component.spark_engine(), poll_seconds=0.5))
    assert not result.success
    (failed,) = (one for one in result.all_events if one.is_step_failure)
    told = failed.event_specific_data.user_failure_data.description
    assert told.startswith("the address database environment/project/geo/other.mmdb can't be read")
    assert f"/jobs/{emr.runs[-1].id}/SPARK_DRIVER/" in told
