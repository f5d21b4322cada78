"""Rows of a model are counted as long as that does not mean to read the whole history."""

from typing import Any

import duckdb
import pytest

from clickstream_dagster.assets.duckdb import MOST_ROWS_READ, table_metadata
from clickstream_dagster.resources.dbt import Warehouse

ROWS = 4 * MOST_ROWS_READ
GONE = 1_000


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A warehouse whose tables have had rows deleted and added."""
    file = tmp_path_factory.mktemp("counts") / "warehouse.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("create schema shop")
        connection.execute("set schema = 'shop'")
        for table, rows in {"large": ROWS, "small": 5_000}.items():
            connection.execute(
                f"create table {table} as select i as id, i % 7 as day, [i, i] as items"
                f" from range({rows}) as r(i)"
            )
            connection.execute(f"delete from {table} where id < {GONE}")
            connection.execute(f"create view {table}_rows as select id + 1 as next from {table}")
            connection.execute(
                f"create view {table}_days as select day, count(*) as n from {table} group by 1"
            )
            connection.execute(
                f"create view {table}_items as select unnest(items) as item from {table}"
            )
    return file


@pytest.fixture(scope="module")
def told(file) -> dict[str, dict[str, Any]]:
    return table_metadata(Warehouse(file.parent, "shop", file))


@pytest.mark.parametrize(
    ("relation", "rows"),
    [
        ("large", ROWS - GONE),
        ("large_rows", ROWS - GONE),
        ("large_days", None),
        ("large_items", None),
        ("small", 4_000),
        ("small_rows", 4_000),
        ("small_days", 7),
        ("small_items", 8_000),
    ],
)
def test_a_view_that_many_rows_would_be_read_for_is_not_counted(told, relation, rows) -> None:
    assert told[relation].get("dagster/row_count") == rows


def test_a_relation_without_a_count_still_has_its_columns(told) -> None:
    columns = told["large_days"]["dagster/column_schema"].columns
    assert [column.name for column in columns] == ["day", "n"]
