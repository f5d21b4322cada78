"""A schema for each app, with views over that app's rows only (seed 000, "Database and table").

An analyst who is granted such a schema sees one app and nothing else: the views read the project's
tables with the rights of their owner. They are bound late, so that dbt may make a relation anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from clickstream_dagster.ids import APP_ID, APP_ID_RULE
from clickstream_dagster.warehouses.redshift.sql import RedshiftError, Sql, literal, name
from clickstream_dagster.warehouses.redshift.tables import EVENTS, USERS, relations, table

PRESET_VIEWS = (
    "clickstream_device_view",
    "clickstream_lifecycle_daily_view",
    "clickstream_lifecycle_weekly_view",
    "clickstream_ods_event_attr_view",
    "clickstream_ods_event_view",
    "clickstream_path_view",
    "clickstream_retention_view",
    "clickstream_session_view",
    "clickstream_user_attr_view",
    "clickstream_user_dim_view",
)

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


def create_app_views(sql: Sql, project: str, app_ids: Iterable[str]) -> Mapping[str, str]:
    """Make the schemas of apps and the views in them; give the schema of each app.

    Relations that are not built yet are left out, and come with the next call.
    """
    schemas = app_schemas(project, app_ids)
    names = (EVENTS, USERS, *PRESET_VIEWS)
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


def grant_app(sql: Sql, schema: str, grantee: str, kind: Grantee = "role") -> None:
    """Let a role, group or user read the views of an app, and nothing else."""
    to = f"{_WORDS[kind]}{name(grantee)}"
    sql.transaction(
        [
            f"grant usage on schema {name(schema)} to {to}",
            f"grant select on all tables in schema {name(schema)} to {to}",
            f"alter default privileges in schema {name(schema)} grant select on tables to {to}",
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
        relation = f'"{schema}"."{view}"'
        try:
            sql.execute(f"refresh materialized view {relation}")
            done.append(f"{schema}.{view}")
        except RedshiftError as error:
            errors.append(str(error))
    if errors:
        raise RedshiftError("\n".join(errors))
    return done
