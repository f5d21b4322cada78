"""A double of Redshift's query engine: its SQL is parsed as Redshift's, and run by DuckDB.

sqlglot reads each statement in Redshift's dialect and writes it in DuckDB's; what it leaves over
is done here: SUPER becomes the structure that the lake's column has, an array in `from` becomes
`unnest`, COPY reads a manifest from S3 as Redshift does, with its checks.
"""

import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot
from sqlglot import exp
from sqlglot.dialects.redshift import Redshift

from clickstream_dagster.processing.schema import ODS_EVENT

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # properties that DuckDB has no need of

NESTED = {name: ODS_EVENT.field(name).type for name in ODS_EVENT.names}
RESERVED = {word.strip() for word in Redshift.Generator.RESERVED_KEYWORDS} - {"type", "oid"}
"""Words that are no names unless they are quoted. dbt's own queries read the catalog's columns
`type` and `oid`: the one is free in Redshift, the other may be read."""
LATE_BINDING = "pg_get_late_binding_view_cols"


class RedshiftError(Exception):
    """What Redshift would refuse."""


@dataclass
class Result:
    """Columns as `(name, DuckDB's type)`, rows, and the words that tell what was done."""

    columns: list[tuple[str, str]] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    tag: str = "OK"


class Engine:
    """A cluster with one database. `fail` is asked before each statement, and may raise."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.root = duckdb.connect()
        self.root.execute(f"attach ':memory:' as {database}")
        self.root.execute(f"use {database}")
        self.root.execute("create macro pg_backend_pid() as 1")
        self.root.execute("create macro get_array_length(a) as len(a)")
        self.root.execute("create table svv_mv_info (schema_name text, name text, is_stale text)")
        self.statements: list[str] = []
        self.fail: Callable[[str], None] = lambda sql: None

    def session(self) -> "Session":
        """Open a session: it has its own transaction and temporary tables."""
        return Session(self)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query in DuckDB's words."""
        with self.root.cursor() as cursor:
            cursor.execute(f"use {self.database}")
            return cursor.execute(sql).fetchall()


class Session:
    """One connection to the engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.connection = engine.root.cursor()
        self.connection.execute(f"use {engine.database}")
        self.connection.execute("set TimeZone = 'UTC'")
        self.connection.execute("set integer_division = true")  # Redshift: 1 / 2 is 0
        self.open = False

    def close(self) -> None:
        self.connection.close()

    def returns_rows(self, sql: str) -> bool:
        """Whether a statement is a query."""
        return isinstance(_parsed(sql), exp.Query | exp.Show)

    def run(self, sql: str) -> Result:
        """Run one statement. Raises RedshiftError."""
        self.engine.statements.append(sql)
        try:
            self.engine.fail(sql)
            return self._run(sql)
        except (duckdb.Error, sqlglot.errors.SqlglotError) as error:
            raise RedshiftError(str(error)) from error

    def _run(self, sql: str) -> Result:
        if LATE_BINDING in sql:
            return self._columns_of(sql)
        if "pg_rewrite" in sql:  # which views are on which: dbt asks for its cache only
            names = ("dependent_schema", "dependent_name", "referenced_schema", "referenced_name")
            return Result([(name, "VARCHAR") for name in names], [], "SELECT")
        statement = _parsed(sql)
        _refuse(statement)
        if isinstance(statement, exp.Command):
            return self._command(statement, sql)
        if isinstance(statement, exp.Transaction):
            if self.open:
                return Result(tag="BEGIN")  # Redshift warns
            self.open = True
            self.connection.execute("begin")
            return Result(tag="BEGIN")
        if isinstance(statement, exp.Commit | exp.Rollback):
            word = "COMMIT" if isinstance(statement, exp.Commit) else "ROLLBACK"
            if self.open:
                self.connection.execute(word)
            self.open = False
            return Result(tag=word)
        if isinstance(statement, exp.Copy):
            return self._copy(statement)
        if isinstance(statement, exp.Grant | exp.Analyze | exp.Revoke):
            return Result(tag=type(statement).__name__.upper())
        if isinstance(statement, exp.Create) and str(statement.kind) == "DATABASE":
            return Result(tag="CREATE DATABASE")
        cursor = self.connection.execute(in_duckdb(statement))
        if not isinstance(statement, exp.Query):
            return Result(tag=type(statement).__name__.upper())
        columns = [(column[0], str(column[1])) for column in cursor.description or ()]
        return Result(columns, cursor.fetchall(), "SELECT")

    def _command(self, statement: exp.Command, sql: str) -> Result:
        word = str(statement.this).upper()
        if word == "SHOW":
            return Result([("value", "VARCHAR")], [], "SHOW")
        if word not in ("LOCK", "REFRESH", "GRANT", "ALTER", "SET"):
            raise RedshiftError(f"the double does not know {statement.sql()}")
        if word in ("LOCK", "REFRESH"):  # both name a relation last
            self.connection.execute(f"select 1 from {sql.split()[-1]} limit 0")
        return Result(tag=word)

    def _columns_of(self, sql: str) -> Result:
        name = sql.split("table_name = '")[1].split("'")[0]
        schema = (
            sql.split("table_schema = '")[1].split("'")[0] if "table_schema = '" in sql else "%"
        )
        rows = self.connection.execute(
            "select column_name, lower(data_type), null::int, numeric_precision, numeric_scale"
            " from information_schema.columns where table_name = ? and table_schema like ?"
            " order by ordinal_position",
            [name, schema],
        ).fetchall()
        words = {"varchar": "character varying", "timestamp": "timestamp without time zone"}
        return Result(
            [
                ("column_name", "VARCHAR"),
                ("data_type", "VARCHAR"),
                *((name, "INTEGER") for name in ("character_maximum_length", "p", "s")),
            ],
            [(column, words.get(type_, type_), *rest) for column, type_, *rest in rows],
            "SELECT",
        )

    def _copy(self, statement: exp.Copy) -> Result:
        import boto3

        text = statement.sql("redshift").lower()
        if not all(word in text for word in ("parquet", "serializetojson", "manifest")):
            raise RedshiftError(f"the double copies Parquet by a manifest only, not {text}")
        s3 = boto3.client("s3")

        def read(address: str) -> bytes:
            place = urlsplit(address)
            try:
                answer = s3.get_object(Bucket=place.netloc, Key=place.path[1:])
            except s3.exceptions.NoSuchKey as error:
                raise RedshiftError(f"the file {address} does not exist") from error
            return answer["Body"].read()

        target = statement.this
        columns = [column.name for column in target.expressions]
        table = target.this if isinstance(target, exp.Schema) else target
        name = table.sql("duckdb")
        wanted = columns or self._names(name)
        found: list[pa.Table] = []
        for entry in json.loads(read(statement.args["files"][0].name))["entries"]:
            body = read(entry["url"])
            if len(body) != entry["meta"]["content_length"]:
                raise RedshiftError(f"content_length of {entry['url']} is wrong")
            rows = pq.ParquetFile(io.BytesIO(body)).read()
            if rows.num_columns != len(wanted) and not (
                "fillrecord" in text and rows.num_columns < len(wanted)
            ):
                raise RedshiftError(
                    f"unmatched number of columns: {len(wanted)} in the table,"
                    f" {rows.num_columns} in {entry['url']}"
                )
            # By their order, not by name.
            found.append(rows.rename_columns(wanted[: rows.num_columns]))
        self.connection.register("copied", pa.concat_tables(found, promote_options="default"))
        self.connection.execute(f"insert into {name} by name select * from copied")
        self.connection.unregister("copied")
        return Result(tag="COPY")

    def _names(self, table: str) -> list[str]:
        return [row[0] for row in self.connection.execute(f"describe {table}").fetchall()]


def _parsed(sql: str) -> exp.Expression:
    statement = sqlglot.parse_one(sql, read="redshift")
    assert statement is not None, sql
    return statement


def _refuse(statement: exp.Expression) -> None:
    """Raise for what sqlglot and DuckDB take, but Redshift does not."""
    if any(select.args.get("windows") for select in statement.find_all(exp.Select)):
        raise RedshiftError("Redshift has no window clause")
    if statement.find(exp.NullSafeEQ, exp.NullSafeNEQ):
        raise RedshiftError("Redshift has no `is distinct from`")
    if isinstance(statement, exp.Delete) and (
        statement.this.alias
        or not all(isinstance(used, exp.Table) for used in statement.args.get("using") or [])
    ):
        raise RedshiftError("delete takes neither an alias nor a query behind `using`")
    if isinstance(statement, exp.Alter) and "IF NOT EXISTS" in statement.sql("redshift"):
        raise RedshiftError("alter table has no `if not exists`")
    for place in statement.find_all(exp.List, exp.Lambda, exp.Struct):
        raise RedshiftError(f"Redshift has no {place.sql()}")
    for select in statement.find_all(exp.Select):
        if isinstance(select.parent, exp.Subquery | exp.CTE):
            for column in select.selects:
                if column.unalias().is_string:
                    raise RedshiftError(
                        f'failed to find conversion function from "unknown" to text: {column.sql()}'
                    )
    for word in statement.find_all(exp.Identifier):
        if not word.args.get("quoted") and word.name.lower() in RESERVED:
            raise RedshiftError(f"{word.name} is a reserved word of Redshift: it can't be a name")


def in_duckdb(statement: exp.Expression) -> str:
    """Give a statement of Redshift in DuckDB's words."""
    statement = statement.copy()
    for schema in list(statement.find_all(exp.ColumnDef)):
        kind = schema.args.get("kind")
        if kind is not None and kind.this == exp.DataType.Type.SUPER:
            schema.set("kind", exp.DataType.build(_duckdb_type(NESTED[schema.name]), "duckdb"))
    if isinstance(statement, exp.Create):
        like = statement.find(exp.LikeProperty)
        if like is not None:
            name = statement.this.this if isinstance(statement.this, exp.Schema) else statement.this
            return (
                f"create temp table {name.sql('duckdb')} as"
                f" select * from {like.this.sql('duckdb')} limit 0"
            )
        statement.set("no_schema_binding", None)
        if statement.this.name.startswith("#"):
            raise RedshiftError(f"write `create temp table`, not {statement.this.name}")
    for product in list(statement.find_all(exp.Mul)):
        # DuckDB multiplies an interval by 32 bits.
        if product.expression == sqlglot.parse_one("interval '1 second'", read="redshift"):
            product.replace(exp.Anonymous(this="to_seconds", expressions=[product.this]))
    for select in list(statement.find_all(exp.Select)):
        _unnest(select)
    return statement.sql("duckdb")


def _unnest(select: exp.Select) -> None:
    """Make `array as element at place` in `from` explicit; sqlglot knows it without a place."""
    for join in select.args.get("joins") or []:
        if isinstance(join.this, exp.AtIndex):
            alias, place = join.this.this, join.this.expression.name
            explicit = sqlglot.parse_one(
                f"select 1 from x cross join unnest({alias.this.sql()}) with ordinality"
                f" as _{alias.alias}({alias.alias}, {place})",
                read="duckdb",
            )
            join.replace(explicit.args["joins"][0])


def _duckdb_type(type_: pa.DataType) -> str:
    if pa.types.is_struct(type_):
        fields = ", ".join(f'"{child.name}" {_duckdb_type(child.type)}' for child in type_)
        return f"struct({fields})"
    if pa.types.is_list(type_):
        return f"{_duckdb_type(type_.value_type)}[]"
    names = {pa.string(): "varchar", pa.int64(): "bigint", pa.int32(): "int"}
    return (names | {pa.float64(): "double", pa.float32(): "float"})[type_]
