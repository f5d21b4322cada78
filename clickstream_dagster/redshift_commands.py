"""`clickstream redshift …`: the events, the models and the apps' views of a project in Redshift."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clickstream_dagster.errors import SettingError
from clickstream_dagster.model_options import CheckEverything, DefinitionsFile
from clickstream_dagster.plain_errors import plain_errors
from clickstream_dagster.s3_options import Endpoint, GlueEndpoint, KmsKey, Profile

if TYPE_CHECKING:
    from rich.table import Table

    from clickstream_dagster.warehouses.redshift.data_api import DataApi
    from clickstream_dagster.warehouses.redshift.expiry import ExpiredDay

redshift_app = typer.Typer(help="Events and models in Redshift.", no_args_is_help=True)

ProjectId = Annotated[str, typer.Option(help="Id of the project: its schema.")]
Database = Annotated[
    str, typer.Option(envvar="CLICKSTREAM_REDSHIFT_DATABASE", help="Database of the project.")
]
WorkgroupName = Annotated[
    str | None,
    typer.Option(envvar="CLICKSTREAM_REDSHIFT_WORKGROUP", help="Workgroup of Redshift Serverless."),
]
ClusterId = Annotated[
    str | None,
    typer.Option(
        envvar="CLICKSTREAM_REDSHIFT_CLUSTER", help="Identifier of a provisioned cluster."
    ),
]
DbUser = Annotated[
    str | None,
    typer.Option(
        help="Database user of a cluster, with temporary credentials of IAM. Default: the user"
        " that stands for your own IAM role or user."
    ),
]
Secret = Annotated[
    str | None,
    typer.Option(
        help="ARN of a secret of Secrets Manager with username and password, in place of IAM."
    ),
]
Region = Annotated[
    str | None,
    typer.Option(help="AWS region of the warehouse and the lake. Default: as boto3 finds it."),
]


@redshift_app.command("set-up")
def set_up(
    project_id: ProjectId,
    database: Database,
    from_database: Annotated[
        str | None,
        typer.Option(
            help="A database that is there, such as dev: --database is made from it if it is"
            " missing."
        ),
    ] = None,
    app_id: Annotated[
        list[str] | None,
        typer.Option("--app", help="App that gets a schema with views of its own; name them all."),
    ] = None,
    workgroup: WorkgroupName = None,
    cluster: ClusterId = None,
    db_user: DbUser = None,
    secret_arn: Secret = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Make the schema, the tables and the apps' views of a project, or bring them up to date.

    Again after an upgrade, for new columns, and after the first `model`, for the apps' views of
    the models.
    """
    from clickstream_dagster.resources.dbt import models_of_apps
    from clickstream_dagster.warehouses.redshift import tables
    from clickstream_dagster.warehouses.redshift.apps import create_app_views

    def sql_of(name: str) -> "DataApi":
        return _sql(name, workgroup, cluster, db_user, secret_arn, region, profile)

    with plain_errors():
        if from_database is not None:
            tables.create_database(sql_of(from_database), database)
        sql = sql_of(database)
        tables.set_up(sql, project_id)
        typer.echo(f"schema {project_id}: set up")
        schemas = create_app_views(sql, project_id, app_id or (), models_of_apps())
        for app, schema in schemas.items():
            typer.echo(f"schema {schema}: views of the app {app}")


@redshift_app.command("grant")
def grant(
    project_id: ProjectId,
    app_id: Annotated[str, typer.Option("--app", help="App whose views may be read.")],
    database: Database,
    role: Annotated[str | None, typer.Option(help="Role of the database.")] = None,
    group: Annotated[str | None, typer.Option(help="Group of the database.")] = None,
    user: Annotated[str | None, typer.Option(help="User of the database.")] = None,
    creator: Annotated[
        list[str] | None,
        typer.Option(
            help="User of the database that will make later views, such as IAMR:dagster; it takes a"
            " superuser to name others. Default: yourself."
        ),
    ] = None,
    workgroup: WorkgroupName = None,
    cluster: ClusterId = None,
    db_user: DbUser = None,
    secret_arn: Secret = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Let a role, group or user read the views of one app, later ones too, and nothing else."""
    from clickstream_dagster.warehouses.redshift.apps import Grantee, app_schemas, grant_app

    with plain_errors():
        named: dict[Grantee, str | None] = {"role": role, "group": group, "user": user}
        chosen = [(kind, name) for kind, name in named.items() if name is not None]
        if len(chosen) != 1:
            raise SettingError(
                "nobody, or more than one, is named: write --role, --group or --user"
            )
        ((kind, grantee),) = chosen
        schema = app_schemas(project_id, [app_id])[app_id]
        sql = _sql(database, workgroup, cluster, db_user, secret_arn, region, profile)
        grant_app(sql, schema, grantee, kind, creator or ())
        typer.echo(f"schema {schema}: the {kind} {grantee} may read the views of the app {app_id}")


@redshift_app.command("load")
def load(
    project_id: ProjectId,
    sink: Annotated[str, typer.Option(help="Lake that `process` wrote to: s3://bucket/prefix.")],
    database: Database,
    manifests: Annotated[
        str, typer.Option(help="s3://bucket/prefix for the lists of files that COPY is given.")
    ],
    copy_role_arn: Annotated[
        str | None,
        typer.Option(
            help="Role of the warehouse that reads the lake. Default: the warehouse's default role."
        ),
    ] = None,
    users: Annotated[
        bool, typer.Option("--users", help="Bring the dimension of users up to date, too.")
    ] = False,
    workgroup: WorkgroupName = None,
    cluster: ClusterId = None,
    db_user: DbUser = None,
    secret_arn: Secret = None,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    glue_endpoint_url: GlueEndpoint = None,
    kms_key_id: KmsKey = None,
) -> None:
    """Load the events that the lake has and Redshift has not; what has left the lake goes."""
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.processing.lake import Lake
    from clickstream_dagster.warehouses.redshift import loading
    from clickstream_dagster.warehouses.redshift.users import upsert_users

    with plain_errors():
        s3 = S3Access(region, profile, endpoint_url, kms_key_id, glue_endpoint_url)
        copy = loading.CopySettings(manifests, copy_role_arn)
        sql = _sql(database, workgroup, cluster, db_user, secret_arn, region, profile)
        done = loading.load(sql, Lake(sink, project_id, s3), copy)
        for one in done.loads:
            typer.echo(
                f"load {one.load_id}: {one.rows} events of {one.files} files,"
                f" {one.gone_files} files gone"
            )
        if not done.loads:
            typer.echo("nothing to load: Redshift has what the lake has")
        for app, day in done.expired:
            typer.echo(f"{day} of {app} has changed in the lake since it expired: left as it was")
        if users:
            found = upsert_users(sql, project_id)
            typer.echo(f"users: {found.upto - found.after} loads taken in")


@redshift_app.command("model")
def model(
    project_id: ProjectId,
    database: Database,
    host: Annotated[
        str,
        typer.Option(
            envvar="CLICKSTREAM_REDSHIFT_HOST",
            help="Endpoint that dbt connects to, without port and database.",
        ),
    ],
    port: Annotated[
        int, typer.Option(envvar="CLICKSTREAM_REDSHIFT_PORT", help="Port of the endpoint.")
    ] = 5439,
    sslmode: Annotated[
        str,
        typer.Option(
            envvar="CLICKSTREAM_REDSHIFT_SSLMODE", help="How dbt's connection is encrypted."
        ),
    ] = "verify-full",
    scratch: Annotated[
        Path, typer.Option(help="Local directory for what dbt writes: its target and logs.")
    ] = Path("data/redshift"),
    full_refresh: Annotated[
        bool,
        typer.Option(
            "--full-refresh", help="Build every model from the events that Redshift still has."
        ),
    ] = False,
    check_everything: CheckEverything = False,
    definitions: DefinitionsFile = None,
    workgroup: WorkgroupName = None,
    cluster: ClusterId = None,
    db_user: DbUser = None,
    secret_arn: Secret = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Build and test the models, then refresh the project's stale materialised views."""
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.resources.dbt import WITHOUT_UNIT_TESTS
    from clickstream_dagster.resources.definitions import Definitions, read_definitions
    from clickstream_dagster.resources.redshift import RedshiftWarehouse, run_dbt_on_redshift
    from clickstream_dagster.warehouses.redshift.apps import refresh
    from clickstream_dagster.warehouses.redshift.data_api import place_of

    with plain_errors():
        warehouse = RedshiftWarehouse(
            project_id,
            database,
            place_of(workgroup, cluster, db_user, secret_arn),
            host,
            scratch.absolute(),
            port,
            sslmode,
            s3=S3Access(region, profile),
            definitions=read_definitions(definitions) if definitions else Definitions(),
        )
        again = ["--full-refresh"] if full_refresh else []
        run_dbt_on_redshift(
            ["build", *WITHOUT_UNIT_TESTS, *again], warehouse, check_everything=check_everything
        )
        for view in refresh(warehouse.sql(), [project_id]):
            typer.echo(f"materialised view {view}: refreshed")


@redshift_app.command("expire")
def expire(
    project_id: ProjectId,
    days: Annotated[int, typer.Option(help="Days before today (UTC) whose events are kept.")],
    database: Database,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    workgroup: WorkgroupName = None,
    cluster: ClusterId = None,
    db_user: DbUser = None,
    secret_arn: Secret = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Take old days out of the events; the lake keeps them, and sessions, users and days stay."""
    from rich.console import Console

    from clickstream_dagster.warehouses.redshift import expiry

    with plain_errors():
        sql = _sql(database, workgroup, cluster, db_user, secret_arn, region, profile)
        today = datetime.now(UTC).date()
        gone = expiry.expire(sql, project_id, days, today, dry_run=dry_run)
        Console().print(_expired(gone, "Would expire" if dry_run else "Expired"))


@redshift_app.command("bring-back")
def bring_back(
    project_id: ProjectId,
    database: Database,
    workgroup: WorkgroupName = None,
    cluster: ClusterId = None,
    db_user: DbUser = None,
    secret_arn: Secret = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Let the next `load` bring all expired days that the lake still has, and `model` follow it."""
    from clickstream_dagster.warehouses.redshift import expiry

    with plain_errors():
        sql = _sql(database, workgroup, cluster, db_user, secret_arn, region, profile)
        before = expiry.bring_back(sql, project_id)
        typer.echo(
            "nothing has expired"
            if before is None
            else f"days before {before} are loaded again by the next load"
        )


@redshift_app.command("erase")
def erase(
    project_id: ProjectId,
    app_id: Annotated[str, typer.Option("--app", help="App of the user.")],
    user: Annotated[str, typer.Option(help="The user's user_pseudo_id.")],
    database: Database,
    workgroup: WorkgroupName = None,
    cluster: ClusterId = None,
    db_user: DbUser = None,
    secret_arn: Secret = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Take out what is left of a user whose events have left the lake: of expired days."""
    from clickstream_dagster.warehouses.redshift import expiry

    with plain_errors():
        sql = _sql(database, workgroup, cluster, db_user, secret_arn, region, profile)
        erased = expiry.erase_user(sql, project_id, app_id, user)
        for relation, rows in erased.items():
            typer.echo(f"{relation}: {rows} rows")
        if not erased:
            typer.echo(f"nothing is left of {user} in the app {app_id}")


def _sql(
    database: str,
    workgroup: str | None,
    cluster: str | None,
    db_user: str | None,
    secret_arn: str | None,
    region: str | None,
    profile: str | None,
) -> "DataApi":
    """Give the way for SQL. Raises RedshiftError unless one workgroup or cluster is named."""
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.warehouses.redshift.data_api import DataApi, place_of

    place = place_of(workgroup, cluster, db_user, secret_arn)
    return DataApi(place, database, region=region, access=S3Access(region, profile))


def _expired(days: "list[ExpiredDay]", title: str) -> "Table":
    from rich.table import Table

    total = sum(day.events for day in days)
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("day", footer="all")
    table.add_column("app")
    table.add_column("events", footer=f"{total:,}", justify="right")
    for day in days:
        table.add_row(day.day.isoformat(), day.app_id, f"{day.events:,}")
    return table
