"""The tables of a project in Redshift: its events, its users, and the ledger of loads.

A project has a database, and in it a schema of the same name. Nested columns are SUPER. Text has
the width that the limits of the processing allow (`processing/limits.py`), four bytes a character:
COPY of Parquet fails on a longer one, and never cuts.
"""

from collections.abc import Mapping

import pyarrow as pa

from clickstream_dagster.processing.limits import (
    MAX_EVENT_NAME_CHARACTERS,
    MAX_FIELD_CHARACTERS,
    MAX_ID_CHARACTERS,
)
from clickstream_dagster.processing.schema import ODS_EVENT
from clickstream_dagster.warehouses.redshift.sql import Sql, literal, name

EVENTS = "ods_event"
USERS = "dim_user"
FILES, BATCHES, LOADS = "ods_event_file", "ods_event_batch", "ods_event_load"
GONE, EXPIRY, PLAN = "ods_event_gone", "ods_event_expiry", "ods_event_plan"
USER_LOADS = "dim_user_load"
"""The ledger: files whose rows are in EVENTS; rows of each batch and load; loads; keys of events
that a load took out or replaced, until the models and USERS have taken it in; days that have
expired; what a load is about to do with which files; the last load that USERS has taken in."""

KEY = ("app_id", "event_date", "event_id")
"""What an event is known by."""

_ID = f"varchar({4 * MAX_ID_CHARACTERS})"
_WIDTHS = {
    "app_id": _ID,
    "event_id": _ID,
    "user_pseudo_id": _ID,
    "ingest_batch": _ID,
    "event_name": f"varchar({4 * MAX_EVENT_NAME_CHARACTERS})",
}
_TYPES = {
    pa.string(): f"varchar({4 * MAX_FIELD_CHARACTERS})",
    pa.int64(): "bigint",
    pa.int32(): "integer",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.date32(): "date",
    pa.bool_(): "boolean",
}


def lake_columns() -> dict[str, str]:
    """Give the columns of the lake's files in their order, with their types here."""
    return {
        field.name: "super"
        if pa.types.is_nested(field.type)
        else _WIDTHS.get(field.name, _TYPES[field.type])
        for field in ODS_EVENT
    }


def event_columns() -> dict[str, str]:
    """Give the columns of EVENTS: the lake's, and the load that brought the row."""
    return {**lake_columns(), "load_id": "bigint"}


def user_columns() -> dict[str, str]:
    """Give the columns of USERS: one row for each user that has properties."""
    columns = lake_columns()
    return {
        **{column: columns[column] for column in ("app_id", "user_pseudo_id", "user_id")},
        "user_properties": "super",
        **{column: columns[column] for column in ("event_date", "event_timestamp", "event_id")},
        "known_timestamp": "bigint",
    }


def file_columns() -> dict[str, str]:
    """Give what the ledger has of a file of the lake: its rows are of one app, one day and some
    batches."""
    return {
        "lake_file": "varchar(2048) not null",
        "app_id": _ID,
        "event_date": "date",
        "first_batch": _ID,
        "last_batch": _ID,
        "event_rows": "bigint",
    }


def table(project: str, relation: str) -> str:
    """Give the qualified name of a relation of a project."""
    return f"{name(project)}.{name(relation)}"


def create_table(project: str, relation: str, columns: Mapping[str, str], keys: str) -> str:
    """Give the statement that makes a table; `keys` is how it is distributed and sorted."""
    return f"create table if not exists {table(project, relation)} ({definitions(columns)}) {keys}"


def definitions(columns: Mapping[str, str]) -> str:
    """Give columns as `create table` has them."""
    return ", ".join(f"{name(column)} {type_}" for column, type_ in columns.items())


def create_statements(project: str) -> list[str]:
    """Give the statements that make a project's schema and tables, where they are not there yet.

    Everything behind the events partitions, joins and groups by user, so a user's rows are on one
    slice; queries and the re-opening of keys name days and apps, so blocks are skipped by them.
    """
    batch_columns = {
        "load_id": "bigint not null",
        "ingest_batch": _ID,
        "event_rows": "bigint not null",
    }
    load_columns = {
        "load_id": "bigint not null",
        "files": "bigint not null",
        "event_rows": "bigint not null",
        "gone_files": "bigint not null",
        "loaded_at": "timestamp not null",
    }
    columns = lake_columns()
    ledger = {
        FILES: {"load_id": "bigint not null", **file_columns()},
        PLAN: {"plan": "varchar(32)", "is_gone": "smallint", **file_columns()},
        BATCHES: batch_columns,
        LOADS: load_columns,
        GONE: {"load_id": "bigint not null", **{column: columns[column] for column in KEY}},
        EXPIRY: {"before": "date not null"},
        USER_LOADS: {"load_id": "bigint not null"},
    }
    return [
        f"create schema if not exists {name(project)}",
        create_table(
            project,
            EVENTS,
            event_columns(),
            "diststyle key distkey (user_pseudo_id)"
            " compound sortkey (event_date, app_id, event_timestamp)",
        ),
        create_table(
            project,
            USERS,
            user_columns(),
            "diststyle key distkey (user_pseudo_id) compound sortkey (app_id, user_pseudo_id)",
        ),
        *(
            create_table(project, relation, columns, "diststyle auto")
            for relation, columns in ledger.items()
        ),
    ]


def set_up(sql: Sql, project: str) -> None:
    """Make a project's schema and tables; a table of an earlier version gets its new columns."""
    sql.transaction(create_statements(project))
    for relation, columns in ((EVENTS, event_columns()), (USERS, user_columns())):
        held = {
            str(row[0])
            for row in sql.query(
                "select column_name from information_schema.columns"
                f" where table_schema = '{project}' and table_name = '{relation}'"
            )
        }
        for column, type_ in columns.items():
            if column not in held:
                sql.execute(
                    f"alter table {table(project, relation)} add column {name(column)} {type_}"
                )


def relations(sql: Sql, project: str) -> frozenset[str]:
    """Give the names of the tables and views of a project."""
    rows = sql.query(
        f"select table_name from information_schema.tables where table_schema = {literal(project)}"
    )
    return frozenset(str(row[0]) for row in rows)


def create_database(sql: Sql, project: str) -> None:
    """Make a project's database, where it is not there yet; `sql` is on another one."""
    name(project)
    if not sql.query(f"select 1 from pg_database where datname = '{project}'"):
        sql.execute(f"create database {name(project)}")
