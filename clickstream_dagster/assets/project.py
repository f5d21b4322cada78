"""A project as the assets and their automation see it: plain values, paths resolved."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import dagster as dg

from clickstream_dagster.batches.ledger import Ledger
from clickstream_dagster.batches.objects import Source
from clickstream_dagster.batches.queue import Queue
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.batches.store import open_store
from clickstream_dagster.batches.windows import Window
from clickstream_dagster.checks.quality import Bounds
from clickstream_dagster.processing.maintenance import MaintenanceSettings
from clickstream_dagster.processing.plugins import PluginChoice
from clickstream_dagster.resources.collector import ProjectCollector
from clickstream_dagster.resources.definitions import Definitions
from clickstream_dagster.resources.stack_outputs import StackOutputs

if TYPE_CHECKING:
    from clickstream_dagster.processing.settings import BatchSettings

EMR_SERVERLESS = "emr_serverless"
Trigger = Literal["schedule", "arrivals", "both"]


@dataclass(frozen=True, slots=True)
class Project:
    """One clickstream project. `raw`, `lake` and `warehouse` are absolute paths or s3:// addresses.

    `warehouse` is a DuckDB file; `dbt_state` is the directory of dbt's manifest and runs.
    `partitions` are the windows of the processing interval. `queue_url` is the SQS queue that
    announces raw objects; without it, and without that of `stacks`, the arrival sensor lists them.
    `stacks` are those of the project's infrastructure. `root` is the Dagster
    project's directory, from which relative paths in a plug-in's config start. The lake is
    maintained at the ticks of `maintenance_cron`, in UTC. The models go by `definitions`.
    """

    project_id: str
    app_ids: tuple[str, ...]
    raw: str
    lake: str
    warehouse: str | None
    dbt_state: str | None
    partitions: dg.TimeWindowPartitionsDefinition
    freshness_hours: int
    engine: str
    transformer: PluginChoice
    enrichments: tuple[PluginChoice, ...]
    root: str
    geo_database: str | None
    owners: tuple[str, ...]
    bounds: Bounds
    trigger: Trigger | None
    grace_minutes: int
    collector: ProjectCollector
    s3: S3Access = field(default_factory=S3Access)
    queue_url: str | None = None
    stacks: StackOutputs | None = None
    correct_clocks: bool = True
    maintenance: MaintenanceSettings = field(default_factory=MaintenanceSettings)
    maintenance_cron: str = "0 3 * * *"
    definitions: Definitions = field(default_factory=Definitions)

    def stacks_of(self, block: str) -> StackOutputs | None:
        """Give the stacks if the YAML has a block of `infra`, else None."""
        return self.stacks if self.stacks and block in self.stacks.blocks else None

    @property
    def is_announced(self) -> bool:
        """Whether a queue announces raw objects."""
        return self.queue_url is not None or self.stacks_of("arrivals") is not None

    def queue(self) -> Queue:
        """Give the queue that announces raw objects. Raises StackError if it is not made yet."""
        stacks = self.stacks_of("arrivals")
        if self.queue_url is None and stacks is not None:
            return Queue(stacks.get("arrivals", "QueueUrl"), self.s3)
        return Queue(self.queue_url or "", self.s3)

    def endpoint(self) -> str | None:
        """Give the address that SDKs send to: the YAML's, else that of the infrastructure."""
        if self.collector.endpoint is not None:
            return self.collector.endpoint
        for block in ("ingestion", "serverless_ingestion"):
            stacks = self.stacks_of(block)
            if stacks is not None:
                return stacks.get(block.replace("_", "-"), "Endpoint")
        return None

    def enriches(self, name: str) -> bool:
        """Whether an enrichment of that name is chosen."""
        return any(choice.name == name for choice in self.enrichments)

    def key(self, *path: str) -> dg.AssetKey:
        """Give the key of one of the project's assets."""
        return dg.AssetKey([self.project_id, *path])

    def name(self, suffix: str) -> str:
        """Give the name of something of the project in Dagster: a job, a group, a pool."""
        return f"{self.project_id}_{suffix}"

    @property
    def tags(self) -> dict[str, str]:
        return {"clickstream/project": self.project_id}

    @property
    def backfill_policy(self) -> dg.BackfillPolicy:
        """A range of windows is one run: one engine start, one dbt build."""
        return dg.BackfillPolicy.single_run()

    def window(self, partition_key: str) -> Window:
        """Give the window of a partition."""
        found = self.partitions.time_window_for_partition_key(partition_key)
        return Window(found.start.astimezone(UTC), found.end.astimezone(UTC))

    def partition_key(self, window: Window) -> str:
        """Give the partition of a window."""
        return window.start.strftime(self.partitions.fmt)

    @property
    def local_engine(self) -> str:
        """The engine of what is small and done at once, such as a replay: never a cluster's job."""
        return "sail" if self.engine == EMR_SERVERLESS else self.engine

    def batch_settings(self, batch: str) -> "BatchSettings":
        """Give what a batch of the project is processed with."""
        from clickstream_dagster.processing.settings import BatchSettings

        return BatchSettings(
            project_id=self.project_id,
            app_ids=self.app_ids,
            sink=self.lake,
            batch=batch,
            freshness_hours=self.freshness_hours,
            correct_clocks=self.correct_clocks,
            geo_database=self.geo_database,
            transformer=self.transformer,
            enrichments=self.enrichments,
            root=self.root,
            s3=self.s3,
        )

    def ledger(self) -> Ledger:
        """Open the project's ledger; it lives in the lake's `_ledger` folder."""
        store = open_store(f"{self.lake.rstrip('/')}/_ledger/{self.project_id}", self.s3)
        return Ledger(store, Source(self.raw, self.s3), Calendar(self).window_of)


class Calendar:
    """Finds the window of a time; remembers the windows it has found."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._first_ms = project.partitions.start.timestamp() * 1000
        end = project.partitions.end
        self._end_ms = end.timestamp() * 1000 if end else None
        self._starts: list[int] = []
        self._windows: list[Window] = []

    def window_of(self, time_ms: int) -> Window | None:
        """Give the window that holds a time, None outside the project's start and end."""
        if time_ms < self._first_ms:
            return None
        try:
            window = self.interval_of(time_ms)
        except (OverflowError, ValueError):  # the end of the year 9999: no interval ends behind it
            return None
        if window.start_ms < self._first_ms:  # the start date is not a border of windows
            return None
        if self._end_ms is not None and window.end_ms > self._end_ms:
            return None
        return window

    def interval_of(self, time_ms: int) -> Window:
        """Give the interval that holds a time, whether the project has that window or not."""
        place = bisect_right(self._starts, time_ms)
        if place and time_ms < self._windows[place - 1].end_ms:
            return self._windows[place - 1]
        key = self._project.partitions.get_partition_key_for_timestamp(time_ms / 1000)
        window = self._project.window(key)
        self._starts.insert(place, window.start_ms)
        self._windows.insert(place, window)
        return window

    def back_from(self, window: Window | None) -> Iterator[Window]:
        """Give a window and those before it, to the project's first."""
        while window is not None:
            yield window
            window = self.window_of(window.start_ms - 1)


def last_ended(project: Project, moment: datetime) -> Window | None:
    """Give the interval that has ended last at a moment, None if the project has no such window."""
    calendar = Calendar(project)
    running = calendar.interval_of(round(moment.timestamp() * 1000))
    return calendar.window_of(running.start_ms - 1)
