"""The sensor that watches collectors' logs, and the YAML that says where they are."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from clickstream_dagster.assets.project import Project
from clickstream_dagster.automation.collector_log import collector_sensor
from clickstream_dagster.components import ClickstreamProject
from clickstream_dagster.resources.collector import CollectorError
from tests.collector.running import running_collector
from tests.served import eventually, free_port

EVENTS = b'[{"event_id": "e1"}]'


def project(**collector) -> ClickstreamProject:
    attributes = {
        "project_id": "shop",
        "app_ids": ["shop_web"],
        "start_date": "2026-01-01",
        "warehouses": [],
        "collector": collector,
    }
    return ClickstreamProject.from_attributes_dict(attributes=attributes)


def tick(component: ClickstreamProject, root: Path) -> dg.SkipReason:
    return evaluated(component.project(root))


def evaluated(project: Project) -> dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        return collector_sensor(project)(dg.build_sensor_context(instance))


def test_the_sensor_fails_when_the_log_does_not_get_to_the_sink(tmp_path) -> None:
    with running_collector(tmp_path, "--segment-seconds", "1") as it:
        it.sink.rmdir()
        it.sink.write_text("no directory")
        address = f"http://127.0.0.1:{it.metrics_port}/metrics"
        component = project(metrics=[address])
        assert "0 segments wait" in tick(component, tmp_path).skip_message

        it.send(EVENTS)
        eventually(lambda: "1 segments" in tick(component, tmp_path).skip_message, 20)
        found = component.project(tmp_path)
        impatient = replace(found, collector=replace(found.collector, max_wait_seconds=0))

        with pytest.raises(CollectorError, match=r"the oldest of 1 segments has waited"):
            eventually(lambda: evaluated(impatient) is None, 20)


def test_the_sensor_fails_when_a_collector_does_not_answer(tmp_path) -> None:
    component = project(metrics=[f"http://127.0.0.1:{free_port()}/metrics"])

    with pytest.raises(CollectorError, match="does not answer"):
        tick(component, tmp_path)


@pytest.mark.parametrize("metrics", [[], ["http://localhost:9464/metrics"]])
def test_a_project_has_the_sensor_where_collectors_are_watched(metrics: list[str]) -> None:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=ClickstreamProject,
            defs_path="shop",
            scaffold_params={"app_id": "shop_web"},
        )
        text = (folder / "defs.yaml").read_text()
        more = f"  warehouses: []\n  collector:\n    metrics: {metrics}\n"
        (folder / "defs.yaml").write_text(text + more)
        with sandbox.load_component_and_build_defs(defs_path=folder) as (_, defs):
            names = {sensor.name for sensor in defs.sensors}

    assert ("shop_collector" in names) == bool(metrics)


@pytest.mark.parametrize(
    ("collector", "told"),
    [
        ({"origins": ["www.example.com"]}, "write https://www.example.com"),
        ({"endpoint": "events.example.com"}, "write http://host:port"),
        ({"metrics": ["localhost:9464"]}, "write http://host:port"),
        ({"max_wait_minutes": 0}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_told(tmp_path, collector, told: str) -> None:
    with pytest.raises(Exception, match=told):
        project(**collector)
