"""The stacks as assets of a project: in the graph, materialised by applying them, checked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from clickstream_dagster.assets.infra import with_infrastructure
from clickstream_dagster.assets.project import Project
from clickstream_dagster.components import ClickstreamProject
from tests.infra import written
from tests.infra.cloudformation_edge import CloudFormationEdge
from tests.infra.small import Small
from tests.infra.test_drift import DRIFTED


@pytest.fixture
def component(small: Small) -> ClickstreamProject:
    return ClickstreamProject.from_attributes_dict(
        attributes={
            "project_id": small.project_id,
            "app_ids": ["web"],
            "start_date": "2026-01-01",
            "end_date": "2026-01-02",
            "raw": "s3://some-raw/raw",
            "lake": "s3://some-lake/lake",
        }
    )


def definitions(component: ClickstreamProject, root: Path) -> dg.Definitions:
    return component.build_defs(_Context(root))  # type: ignore[arg-type]


class _Context:
    """What build_defs takes of a context."""

    def __init__(self, root: Path) -> None:
        self.project_root = root


def graph(defs: dg.Definitions) -> dict[str, list[str]]:
    return {
        spec.key.to_user_string(): sorted(dep.asset_key.to_user_string() for dep in spec.deps)
        for spec in defs.resolve_all_asset_specs()
    }


def test_modules_are_upstream_of_what_needs_them_and_change_nothing_else(
    small: Small, component: ClickstreamProject, tmp_path: Path
) -> None:
    without = definitions(component, tmp_path)
    project = component.project(tmp_path)
    found = with_infrastructure(without, project, small.infrastructure())
    dg.Definitions.validate_loadable(found)
    before, after = graph(without), graph(found)
    name = small.project_id
    storage, arrivals = f"{name}/infra/storage", f"{name}/infra/arrivals"
    assert after.pop(storage) == []
    assert after.pop(arrivals) == [storage]
    raw = f"{name}/raw_batch"
    assert after.pop(raw) == sorted([*before.pop(raw), arrivals, storage])
    assert after == before
    jobs = {job.name: job for job in found.resolve_all_job_defs()}
    pipeline = jobs[f"{name}_pipeline"].asset_layer.executable_asset_keys
    before_jobs = {job.name: job for job in without.resolve_all_job_defs()}
    assert pipeline == before_jobs[f"{name}_pipeline"].asset_layer.executable_asset_keys


@pytest.mark.heavy
def test_the_yaml_alone_puts_its_modules_into_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody is asked
    defs = definitions(written.component(written.QUICKSTART), tmp_path)
    dg.Definitions.validate_loadable(defs)
    found = graph(defs)
    modules = {key for key in found if key.startswith("quickstart/infra/")}
    assert {key.rpartition("/")[2] for key in modules} == {
        *("storage", "sink-kinesis", "ingestion", "processing", "redshift", "athena"),
        "observability",
    }
    upstream = {
        key.removeprefix("quickstart/"): sorted(
            dep.removeprefix("quickstart/infra/") for dep in deps if dep in modules
        )
        for key, deps in found.items()
        if key not in modules and modules & set(deps)
    }
    assert upstream == {
        "raw_batch": ["ingestion", "sink-kinesis", "storage"],
        "ods_event": ["processing"],
        "bad_event": ["processing"],
        "redshift/ods_event": ["redshift"],
        "athena/clickstream_ods_event_view": ["athena"],
    }
    assert "quickstart/infra/storage" in found["quickstart/infra/sink-kinesis"]


def test_a_project_without_infrastructure_has_none_of_it(
    component: ClickstreamProject, tmp_path: Path
) -> None:
    assert component.infrastructure() is None
    assert not [key for key in graph(definitions(component, tmp_path)) if "/infra/" in key]


@pytest.fixture
def run(
    small: Small, component: ClickstreamProject, tmp_path: Path
) -> Callable[..., dg.ExecuteInProcessResult]:
    def run(*modules: str) -> dg.ExecuteInProcessResult:
        project: Project = component.project(tmp_path)
        defs = with_infrastructure(dg.Definitions(), project, small.infrastructure())
        keys = [project.key("infra", module) for module in modules]
        job = dg.define_asset_job("infra", selection=dg.AssetSelection.assets(*keys))
        merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
        return merged.resolve_job_def("infra").execute_in_process(raise_on_error=False)

    return run


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    return {
        event.asset_key.path[-1]: {
            key: value.value for key, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }


def test_materialising_applies_and_tells_the_outputs(
    small: Small, run: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    result = run("storage", "arrivals")
    assert result.success
    told = metadata(result)
    assert told["storage"]["output/DataBucket"] == small.bucket
    assert told["storage"]["outcome"] == "created"
    assert told["arrivals"]["stack"] == small.infrastructure().stack_name("arrivals")
    assert [check.passed for check in result.get_asset_check_evaluations()] == [True, True]
    assert metadata(run("storage"))["storage"]["outcome"] == "unchanged"


def test_a_failure_tells_the_cause(
    run: Callable[..., dg.ExecuteInProcessResult], cloudformation: CloudFormationEdge
) -> None:
    cloudformation.failing = {"Bucket": "it exists already"}
    (failure,) = [
        event
        for event in run("storage").all_node_events
        if event.event_type == dg.DagsterEventType.STEP_FAILURE
        and "infra__storage" in (event.step_key or "")
    ]
    failed = failure.step_failure_data.user_failure_data
    assert "Bucket (AWS::S3::Bucket): it exists already" in failed.description


def test_drift_fails_the_check(
    small: Small,
    run: Callable[..., dg.ExecuteInProcessResult],
    cloudformation: CloudFormationEdge,
) -> None:
    name = small.infrastructure().stack_name("arrivals")
    gone = {**DRIFTED, "LogicalResourceId": "Rule", "StackResourceDriftStatus": "DELETED"}
    cloudformation.drifts[name] = [DRIFTED, {**gone, "PropertyDifferences": []}]
    result = run("storage", "arrivals")
    passed = {
        one.asset_key.path[-1]: (one.passed, one.metadata)
        for one in result.get_asset_check_evaluations()
    }
    assert passed["storage"][0]
    assert not passed["arrivals"][0]
    assert (
        "| Queue | MODIFIED | VisibilityTimeout | 30 | 12 |" in passed["arrivals"][1]["drift"].value
    )
    assert "| Rule | DELETED |  | |  |" in passed["arrivals"][1]["drift"].value
