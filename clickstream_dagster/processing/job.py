"""One batch, end to end: raw objects to committed snapshots of `ods_event` and `bad_event`.

Two passes over tasks of the engine with a small plan between them, then one commit a table.
Nothing is visible before a commit; a run of the same batch replaces what an earlier one committed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from py4j.protocol import Py4JError
from pyspark import cloudpickle
from pyspark.errors import PySparkException

from clickstream_dagster.batches.objects import RawObject
from clickstream_dagster.errors import ClickstreamError, LakeError, PluginError
from clickstream_dagster.processing.attempt import Attempt
from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.lake import TABLES, Lake
from clickstream_dagster.processing.merge_pass import merge_and_commit
from clickstream_dagster.processing.plugins import (
    ENRICHMENTS,
    TRANSFORMERS,
    ArrowPlugin,
    Plugin,
    PluginContext,
    load_plugin,
    one_line,
)
from clickstream_dagster.processing.settings import BatchSettings
from clickstream_dagster.processing.stage_pass import Progress, stage
from clickstream_dagster.processing.task_errors import task_error

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def process_batch(
    spark: "SparkSession",
    settings: BatchSettings,
    objects: Sequence[RawObject],
    progress: Progress | None = None,
) -> BatchCounters:
    """Process raw objects as one batch and commit them to the lake.

    Without objects, the result is an empty batch, and what an earlier attempt wrote is removed.
    Raises ClickstreamError; whatever it was, the lake is as before and the batch can be run again.
    """
    tell = progress or (lambda message: None)
    steps = load_steps(settings)
    lake = Lake(settings.sink, settings.project_id, settings.s3)
    with clear_errors(settings, steps), Attempt(lake, settings.batch) as attempt:
        # What is wrong with them is told before the events are read.
        for name in TABLES:
            lake.table(name)
        staged = stage(spark, steps, settings, objects, lake.storage, attempt.directory, tell)
        return merge_and_commit(spark, settings, lake, attempt, staged, tell)


def load_steps(settings: BatchSettings) -> list[Plugin]:
    """Give the transformer and the enrichments, checked. Raises PluginError."""
    context = PluginContext(
        settings.project_id,
        settings.app_ids,
        settings.geo_database,
        settings.root,
        settings.correct_clocks,
    )
    steps = [
        load_plugin(settings.transformer, TRANSFORMERS, context),
        *(load_plugin(name, ENRICHMENTS, context) for name in settings.enrichments),
    ]
    for step in steps:
        try:
            step.check()
        except ClickstreamError:
            raise
        except Exception as error:
            raise PluginError(f"plug-in {step.name} failed: {one_line(error)}") from error
        if isinstance(step, ArrowPlugin):
            _require_picklable(step)
    return steps


def _require_picklable(step: ArrowPlugin) -> None:
    try:
        cloudpickle.dumps(step)
    except Exception as error:
        raise PluginError(
            f"plug-in {step.name} can't be sent to tasks: {one_line(error)}; make what can't be"
            " pickled (a lock, an open file, a connection) in apply, not in __init__"
        ) from error


@contextmanager
def clear_errors(settings: BatchSettings, steps: Sequence[Plugin]) -> Iterator[None]:
    """Turn what tasks and storage raise into a ClickstreamError that says what to do."""
    try:
        yield
    except OSError as error:
        raise LakeError(
            f"the batch {settings.batch} could not be written to {settings.sink}: {error}; mend"
            " that and run the batch again: it ends as if nothing had happened"
        ) from error
    except (PySparkException, Py4JError) as error:  # a JVM tells of lost executors by the latter
        unwatched = [step.name for step in steps if not isinstance(step, ArrowPlugin)]
        raise task_error(settings.batch, error, unwatched) from error
