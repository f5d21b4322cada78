"""dbt-duckdb plug-in: shows dbt the committed lake as views of the schema `<project>_lake`.

`ods_event` reads exactly the data files of the table's current snapshot, and `ods_event_file`
lists them. The snapshot is looked up once in a run of dbt, so that all models see the same one.
`ods_event_moved` tells which files hold the rows of others now that the warehouse has loaded.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt_common.exceptions import DbtRuntimeError
from dbt_common.invocation import get_invocation_id

from clickstream_dagster.batches.objects import S3_SCHEME
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.errors import LakeError, SettingError
from clickstream_dagster.processing.compaction import former_files
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.processing.schema import ODS_EVENT
from clickstream_dagster.resources.warehouse_name import require_own_name

TABLE = "ods_event"
FILE_COLUMN = "lake_file"
LEDGER = "clickstream_load_file"


class Plugin(BasePlugin):
    """Makes the views when dbt opens the warehouse; nothing else is set up by hand."""

    _shown_in: str | None = None

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:
        """Check that the warehouse can be opened, before dbt tries with a message of its own."""
        _setting("CLICKSTREAM_WAREHOUSE", "the DuckDB file that the models are written to")
        try:
            require_own_name(creds.schema, Path(creds.path))
        except SettingError as error:
            raise DbtRuntimeError(str(error)) from error
        check_unlocked(creds.path)

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Let DuckDB read files of a lake on S3."""
        if os.environ.get("CLICKSTREAM_LAKE", "").startswith(S3_SCHEME):
            read_s3(conn, s3_access())

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Make the views on the lake that CLICKSTREAM_LAKE and CLICKSTREAM_PROJECT name.

        dbt opens a cursor for each model, and keeps this object for the next run in the same
        process: the first cursor of a run makes the views.
        """
        run = get_invocation_id()
        if run == self._shown_in:
            return
        sink = _setting("CLICKSTREAM_LAKE", "the directory that `clickstream process` writes to")
        project = _setting("CLICKSTREAM_PROJECT", "the id of the project in the lake")
        show_lake(cursor, sink, project, s3_access())
        self._shown_in = run


def check_unlocked(warehouse: str) -> None:
    """Raise DbtRuntimeError when another process has the DuckDB file, or it can't be one."""
    if warehouse == ":memory:":
        return
    if not Path(warehouse).parent.is_dir():
        raise DbtRuntimeError(
            f"the warehouse {warehouse} can't be made: the directory"
            f" {Path(warehouse).absolute().parent} does not exist"
        )
    try:
        duckdb.connect(warehouse).close()
    except duckdb.IOException as error:
        if "lock" not in str(error).lower():
            raise DbtRuntimeError(f"the warehouse {warehouse} can't be opened: {error}") from error
        raise DbtRuntimeError(
            f"the warehouse {warehouse} is open in another process, and DuckDB lets only one"
            " write: close that process (a notebook, a DuckDB shell, another run), then run this"
            f" again. DuckDB says: {error}"
        ) from error


def s3_access() -> S3Access:
    """Give the access to S3 that CLICKSTREAM_S3 tells; without it, what boto3 finds."""
    return S3Access(**json.loads(os.environ.get("CLICKSTREAM_S3") or "{}"))


def read_s3(conn: duckdb.DuckDBPyConnection, s3: S3Access) -> None:
    """Let a connection read `s3://` by Arrow, as the processing does.

    DuckDB's own way is an extension that it downloads at run time; that needs the internet, and
    knows none of boto3's places for settings and credentials.
    """
    from fsspec.implementations.arrow import ArrowFSWrapper

    class S3Files(ArrowFSWrapper):
        protocol = "s3"

    conn.register_filesystem(S3Files(s3.filesystem(), skip_instance_cache=True))


def show_lake(
    conn: duckdb.DuckDBPyConnection, sink: str, project: str, s3: S3Access | None = None
) -> None:
    """Make the schema `<project>_lake` with its views.

    Raises DbtRuntimeError when the sink is not a directory. A lake without the table, or with an
    empty one, gives views without rows and with the columns of `schema.ODS_EVENT`.
    """
    lake = Lake(sink, project, s3)
    if not lake.has_place():
        raise DbtRuntimeError(
            f"the lake {lake.root} does not exist: CLICKSTREAM_LAKE (--sink) names the"
            " directory that `clickstream process --sink` has written to"
        )
    try:
        files = lake.data_files(TABLE)
    except LakeError as error:
        raise DbtRuntimeError(str(error)) from error
    schema = _identifier(f"{project}_lake")
    conn.execute(f"create schema if not exists {schema}")
    conn.execute(f"create or replace view {schema}.{TABLE} as {_events(conn, lake, files)}")
    conn.execute(
        f"create or replace view {schema}.{TABLE}_file as"
        f" select unnest({_literals(files)}::varchar[]) as {FILE_COLUMN}"
    )
    moved = _moved(conn, lake, files)
    conn.execute(
        f"create or replace view {schema}.{TABLE}_moved as"
        f" select unnest({_literals([new for new, _ in moved])}::varchar[]) as {FILE_COLUMN},"
        f" unnest({_literals([former for _, former in moved])}::varchar[]) as former_file"
    )


def _moved(conn: duckdb.DuckDBPyConnection, lake: Lake, files: list[str]) -> list[tuple[str, str]]:
    """Give the compacted files that the warehouse does not know, each with the ones that it does.

    Only files that are new to the ledger (dbt_project/macros/arrival/ledger.sql) are opened.
    """
    if not conn.execute(
        "select 1 from duckdb_tables() where schema_name = ? and table_name = ?",
        [lake.project_id, LEDGER],
    ).fetchall():
        return []
    rows = conn.execute(
        f"select distinct {FILE_COLUMN} from {_identifier(lake.project_id)}.{LEDGER}"
    ).fetchall()
    known = {os.path.basename(path): path for (path,) in rows}
    new = sorted(set(files) - set(known.values()))
    with ThreadPoolExecutor(8) as pool:
        former = pool.map(lambda file: former_files(lake.storage, file, known) or [], new)
        return [(file, path) for file, paths in zip(new, former, strict=True) for path in paths]


def _events(conn: duckdb.DuckDBPyConnection, lake: Lake, files: list[str]) -> str:
    if not files:
        conn.register("no_events", ODS_EVENT.empty_table())
        columns = ", ".join(
            f"cast(null as {type_}) as {_identifier(name)}"
            for name, type_, *_ in conn.execute("describe no_events").fetchall()
        )
        conn.unregister("no_events")
        return f"select {columns}, cast(null as varchar) as {FILE_COLUMN} where false"
    # Files that were written before a column was added lack it; as long as the table has had one
    # schema only, DuckDB need not open each of them to find out.
    by_name = len(lake.table(TABLE).schemas()) > 1
    return (
        f"select * from read_parquet({_literals(files)}, filename = '{FILE_COLUMN}',"
        f" hive_partitioning = false, union_by_name = {str(by_name).lower()})"
    )


def _setting(name: str, meaning: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise DbtRuntimeError(
            f"the environment variable {name} is not set: it names {meaning}."
            " `clickstream model` sets it from its options"
        )
    return value


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literals(values: list[str]) -> str:
    return "[" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + "]"
