"""A schema for each app, with views over that app's rows only (seed 000, "Database and table").

An analyst who is granted such a schema sees one app and nothing else: the views read the project's
tables with the rights of their owner. They are bound late, so that dbt may make a relation anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from clickstream_dagster.ids import APP_ID, APP_ID_RULE
from clickstream_dagster.warehouses.redshift.sql import (
    RedshiftError,
    Sql,
    literal,
    name,
    principal,
    quoted,
)
from clickstream_dagster.warehouses.redshift.tables import EVENTS, USERS, relations, table

Grantee = Literal["role", "group", "user"]
_WORDS = {"role": "role ", "group": "group ", "user": ""}


def app_schemas(project: str, app_ids: Iterable[str]) -> dict[str, str]:
    """Give the schema of each app: its id with `.` and `-` as `_`, in lower case.

    Raises RedshiftError when two apps, or an app and the project, would share one.
    """
    schemas: dict[str, str] = {}
    owners = {project: f"the project {project}"}
    for app_id in app_ids:
        if not APP_ID.fullmatch(app_id):
            raise RedshiftError(f"{app_id!r} is no app id: write {APP_ID_RULE}")
        schema = app_id.replace(".", "_").replace("-", "_").lower()
        if schema in owners:
            raise RedshiftError(
                f"the app {app_id} and {owners[schema]} would both have the schema {schema} in"
                " Redshift: give one of them another id, or a project of its own"
            )
        owners[schema] = f"the app {app_id}"
        schemas[app_id] = schema
    return schemas


def create_app_views(
    sql: Sql, project: str, app_ids: Iterable[str], models: Iterable[str]
) -> Mapping[str, str]:
    """Make the schemas of apps and the views in them; give the schema of each app.

    The views are over events, users and `models`, which have app_id. Relations that are not built
    yet are left out, and come with the next call.
    """
    schemas = app_schemas(project, app_ids)
    names = (EVENTS, USERS, *models)
    built = relations(sql, project)
    for app_id, schema in schemas.items():
        sql.transaction(
            [
                f"create schema if not exists {name(schema)}",
                *(
                    f"create or replace view {table(schema, relation)} as"
                    f" select * from {table(project, relation)} where app_id = {literal(app_id)}"
                    " with no schema binding"
                    for relation in names
                    if relation in built
                ),
            ]
        )
    return schemas


def grant_app(
    sql: Sql,
    schema: str,
    grantee: str,
    kind: Grantee = "role",
    creators: Sequence[str] = (),
) -> None:
    """Let a role, group or user read the views of an app, and nothing else.

    So it is with views that `creators` will make; without them, those that the user of `sql` will.
    """
    to = f"{_WORDS[kind]}{principal(grantee)}"
    whose = f" for user {', '.join(map(principal, creators))}" if creators else ""
    sql.transaction(
        [
            f"grant usage on schema {name(schema)} to {to}",
            f"grant select on all tables in schema {name(schema)} to {to}",
            f"alter default privileges{whose} in schema {name(schema)}"
            f" grant select on tables to {to}",
        ]
    )


def refresh(sql: Sql, schemas: Sequence[str]) -> list[str]:
    """Refresh the stale materialised views of some schemas; give their names.

    All are tried. Raises RedshiftError with what Redshift said of those that it could not refresh.
    """
    listed = ", ".join(literal(schema) for schema in schemas)
    rows = sql.query(
        "select trim(schema_name), trim(name) from svv_mv_info"
        f" where is_stale = 't' and schema_name in ({listed}) order by 1, 2"
    )
    done, errors = [], []
    for schema, view in rows:
        relation = f"{quoted(str(schema))}.{quoted(str(view))}"
        try:
            sql.execute(f"refresh materialized view {relation}")
            done.append(f"{schema}.{view}")
        except RedshiftError as error:
            errors.append(str(error))
    if errors:
        raise RedshiftError("\n".join(errors))
    return done
