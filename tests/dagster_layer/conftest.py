"""A deployment of its own: the project `demo` on small traffic, in a temporary directory."""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from rich.console import Console

from clickstream_dagster.assets.project import Project
from clickstream_dagster.components import ClickstreamProject


@pytest.fixture
def component() -> Callable[..., ClickstreamProject]:
    """Make a component from attributes as a defs.yaml has them, over a minimum that is valid."""

    def make(**attributes: Any) -> ClickstreamProject:
        minimum = {"project_id": "shop", "app_ids": ["shop_web"], "start_date": "2026-01-01"}
        return ClickstreamProject.from_attributes_dict(attributes={**minimum, **attributes})

    return make


@pytest.fixture
def project(component, tmp_path) -> Callable[..., Project]:
    """Make a project in a temporary directory; its windows are hours unless told otherwise."""

    def make(**attributes: Any) -> Project:
        (tmp_path / "raw").mkdir(exist_ok=True)
        places = {"raw": str(tmp_path / "raw"), "lake": str(tmp_path / "lake")}
        return component(**places, warehouses=[], **attributes).project(tmp_path)

    return make


@dataclass
class Demo:
    """The deployment after one `clickstream demo`: its directory and what was printed."""

    root: Path
    printed: str

    @property
    def data(self) -> Path:
        return self.root / "data" / "demo"

    def run(self) -> str:
        """Run the demo again and give what it prints."""
        from clickstream_dagster.demo.run import run_demo

        console = Console(file=io.StringIO(), width=120)
        run_demo(console, small_traffic())
        return console.file.getvalue()

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.get()

    def pipeline(self, *partitions: str) -> dg.JobExecutionResult:
        """Run the job over the windows from the first to the last of `partitions`."""
        from clickstream_dagster.demo.run import demo_job

        with self.instance() as instance:
            return demo_job().execute_in_process(
                instance=instance,
                tags={
                    "dagster/asset_partition_range_start": partitions[0],
                    "dagster/asset_partition_range_end": partitions[-1],
                },
                raise_on_error=False,
            )


def small_traffic():
    from clickstream_dagster.sample.plan import TrafficPlan

    return TrafficPlan(events=3_000, days=7, seed=3)


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Iterator[Demo]:
    from clickstream_dagster.demo import run as demo_module

    root = tmp_path_factory.mktemp("deployment")
    before = {name: os.environ.get(name) for name in ("CLICKSTREAM_ROOT", "DAGSTER_HOME")}
    os.environ["CLICKSTREAM_ROOT"] = str(root)
    os.environ["DAGSTER_HOME"] = str(root / ".dagster_home")
    demo_module.demo_definitions.cache_clear()
    try:
        found = Demo(root, "")
        found.printed = found.run()
        yield found
    finally:
        demo_module.demo_definitions.cache_clear()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
