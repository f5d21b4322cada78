"""Plug-ins that break their contract, one way each."""

import sys
import threading
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from clickstream_dagster.errors import SettingError
from clickstream_dagster.processing.plugins import (
    ArrowPlugin,
    Plugin,
    PluginConfig,
    PluginContext,
)

Batches = Iterator[pa.RecordBatch]


class Fails(ArrowPlugin):
    """Raises an error of its own."""

    def apply(self, batches: Batches) -> Batches:
        """Give nothing."""
        for _ in batches:
            raise KeyError("tier\nof the customer")
        yield from ()


class FailsEarly(ArrowPlugin):
    """Fails before anything is read."""

    def check(self) -> None:
        """Look for something that is not there."""
        raise KeyError("tiers")

    def apply(self, batches: Batches) -> Batches:
        """Give the events as they are."""
        return batches


class HoldsALock(ArrowPlugin):
    """Keeps what no other process can have."""

    def __init__(self, context: PluginContext, config: PluginConfig | None = None) -> None:
        super().__init__(context, config)
        self.lock = threading.Lock()

    def apply(self, batches: Batches) -> Batches:
        """Give the events as they are."""
        return batches


class Leaves(ArrowPlugin):
    """Ends the process that it runs in."""

    def apply(self, batches: Batches) -> Batches:
        """Give nothing."""
        for _ in batches:
            sys.exit("no tiers today")
        yield from ()


class SaysWhatIsWrong(ArrowPlugin):
    """Raises an error that is for the user already."""

    def apply(self, batches: Batches) -> Batches:
        """Give nothing."""
        for _ in batches:
            raise SettingError("the price list of May is missing")
        yield from ()


class Drops(ArrowPlugin):
    """Forgets a column."""

    def apply(self, batches: Batches) -> Batches:
        """Give the events without their platform."""
        for batch in batches:
            yield batch.drop_columns(["platform"])


class Retypes(ArrowPlugin):
    """Writes numbers where texts stand."""

    def apply(self, batches: Batches) -> Batches:
        """Give the events with another type of platform."""
        for batch in batches:
            place = batch.schema.get_field_index("platform")
            yield batch.set_column(place, "platform", pc.binary_length(batch.column("platform")))


class Adds(ArrowPlugin):
    """Makes up a column."""

    def apply(self, batches: Batches) -> Batches:
        """Give the events with a tier."""
        for batch in batches:
            yield batch.append_column("tier", batch.column("platform"))


class Empties(ArrowPlugin):
    """Takes the app from the events."""

    def apply(self, batches: Batches) -> Batches:
        """Give the events without app."""
        for batch in batches:
            place = batch.schema.get_field_index("app_id")
            yield batch.set_column(place, "app_id", pa.nulls(batch.num_rows, pa.string()))


class Loses(ArrowPlugin):
    """Keeps only the first event of a batch."""

    def apply(self, batches: Batches) -> Batches:
        """Give one event a batch."""
        for batch in batches:
            yield batch.slice(0, 1)


class Stops(ArrowPlugin):
    """Reads the first batch only."""

    def apply(self, batches: Batches) -> Batches:
        """Give the events of one batch."""
        yield next(batches)


class StopsAtOnce(ArrowPlugin):
    """Reads nothing."""

    def apply(self, batches: Batches) -> Batches:
        """Give nothing."""
        return iter(())


class Reorders(ArrowPlugin):
    """Gives the columns in another order, which is no mistake."""

    def apply(self, batches: Batches) -> Batches:
        """Give the events, columns backwards."""
        for batch in batches:
            yield batch.select(batch.schema.names[::-1])


class FrameFails(Plugin):
    """Raises while the plan is made."""

    def transform(self, data: object) -> object:
        """Give nothing."""
        raise ValueError("no such tier")


class FrameAsksForAColumn(Plugin):
    """Reads a column that is not there."""

    def transform(self, data: object) -> object:
        """Give nothing."""
        return data.select("*", data["tier"])


class FrameGivesNothing(Plugin):
    """Forgets to return."""

    def transform(self, data: object) -> object:
        """Give nothing."""


class FrameDrops(Plugin):
    """Forgets a column."""

    def transform(self, data: object) -> object:
        """Give the events without their platform."""
        return data.drop("platform")


class FrameRetypes(Plugin):
    """Casts a column."""

    def transform(self, data: object) -> object:
        """Give the events with another type of a field's column."""
        return data.withColumn("event_timestamp", data["event_timestamp"].cast("string"))


class FrameAdds(Plugin):
    """Makes up a column."""

    def transform(self, data: object) -> object:
        """Give the events with a tier."""
        return data.withColumn("tier", data["platform"])


class FrameEmpties(Plugin):
    """Takes the app from the events."""

    def transform(self, data: object) -> object:
        """Give the events without app."""
        from pyspark.sql import functions as F

        return data.withColumn("app_id", F.lit(None).cast("string"))


class FrameLimits(Plugin):
    """Takes a few rows."""

    def transform(self, data: object) -> object:
        """Give one event."""
        return data.limit(1)


class FrameFailsInTask(Plugin):
    """Fails when the engine comes to the rows."""

    def transform(self, data: object) -> object:
        """Give nothing."""

        def fail(batches: object) -> object:
            raise RuntimeError("no tier for user 7")

        return data.mapInArrow(fail, data.schema)


class TierConfig(PluginConfig):
    """How customers are ranked."""

    tiers: list[str] = Field(min_length=1)
    fallback: str = "none"


class Tier(ArrowPlugin):
    """Writes the first tier into the platform: shows that a config arrives in the tasks."""

    config_class = TierConfig

    def apply(self, batches: Batches) -> Batches:
        """Give the events with a tier as platform."""
        for batch in batches:
            place = batch.schema.get_field_index("platform")
            tiers = pa.repeat(pa.scalar(self.config.tiers[0], pa.string()), batch.num_rows)
            yield batch.set_column(place, "platform", tiers)
