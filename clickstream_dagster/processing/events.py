"""Rows between the steps of a job: an event on its way to the lake, or a bad record."""

import pyarrow as pa

from clickstream_dagster.processing.schema import BAD_EVENT, ODS_EVENT

_OWN_TO_COMMIT = {"ingest_batch"}

LAKE_COLUMNS = [field for field in ODS_EVENT if field.name not in _OWN_TO_COMMIT]

EVENT = pa.schema(
    [
        *LAKE_COLUMNS,
        pa.field("ip", pa.string()),
        pa.field("user_agent", pa.string()),
        *(
            BAD_EVENT.field(name)
            for name in ("source_object", "source_line", "envelope", "payload")
        ),
        pa.field("bad_reason", pa.string()),
        pa.field("bad_detail", pa.string()),
    ]
)
"""What transformers give and enrichments change.

A row with a `bad_reason` goes to `bad_event` with its `envelope` and `payload`; every other row
is an event, with the sender's address and user agent beside the columns of the lake.
"""


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give the table with the columns of `schema` in order; a missing column becomes nulls."""
    return pa.table(
        [
            table.column(field.name).cast(field.type)
            if field.name in table.column_names
            else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
            for field in schema
        ],
        schema=schema,
    )
