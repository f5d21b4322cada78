"""DuckDB inside a task: the set-based reader of JSON."""

import duckdb


def connect() -> duckdb.DuckDBPyConnection:
    """Open a private in-memory DuckDB for one task; it never loads anything from outside."""
    return duckdb.connect(
        config={
            "threads": 1,  # the engine runs a task a core already
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
