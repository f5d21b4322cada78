"""The lake's schema as Dagster shows it."""

import dagster as dg

from clickstream_dagster.processing import schema


def table_schema(table: str) -> dg.TableSchema:
    """Give the columns of `ods_event` or `bad_event` with their types and descriptions."""
    fields = {"ods_event": schema.ODS_EVENT, "bad_event": schema.BAD_EVENT}[table]
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=field.name,
                type=str(field.type),
                description=(field.metadata or {}).get(b"doc", b"").decode(),
            )
            for field in fields
        ]
    )
