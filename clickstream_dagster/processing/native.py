"""DuckDB inside a task: the set-based reader of JSON."""

import duckdb
import pyarrow as pa


def connect() -> duckdb.DuckDBPyConnection:
    """Open a private in-memory DuckDB for one task; it never loads anything from outside."""
    connection = duckdb.connect(
        config={
            "threads": 1,  # the engine runs a task a core already
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    # Times without an offset are UTC wherever the task runs.
    connection.execute("set timezone = 'UTC'")
    return connection


def parse_json(
    connection: duckdb.DuckDBPyConnection, query: str, column: str, structure: str
) -> pa.Table:
    """Run a query that reads the JSON texts of a column, in place of its `{parse}`.

    Texts that are not JSON read as null. They are rare, and finding them costs a second look at
    every text: only a batch that holds one pays for it.
    """
    for parse in (
        f"from_json({column}, $structure)",
        f"case when json_valid({column}) then from_json({column}, $structure) end",
    ):
        try:
            relation = connection.sql(
                query.replace("{parse}", parse), params={"structure": structure}
            )
            return relation.to_arrow_table().combine_chunks()
        except duckdb.InvalidInputException as error:
            invalid = error
    raise invalid
