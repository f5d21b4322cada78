"""`clickstream replay`: its options, and the settings that they or a project's YAML stand for."""

import json
from typing import Annotated

import typer

from clickstream_dagster.errors import SettingError
from clickstream_dagster.plain_errors import plain_errors
from clickstream_dagster.s3_options import Endpoint, GlueEndpoint, KmsKey, Profile, Region


def replay(
    project: Annotated[
        str, typer.Argument(help="Project of this deployment; with --sink any project's id.")
    ],
    reason: Annotated[
        list[str] | None, typer.Option(help="Only records of this reason; repeat for more.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Only records that arrived at this time (UTC) or later, e.g. 2026-11-01."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Only records that arrived before this time (UTC).")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be replayed.")
    ] = False,
    sink: Annotated[
        str | None, typer.Option(help="Lake of a project that has no YAML here; with --app-id.")
    ] = None,
    app_id: Annotated[
        list[str] | None, typer.Option(help="App whose events are taken; repeat for more.")
    ] = None,
    freshness_hours: Annotated[
        int, typer.Option(help="With --sink: drop events that arrived so many hours late.")
    ] = 72,
    correct_clocks: Annotated[
        bool, typer.Option(help="With --sink: shift the events of wrong clocks.")
    ] = True,
    geo_db: Annotated[str | None, typer.Option(help="With --sink: MMDB file with cities.")] = None,
    transformer: Annotated[
        str, typer.Option(help="With --sink: as for `clickstream process`.")
    ] = "sdk",
    enrichment: Annotated[
        list[str] | None, typer.Option(help="With --sink: as for `clickstream process`.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="sail, spark (needs Java) or a Spark Connect address. Default: the project's, or"
            " sail."
        ),
    ] = None,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    glue_endpoint_url: GlueEndpoint = None,
    kms_key_id: KmsKey = None,
) -> None:
    """Process the bad records of a project again, after a fix.

    What is good by now moves from bad_event to ods_event, and nothing is there twice. The last
    line on standard output is a JSON object of counters. How S3 is reached, the YAML says; with
    --sink the options do.
    """
    from rich.console import Console

    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.processing import replay_command
    from clickstream_dagster.processing.bad_records import Selection
    from clickstream_dagster.processing.plugins import DEFAULT_ENRICHMENTS, PluginChoice
    from clickstream_dagster.processing.settings import BatchSettings

    with plain_errors():
        if (sink is None) != (not app_id):
            raise SettingError(
                "give --sink together with --app-id, or neither for a project of this deployment"
            )
        if sink is None:
            from clickstream_dagster.projects import deployed_project

            found = deployed_project(
                project, ", or its lake with --sink and its apps with --app-id"
            )
            settings, engine = found.batch_settings("replay"), engine or found.local_engine
        else:
            settings = BatchSettings(
                project_id=project,
                s3=S3Access(region, profile, endpoint_url, kms_key_id, glue_endpoint_url),
                app_ids=tuple(app_id or ()),
                sink=sink,
                batch="replay",
                freshness_hours=freshness_hours,
                correct_clocks=correct_clocks,
                geo_database=geo_db,
                transformer=PluginChoice.parse(transformer),
                enrichments=tuple(
                    PluginChoice.parse(text)
                    for text in (DEFAULT_ENRICHMENTS if enrichment is None else enrichment)
                ),
            )
        selection = Selection.of(reason or (), since, until)
        console = Console()
        counts = (
            replay_command.show_preview(settings, selection, console)
            if dry_run
            else replay_command.replay(settings, selection, engine or "sail", console)
        )
    typer.echo(json.dumps(counts))
