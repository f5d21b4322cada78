"""The asset graph, as a reviewer should see it change; and what loading it costs."""

import json
import os
import subprocess
import sys

import dagster as dg

from clickstream_dagster.demo import run as demo_module
from clickstream_dagster.resources.dbt import dbt_project_dir

MOST_SECONDS = 2.0  # of the processor, beyond the imports of Dagster and dagster-dbt

LOAD = """
import json, sys, time
import dagster, dagster_dbt
started = []
sys.addaudithook(
    lambda name, args: started.append(str(args[0])[:200])
    if name in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "os.system") else None
)
begin = time.process_time()
from clickstream_dagster.definitions import defs
found = defs().get_repository_def()
seconds = time.process_time() - begin
print(json.dumps({"seconds": seconds, "started": started, "jobs": found.job_names}))
"""


def test_the_graph_of_the_demo(demo, snapshot):
    specs = demo_module.demo_definitions().resolve_all_asset_specs()
    graph = {
        spec.key.to_user_string(): {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "owners": sorted(spec.owners),
        }
        for spec in specs
    }
    assert dict(sorted(graph.items())) == snapshot


def test_every_asset_is_described(demo):
    specs = demo_module.demo_definitions().resolve_all_asset_specs()
    assert [spec.key for spec in specs if not spec.description] == []


def test_a_check_that_is_a_query_of_its_own_is_described(demo):
    graph = demo_module.demo_definitions().resolve_asset_graph()
    checks = {key.name: graph.get_check_spec(key) for key in graph.asset_check_keys}
    queries = {file.stem for file in (dbt_project_dir() / "tests").glob("*.sql")} & checks.keys()
    assert len(queries) == 8
    assert [name for name in sorted(queries) if not checks[name].description] == []


def test_all_assets_of_the_pipeline_share_partitions_and_run_in_one_range(demo):
    graph = demo_module.demo_definitions().resolve_asset_graph()
    keys = demo_module.demo_job().asset_layer.executable_asset_keys
    nodes = [graph.get(key) for key in keys]
    assert graph.materializable_asset_keys - set(keys) == {
        dg.AssetKey(["demo", "lake_maintenance"])
    }
    assert len(nodes) == 38
    assert len({node.partitions_def for node in nodes}) == 1
    assert {node.backfill_policy for node in nodes} == {dg.BackfillPolicy.single_run()}


def test_each_lake_and_each_duckdb_file_has_one_writer(demo):
    job = demo_module.demo_job()
    pools = {node.name: node.definition.pool for node in job.nodes}
    assert pools["demo__raw_batch"] == pools["demo_lake_events"] == "demo_lake"
    assert pools["demo_duckdb_models"].startswith("duckdb_")


def test_loading_the_definitions_is_quick_and_starts_no_process(demo):
    # The first load may have to compile Python files, and others use the caches: the best counts.
    answers = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", LOAD],
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.splitlines()[-1]
        )
        for _ in range(3)
    ]
    assert answers[0]["started"] == []
    assert "demo_pipeline" in answers[0]["jobs"]
    assert min(answer["seconds"] for answer in answers) < MOST_SECONDS
