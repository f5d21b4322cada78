"""The contract of processing plug-ins, and how a reference becomes one.

A job runs exactly one transformer (raw requests to events) and any number of enrichments (events
to events), as in seed 000, "Processing plugin".
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pyarrow as pa

from clickstream_dagster.errors import PluginError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TRANSFORMERS = "clickstream_dagster.transformers"
ENRICHMENTS = "clickstream_dagster.enrichments"


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What a plug-in may know of the job: sent to the executors with it.

    `geo_database` is the path of an MMDB file with cities, or None.
    """

    project_id: str
    app_ids: tuple[str, ...]
    geo_database: str | None = None


class Plugin(ABC):
    """One step of processing on a Spark DataFrame.

    A transformer takes rows of `requests.REQUEST` and gives rows of `events.EVENT`; an
    enrichment takes and gives rows of `events.EVENT`.
    """

    def __init__(self, context: PluginContext) -> None:
        self.context = context

    def check(self) -> None:  # noqa: B027 (a hook that few need)
        """Raise a ClickstreamError when the step can't work with its settings.

        Called once, on the driver, before anything is read.
        """

    @abstractmethod
    def transform(self, data: "DataFrame") -> "DataFrame":
        """Give the changed rows; called once, on the driver."""


class ArrowPlugin(Plugin):
    """A step that works on Arrow record batches in native code; neighbours run as one task."""

    output_schema: pa.Schema

    @abstractmethod
    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give changed batches with `output_schema`; called in every task."""

    def transform(self, data: "DataFrame") -> "DataFrame":
        """Give the changed rows."""
        return data.mapInArrow(self.apply, spark_schema(self.output_schema))


def spark_schema(schema: pa.Schema) -> object:
    """Give the Spark type of rows with an Arrow schema."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)


def load_plugin(reference: str, group: str, context: PluginContext) -> Plugin:
    """Make the plug-in that `reference` names: an entry point of `group`, or `module:Class`.

    Raises PluginError when there is none, or when it is not a plug-in.
    """
    if ":" in reference:
        module_name, _, class_name = reference.partition(":")
        try:
            plugin_class = getattr(import_module(module_name), class_name)
        except (ImportError, AttributeError) as error:
            raise PluginError(
                f"plug-in {reference!r} can't be loaded: {error}; write module:Class of a class"
                " that this Python can import"
            ) from error
    else:
        found = entry_points(group=group)
        if reference not in found.names:
            raise PluginError(
                f"there is no plug-in {reference!r} in {group}; write one of"
                f" {', '.join(sorted(found.names)) or 'none installed'}, or module:Class"
            )
        plugin_class = found[reference].load()
    if not (isinstance(plugin_class, type) and issubclass(plugin_class, Plugin)):
        raise PluginError(
            f"plug-in {reference!r} is not a class derived from"
            " clickstream_dagster.processing.plugins.Plugin"
        )
    return plugin_class(context)
