"""`clickstream athena …`: the work group, the models and the saved queries of a project."""

from pathlib import Path
from typing import Annotated

import typer

from clickstream_dagster.model_options import CheckEverything, DefinitionsFile
from clickstream_dagster.plain_errors import plain_errors
from clickstream_dagster.s3_options import Profile

athena_app = typer.Typer(help="Models and saved queries on Athena.", no_args_is_help=True)

ProjectId = Annotated[str, typer.Option(help="Id of the project: its Glue database.")]
Group = Annotated[str, typer.Option(help="Work group whose settings and limit apply.")]
Region = Annotated[str | None, typer.Option(envvar="AWS_REGION", help="AWS region of the lake.")]


@athena_app.command("set-up")
def set_up(
    project_id: ProjectId,
    results: Annotated[str, typer.Option(help="s3://bucket/prefix/ that gets query results.")],
    work_group: Group,
    scan_limit_gb: Annotated[
        float, typer.Option(help="Most that one query may read, in GB; at least 0.01.")
    ] = 100,
    kms_key_id: Annotated[
        str | None, typer.Option(help="KMS key that encrypts query results.")
    ] = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Make the work group and the saved queries of the ten views, or bring them up to date."""
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.warehouses.athena.saved_queries import ensure_saved_queries
    from clickstream_dagster.warehouses.athena.work_group import WorkGroup, ensure_work_group

    with plain_errors():
        group = WorkGroup(work_group, results, round(scan_limit_gb * 1e9), kms_key_id)
        client = S3Access(region, profile).client_of("athena", region)
        changed = ensure_work_group(client, group)
        typer.echo(f"work group {work_group}: {'set up' if changed else 'as it should be'}")
        for name in ensure_saved_queries(client, project_id, work_group):
            typer.echo(f"saved query {name}: set up")


@athena_app.command("model")
def model(
    project_id: ProjectId,
    data: Annotated[str, typer.Option(help="s3://bucket/prefix/ that gets the models' tables.")],
    work_group: Group = "primary",
    scratch: Annotated[
        Path, typer.Option(help="Local directory for what dbt writes: its target and logs.")
    ] = Path("data/athena"),
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Build every model from nothing.")
    ] = False,
    check_everything: CheckEverything = False,
    definitions: DefinitionsFile = None,
    region: Region = None,
    profile: Profile = None,
) -> None:
    """Build and test the models of a lake on S3."""
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.resources.athena import AthenaWarehouse, run_dbt_on_athena
    from clickstream_dagster.resources.dbt import WITHOUT_UNIT_TESTS
    from clickstream_dagster.resources.definitions import Definitions, read_definitions

    with plain_errors():
        warehouse = AthenaWarehouse(
            project_id,
            data,
            scratch.absolute(),
            work_group,
            S3Access(region, profile),
            read_definitions(definitions) if definitions else Definitions(),
        )
        refresh = ["--full-refresh"] if full_refresh else []
        run_dbt_on_athena(
            ["build", *WITHOUT_UNIT_TESTS, *refresh], warehouse, check_everything=check_everything
        )
