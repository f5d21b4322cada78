"""A Dagster that is up processes what arrives by itself: sensor and schedule under the daemon.

The project is one that a user of the library has: a Dagster project of its own, with one defs.yaml.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from dagster._core.scheduler.instigation import ScheduleInstigatorData

from clickstream_dagster.backfill import Deployment
from clickstream_dagster.batches.windows import hour_folder
from clickstream_dagster.sample.command import generate_files
from clickstream_dagster.sample.plan import TrafficPlan
from tests.served import eventually, served_dagster

pytestmark = pytest.mark.heavy

HOUR = timedelta(hours=1)
SECONDS_TO_RUN = 240
LOCATION = "web.definitions"

FILES = {
    "pyproject.toml": """
        [tool.dg]
        directory_type = "project"
        [tool.dg.project]
        root_module = "web"
        """,
    "web/__init__.py": "",
    "web/defs/__init__.py": "",
    "web/definitions.py": """
        from pathlib import Path
        import dagster as dg

        @dg.definitions
        def defs():
            return dg.Definitions.merge(
                dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
                dg.Definitions(executor=dg.in_process_executor),
            )
        """,
    "web/defs/shop/defs.yaml": """
        type: clickstream_dagster.components.ClickstreamProject
        attributes:
          project_id: shop
          app_ids: [demo_web, demo_mobile]
          start_date: "{start}"
          grace_minutes: 0
          trigger: arrivals
        """,
}
SELECTOR = {"repositoryName": "__repository__", "repositoryLocationName": LOCATION}
STOP_SENSOR = """
mutation Stop($id: String!) { stopSensor(id: $id) { __typename } }
"""
SENSOR = """
query Sensor($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) { ... on Sensor { sensorState { id } } }
}
"""
START_SCHEDULE = """
mutation Start($selector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $selector) { __typename }
}
"""


class Live:
    """A deployment that is up, with the last three full hours as its windows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        self.hours = [self.end - 3 * HOUR, self.end - 2 * HOUR, self.end - HOUR]
        self.partitions = [f"{hour:%Y-%m-%d-%H:00}" for hour in self.hours]
        for name, text in FILES.items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = text.format(start=f"{self.hours[0]:%Y-%m-%dT%H:%M}").splitlines()
            file.write_text("\n".join(line.removeprefix(" " * 8) for line in lines))
        self.home.mkdir()
        shutil.copy(Path(__file__).parents[2] / "dagster.yaml", self.home)
        (root / "data/shop/raw").mkdir(parents=True)
        generate_files(TrafficPlan(events=5_000, days=1, end=self.end), root / "collector")

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DAGSTER_HOME": str(self.home), "PYTHONWARNINGS": "ignore"}

    def collect(self, hour: datetime) -> None:
        """Let the raw files of an hour arrive."""
        folder = hour_folder(round(hour.timestamp() * 1000))
        shutil.copytree(self.root / "collector" / folder, self.root / "data/shop/raw" / folder)

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home))

    def runs(self) -> list[dg.DagsterRun]:
        with self.instance() as instance:
            return instance.get_runs(dg.RunsFilter(job_name="shop_pipeline"))

    def has_run(self, partition: str) -> Callable[[], bool]:
        """Give what tells whether a window's run has succeeded; a failed run fails the test."""

        def succeeded() -> bool:
            found = [run for run in self.runs() if run.tags["dagster/partition"] == partition]
            assert not any(run.status == dg.DagsterRunStatus.FAILURE for run in found)
            return any(run.status == dg.DagsterRunStatus.SUCCESS for run in found)

        return succeeded

    def ticks(self, status: str) -> int:
        """Count the ticks of the sensor that have ended with a status."""
        with self.instance() as instance:
            (state,) = [
                one for one in instance.all_instigator_state() if one.name == "shop_arrivals"
            ]
            ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
        return sum(tick.status.value == status for tick in ticks)

    def events(self) -> int:
        """Count the events that the views show."""
        file = self.root / "data/shop/warehouse.duckdb"
        with duckdb.connect(str(file), read_only=True) as connection:
            query = "select count(*) from shop.clickstream_ods_event_view"
            return connection.execute(query).fetchone()[0]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Live:
    return Live(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def dagster(live: Live) -> Iterator[Deployment]:
    live.collect(live.hours[0])
    executable = Path(sys.executable).with_name("dagster")
    command = [executable, "dev", "-m", LOCATION, "-d", live.root]
    with served_dagster(command, live.environment, live.root) as url:
        yield Deployment(url)


def log_of(live: Live) -> Callable[[], str]:
    return (live.root / "server.log").read_text


def test_the_sensor_runs_each_window_that_files_arrive_for_once(
    live: Live, dagster: Deployment
) -> None:
    first, second, _ = live.partitions
    eventually(live.has_run(first), SECONDS_TO_RUN, log_of(live))
    before = live.events()
    live.collect(live.hours[1])
    eventually(live.has_run(second), SECONDS_TO_RUN, log_of(live))
    assert live.events() > before > 0
    skipped = live.ticks("SKIPPED")
    eventually(lambda: live.ticks("SKIPPED") > skipped, SECONDS_TO_RUN, log_of(live))
    assert sorted(run.tags["dagster/partition"] for run in live.runs()) == [first, second]
    assert {run.tags["dagster/sensor_name"] for run in live.runs()} == {"shop_arrivals"}
    assert live.ticks("FAILURE") == 0


def test_the_schedule_runs_a_window_that_ended_while_nobody_was_up(
    live: Live, dagster: Deployment
) -> None:
    sensor = {**SELECTOR, "sensorName": "shop_arrivals"}
    state = dagster.ask(SENSOR, selector=sensor)["sensorOrError"]["sensorState"]
    dagster.ask(STOP_SENSOR, id=state["id"])
    live.collect(live.hours[2])
    before = live.events()
    schedule = {**SELECTOR, "scheduleName": "shop_interval"}
    dagster.ask(START_SCHEDULE, selector=schedule)
    with live.instance() as instance:
        (started,) = [one for one in instance.all_instigator_state() if one.name == "shop_interval"]
        # As if it had been started before the last window ended, and the daemon stopped then.
        since = (live.end - timedelta(minutes=1)).timestamp()
        data = ScheduleInstigatorData(started.instigator_data.cron_schedule, since)
        instance.update_instigator_state(started.with_data(data))
    third = live.partitions[2]
    eventually(live.has_run(third), SECONDS_TO_RUN, log_of(live))
    runs = [run for run in live.runs() if run.tags["dagster/partition"] == third]
    assert [run.tags["dagster/schedule_name"] for run in runs] == ["shop_interval"]
    assert live.events() > before
