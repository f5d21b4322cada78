"""Rows for enrichments: event rows in which only what matters is stated."""

import pyarrow as pa

from clickstream_dagster.processing.events import EVENT
from clickstream_dagster.processing.plugins import ArrowPlugin


def params(**values: object) -> list[dict]:
    """Give event parameters; names stand without their leading underscore."""
    kinds = {str: "string_value", int: "int_value", float: "double_value"}
    return [
        {"key": f"_{name}", "value": {kinds[type(value)]: value}} for name, value in values.items()
    ]


def rows_of(plugin: ArrowPlugin, *rows: dict[str, object]) -> list[dict]:
    """Run the enrichment on rows, in two batches."""
    table = pa.Table.from_pylist(list(rows), schema=EVENT)
    batches = table.to_batches(max_chunksize=max(1, len(rows) // 2))
    given = [row for batch in plugin.apply(iter(batches)) for row in batch.to_pylist()]
    for batch in plugin.apply(iter(batches)):
        assert batch.schema.equals(EVENT)
    return given
