"""Which columns the columns of a model come from, read from the SQL that dbt ran.

From run to run that SQL differs in literals only: the answer is kept beside the manifest and holds
until the dbt project or this package changes.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from clickstream_dagster import __version__
from clickstream_dagster.assets.columns import table_schema
from clickstream_dagster.assets.manifest import MANIFEST, TARGET, prepared_digest
from clickstream_dagster.assets.project import Project

if TYPE_CHECKING:
    from sqlglot import exp

LINEAGE = "lineage.json"
SOURCE = "ods_event"

Origins = dict[str, list[list[str]]]
"""For each column of a model, the `[table, column]` pairs of its parents that it is made of."""


def lineage_metadata(
    project: Project,
    engine: str,
    source: dg.AssetKey,
    state: Path,
    run: Path,
    models: Iterable[str],
    tables: Mapping[str, dg.TableSchema],
    tell: Callable[[str], object],
) -> dict[str, dict[str, dg.TableColumnLineage]]:
    """Give the column lineage of models that the dbt run in the directory `run` has built.

    `source` is the asset of the events that they read, `state` the directory of the manifest,
    `tables` are the schemas of the warehouse's tables. A model whose SQL sqlglot can't read is left
    out, and `tell` gets one line about it, the first time.
    """

    def key(table: str) -> dg.AssetKey:
        return source if table == SOURCE else project.key(engine, table)

    schemas = {**tables, SOURCE: table_schema(SOURCE)}
    columns = {table: [one.name for one in schema.columns] for table, schema in schemas.items()}
    return {
        model: {
            "dagster/column_lineage": dg.TableColumnLineage(
                {
                    column: [dg.TableColumnDep(key(table), name) for table, name in found]
                    for column, found in origins.items()
                }
            )
        }
        for model, origins in model_origins(state, run, list(models), columns, engine, tell).items()
    }


def model_origins(
    state: Path,
    run: Path,
    models: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    dialect: str,
    tell: Callable[[str], object],
) -> dict[str, Origins]:
    """Give the origins of the columns of models: those kept in `state`, else read from the run.

    `columns` are those of every table that a model may read, `dialect` is sqlglot's name of the
    engine.
    """
    file = state / LINEAGE
    version = f"{__version__} {prepared_digest(state)}"
    kept = _kept(file, version)
    if new := set(models) - kept.keys():
        kept |= _read(run / MANIFEST, new, columns, dialect, tell)
        scratch = file.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps({"version": version, "models": kept}))
        os.replace(scratch, file)
    return {model: origins for model in models if (origins := kept.get(model)) is not None}


def column_origins(
    sql: str, parents: Mapping[str, Sequence[str]], dialect: str = TARGET
) -> Origins:
    """Give the origins of each column that a query selects, in the dialect of an engine.

    `parents` are the columns of the tables to look for, by name; what comes from elsewhere is left
    out. A field of a struct counts as its column. A constant, or a number of rows, has no origins.
    Raises what sqlglot raises for SQL that it can't read.
    """
    from sqlglot import exp, parse_one
    from sqlglot.lineage import lineage

    tables = {table: dict.fromkeys(columns, "unknown") for table, columns in parents.items()}
    query = parse_one(sql, dialect=dialect)
    _write_out_windows(query)
    _write_out_elements(query)
    origins: Origins = {}
    asked = lineage(None, query, tables, dialect=dialect, allow_partial_qualification=True)
    for column, root in asked.items():
        found = {
            (node.expression.name, exp.to_column(node.name).name)
            for node in root.walk()
            if isinstance(node.expression, exp.Table)
        }
        origins[column] = [
            [table, name] for table, name in sorted(found) if name in tables.get(table, ())
        ]
    return origins


def _write_out_windows(query: "exp.Expr") -> None:
    """Put what a named window says to where it is used: sqlglot does not look there."""
    from sqlglot import exp

    for select in query.find_all(exp.Select):
        named = {window.name: window for window in select.args.get("windows") or ()}
        for use in select.find_all(exp.Window):
            if use.alias in named:
                window = named[use.alias].copy()
                use.set("partition_by", window.args.get("partition_by"))
                use.set("order", window.args.get("order"))


def _write_out_elements(query: "exp.Expr") -> None:
    """Put the array to where its elements are used: Redshift opens one by `from t, t.array as e`.

    With a place behind it, `as e at i`, sqlglot does not look there.
    """
    from sqlglot import exp

    for select in query.find_all(exp.Select):
        for join in list(select.args.get("joins") or ()):
            if isinstance(join.this, exp.AtIndex):
                opened, place = join.this.this, join.this.expression
                join.pop()
                for column in list(select.find_all(exp.Column)):
                    if column.parts[0].name in (opened.alias, place.name):
                        column.replace(opened.this.copy())


def _kept(file: Path, version: str) -> dict[str, Origins | None]:
    content: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return content["models"] if content.get("version") == version else {}


def _read(
    manifest: Path,
    models: set[str],
    columns: Mapping[str, Sequence[str]],
    dialect: str,
    tell: Callable[[str], object],
) -> dict[str, Origins | None]:
    """Give origins by the manifest of a run, None for the models that sqlglot can't read."""
    content = json.loads(manifest.read_text()) if manifest.is_file() else {"nodes": {}}
    found: dict[str, Origins | None] = {}
    for node in content["nodes"].values():
        if node["name"] in models and node.get("compiled_code"):
            parents = [parent.rpartition(".")[2] for parent in node["depends_on"]["nodes"]]
            known = {parent: columns[parent] for parent in parents if parent in columns}
            try:
                found[node["name"]] = column_origins(node["compiled_code"], known, dialect)
            except Exception as error:  # on SQL that it does not know sqlglot fails in many ways
                found[node["name"]] = None
                reason = str(error).partition("\n")[0] or type(error).__name__
                tell(f"{node['name']} has no column lineage: {reason}")
    return found
