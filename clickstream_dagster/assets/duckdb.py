"""The models of a project in a DuckDB file."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from clickstream_dagster.assets.manifest import TARGET
from clickstream_dagster.assets.models import ModelPlace, TableMetadata
from clickstream_dagster.assets.project import Project

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from clickstream_dagster.resources.dbt import Warehouse

MOST_ROWS_READ = 500_000
"""Rows that DuckDB may read to count those of one relation: under a second on two cores."""


def duckdb_warehouse(project: Project) -> "Warehouse":
    """Give the project's DuckDB file."""
    from clickstream_dagster.resources.dbt import Warehouse

    return Warehouse(
        project.lake, project.project_id, Path(project.warehouse), project.s3, project.definitions
    )


def duckdb_place(project: Project) -> ModelPlace:
    """Give the project's models in DuckDB."""
    warehouse = duckdb_warehouse(project)

    def environment() -> dict[str, str]:
        require_writable(warehouse.file)
        return warehouse.environment()

    return ModelPlace(
        warehouse,
        TARGET,
        source=project.key("ods_event"),
        state=Path(project.dbt_state),
        pool=duckdb_pool(project.warehouse),
        environment=environment,
        tables=lambda: table_metadata(warehouse),
    )


def table_metadata(warehouse: "Warehouse") -> TableMetadata:
    """Give rows and columns of each relation of the project, read from the DuckDB file.

    A view whose rows are too dear to count has no row count. One read-only connection after dbt
    has let go of the file; dagster-dbt's own row counts and columns cost a connection for each
    model, and read all of it.
    """
    import duckdb

    schema = warehouse.project_id
    with duckdb.connect(str(warehouse.file), read_only=True) as connection:
        columns: dict[str, list[dg.TableColumn]] = {}
        for table, column, type_ in connection.execute(
            "select table_name, column_name, data_type from duckdb_columns()"
            " where schema_name = ? order by table_name, column_index",
            [schema],
        ).fetchall():
            columns.setdefault(table, []).append(dg.TableColumn(column, type_))
        rows = row_counts(connection, schema)
        return {
            table: {
                **({"dagster/row_count": rows[table]} if table in rows else {}),
                "dagster/column_schema": dg.TableSchema(found),
            }
            for table, found in columns.items()
        }


def row_counts(connection: "DuckDBPyConnection", schema: str) -> dict[str, int]:
    """Count the rows of the tables of a schema, and of the views that little is read for.

    For a table DuckDB reads no column, and after that it knows the rows of each view that has one
    for each of the table. Views that unnest, join or aggregate are read, and their tables grow for
    years: they are left out when DuckDB would read more than MOST_ROWS_READ.
    """
    found: dict[str, int] = {}
    for relation, is_view in connection.execute(
        "select table_name, false from duckdb_tables() where schema_name = $1 union all"
        " select view_name, true from duckdb_views() where schema_name = $1 order by 2, 1",
        [schema],
    ).fetchall():
        query = f'select count(*) from "{schema}"."{relation}"'
        if is_view:
            ((_, plan),) = connection.execute(f"explain (format json) {query}").fetchall()
            if sum(map(_rows_read, json.loads(plan))) > MOST_ROWS_READ:
                continue
        ((found[relation],),) = connection.execute(query).fetchall()
    return found


def _rows_read(step: Mapping[str, Any]) -> int:
    """Give the rows that the scans below a step of a plan read, as DuckDB estimates them."""
    if step["children"]:
        return sum(map(_rows_read, step["children"]))
    return int(step["extra_info"].get("Estimated Cardinality", 0))


def duckdb_pool(file: str) -> str:
    """Give the pool of a DuckDB file: DuckDB lets one process write at a time."""
    return f"duckdb_{hashlib.sha256(os.path.abspath(file).encode()).hexdigest()[:8]}"


def require_writable(file: Path) -> None:
    """Raise a failure that names the DuckDB file if another process has it open."""
    from dbt_common.exceptions import DbtRuntimeError

    from clickstream_dagster.resources.lake_views import check_unlocked

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        check_unlocked(str(file))
    except (OSError, DbtRuntimeError) as error:
        raise dg.Failure(description=str(error)) from error
