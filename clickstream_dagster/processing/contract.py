"""Holds plug-ins to their contract: an error names the plug-in, and the column where it can.

Arrow plug-ins are watched batch by batch in their tasks. Of a plug-in on DataFrames the columns
are checked on the driver, its rows as they enter staging.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from clickstream_dagster.errors import ClickstreamError, PluginError, TaskError
from clickstream_dagster.processing.events import EVENT
from clickstream_dagster.processing.plugins import ArrowPlugin, Plugin, one_line, spark_schema
from clickstream_dagster.processing.workers import Apply

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


REQUIRED = (
    "event_id",
    "event_name",
    "app_id",
    "user_pseudo_id",
    "event_timestamp",
    "event_date",
    "ingest_timestamp",
    "request_id",
    "request_position",
)
"""Columns of EVENT that have a value in every row without a bad_reason."""


@dataclass
class _Source:
    """The rows that come into a step; remembers an error that is not the step's own."""

    batches: Iterator[pa.RecordBatch]
    rows: int = 0
    error: BaseException | None = field(default=None)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        try:
            batch = next(self.batches)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise
        self.rows += batch.num_rows
        return batch


def watched(step: ArrowPlugin, *, keeps_rows: bool) -> Apply:
    """Give `step.apply` with its contract checked: schema, required values, rows read and kept.

    The function raises PluginError that names the plug-in; errors of what stands before it and
    ClickstreamErrors of its own pass as they are.
    """

    def apply(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        source = _Source(iter(batches))
        given = 0
        try:
            for batch in step.apply(source):
                batch = checked_batch(batch, step.name)
                given += batch.num_rows
                yield batch
        except ClickstreamError:
            raise
        except (Exception, SystemExit) as error:
            if error is source.error:
                raise
            raise PluginError(f"plug-in {step.name} failed: {one_line(error)}") from error
        if any(batch.num_rows for batch in source):
            raise PluginError(
                f"plug-in {step.name} ended before it had read all of its rows; read batches to"
                " the end"
            )
        if keeps_rows and given != source.rows:
            raise PluginError(
                f"plug-in {step.name} got {source.rows:,} rows and gave {given:,}; an enrichment"
                " keeps every row: set bad_reason where a row must not reach the lake"
            )

    return apply


def watched_by_job(apply: Apply, what: str) -> Apply:
    """Give a function of the job itself, so that its errors are never taken for a plug-in's."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        source = _Source(iter(batches))
        try:
            yield from apply(source)
        except ClickstreamError:
            raise
        except Exception as error:
            if error is source.error:
                raise
            raise TaskError(f"{what} failed: {one_line(error)}") from error

    return run


def checked_batch(batch: pa.RecordBatch, plugin: str) -> pa.RecordBatch:
    """Give the batch with its columns in the order of EVENT. Raises PluginError."""
    if not isinstance(batch, pa.RecordBatch):
        raise PluginError(
            f"plug-in {plugin} gave a {type(batch).__name__}; give pyarrow record batches"
        )
    if not batch.schema.equals(EVENT):
        _compare(
            {column.name: _type_name(column.type) for column in batch.schema},
            {column.name: _type_name(column.type) for column in EVENT},
            plugin,
        )
        # What differs now is the order, or what engines add: nullability, names of list elements.
        batch = batch.select(EVENT.names).cast(EVENT)
    for name in REQUIRED:
        column = batch.column(name)
        if column.null_count:
            lost = pc.and_(column.is_null(), batch.column("bad_reason").is_null())
            rows = pc.sum(lost).as_py()
            if rows:
                raise PluginError(
                    f"plug-in {plugin} left the column {name} without a value in {rows:,} of"
                    f" {batch.num_rows:,} rows; fill it, or set bad_reason in these rows"
                )
    return batch


def checked_rows(plugins: Sequence[str]) -> Apply:
    """Give a function that checks the rows that plug-ins on DataFrames have made."""

    def check(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield checked_batch(batch, " or ".join(plugins))

    return check


def checked_transform(step: Plugin, data: "DataFrame") -> "DataFrame":
    """Give `step.transform(data)` with the columns of EVENT in order. Raises PluginError."""
    from pyspark.errors import PySparkException

    try:
        changed = step.transform(data)
        # The engine looks at the plan here: a column that is not there is found before it runs.
        columns = changed.schema
    except ClickstreamError:
        raise
    except PySparkException as error:
        first = str(error).strip().splitlines()[0]
        raise PluginError(f"plug-in {step.name} failed: {first}") from error
    except AttributeError as error:
        if "changed" in locals():
            raise PluginError(
                f"plug-in {step.name} gave a {type(changed).__name__}; its transform must give a"
                " DataFrame"
            ) from error
        raise PluginError(f"plug-in {step.name} failed: {one_line(error)}") from error
    except Exception as error:
        raise PluginError(f"plug-in {step.name} failed: {one_line(error)}") from error
    expected = spark_schema(EVENT)
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise PluginError(f"plug-in {step.name} gave the column {twice} twice; drop one")
    _compare(
        {column.name: column.dataType.simpleString() for column in columns},
        {column.name: column.dataType.simpleString() for column in expected},
        step.name,
    )
    return changed if names == EVENT.names else changed.select(*EVENT.names)


def _type_name(type_: pa.DataType) -> str:
    """Name a type without nullability and the names of list elements."""
    if pa.types.is_struct(type_):
        return f"struct<{', '.join(f'{one.name}: {_type_name(one.type)}' for one in type_)}>"
    if pa.types.is_list(type_):
        return f"list<{_type_name(type_.value_type)}>"
    return str(type_)


def _compare(given: dict[str, str], expected: dict[str, str], plugin: str) -> None:
    """Raise PluginError with the first column that is missing, changed or too much."""
    for name, type_ in expected.items():
        if name not in given:
            raise PluginError(
                f"plug-in {plugin} dropped the column {name} ({type_}); give it back, with nulls"
                " if there is nothing to say"
            )
        if given[name] != type_:
            raise PluginError(
                f"plug-in {plugin} changed the column {name} from {type_} to {given[name]}; cast"
                f" it to {type_}"
            )
    for name in given:
        if name not in expected:
            raise PluginError(
                f"plug-in {plugin} added the column {name}, which the lake does not have; drop"
                " it, or put its values into event_params (with_param does)"
            )
