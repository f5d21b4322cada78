"""The `clickstream` command: thin, every command calls into the room that does the work."""

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from clickstream_dagster.athena_commands import athena_app
from clickstream_dagster.collector_command import collector
from clickstream_dagster.infra_commands import infra_app
from clickstream_dagster.model_options import CheckEverything, DefinitionsFile
from clickstream_dagster.package_commands import package_app
from clickstream_dagster.plain_errors import plain_errors
from clickstream_dagster.plugin_commands import geo_app, plugin_app
from clickstream_dagster.redshift_commands import redshift_app
from clickstream_dagster.replay_command import replay
from clickstream_dagster.s3_options import Endpoint, GlueEndpoint, KmsKey, Profile, Region
from clickstream_dagster.sdk_config_command import sdk_config
from clickstream_dagster.tuning import collect_rarely

app = typer.Typer(
    name="clickstream",
    help="Collect, process, model and report behaviour events.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

app.add_typer(plugin_app, name="plugin")
app.add_typer(geo_app, name="geo")
app.add_typer(package_app, name="package")
app.add_typer(athena_app, name="athena")
app.add_typer(redshift_app, name="redshift")
app.add_typer(infra_app, name="infra")
app.command()(replay)
app.command()(collector)
app.command()(sdk_config)


@app.callback()
def main() -> None:
    """Collect, process, model and report behaviour events."""
    collect_rarely()


@app.command()
def generate(
    out: Annotated[
        Path | None, typer.Option(help="Directory for raw files, as the collector's sink has them.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Collector to post to, e.g. http://localhost:8088/collect.")
    ] = None,
    events: Annotated[
        int, typer.Option(help="Distinct events; retries and broken bodies come on top.")
    ] = 200_000,
    days: Annotated[int, typer.Option(help="Days of traffic up to --end.")] = 7,
    seed: Annotated[int, typer.Option(help="Another seed, other traffic.")] = 1,
    project_id: Annotated[
        str, typer.Option(help="Names the shop: its web site and its app package.")
    ] = "demo",
    app_id: Annotated[
        list[str] | None,
        typer.Option(
            help="App that sends; repeat for more. With web, android, ios or mobile in its id it "
            "sends from there only. Default: demo_web and demo_mobile."
        ),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
            help="UTC time at which the traffic ends. Default: 2026-01-08 for --out, "
            "now for --endpoint.",
        ),
    ] = None,
    clean: Annotated[bool, typer.Option("--clean", help="Leave the trouble out.")] = False,
) -> None:
    """Make realistic traffic of a shop's web site and apps, as the SDKs send it.

    Part of it is in trouble: 1 % of the events are sent twice, 1 % come 2 to 48 hours late and
    0.1 % later than 72 hours, 0.2 % have a wrong clock, 1 % are from bots, 0.1 % name a foreign
    app; 0.1 % of the requests have a broken body.

    The same options make the same files, byte by byte; a second run replaces them with
    themselves. Other options need a directory of their own.
    """
    from rich.console import Console

    from clickstream_dagster.sample import command
    from clickstream_dagster.sample.plan import (
        CLEAN,
        DEFAULT_APPS,
        DEFAULT_END,
        PlanError,
        TrafficPlan,
        TroubleShares,
    )
    from clickstream_dagster.sample.poster import PostError
    from clickstream_dagster.sample.writer import OutputError

    if (out is None) == (endpoint is None):
        raise typer.BadParameter("give either --out or --endpoint")
    if out is not None and out.exists() and not out.is_dir():
        raise typer.BadParameter(f"--out {out} is a file, a directory is needed")
    default_end = DEFAULT_END if endpoint is None else datetime.now(UTC)
    try:
        plan = TrafficPlan(
            events=events,
            days=days,
            seed=seed,
            project_id=project_id,
            app_ids=tuple(app_id or DEFAULT_APPS),
            end=end.replace(tzinfo=UTC) if end else default_end,
            shares=CLEAN if clean else TroubleShares(),
        )
    except PlanError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        if endpoint is not None:
            summary = command.generate_posts(plan, endpoint)
        else:
            summary = command.generate_files(plan, out)
    except (OutputError, PostError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    Console().print(command.summary_table(summary, f"Traffic in {out or endpoint}"))


@app.command()
def process(
    source: Annotated[
        str, typer.Option(help="Directory or s3:// prefix with raw objects, read as one batch.")
    ],
    sink: Annotated[
        str,
        typer.Option(
            help="Lake: a directory with an Iceberg catalog of its own, or s3://bucket/prefix with"
            " AWS Glue as the catalog."
        ),
    ],
    project_id: Annotated[str, typer.Option(help="Project whose tables are written.")],
    app_id: Annotated[list[str], typer.Option(help="App whose events are taken; repeat for more.")],
    batch: Annotated[
        str | None,
        typer.Option(
            help="Name of the batch; a second run under the same name replaces the first."
            " Default: a name made from the raw objects."
        ),
    ] = None,
    freshness_hours: Annotated[
        int, typer.Option(help="Drop events that arrive so many hours after they happened.")
    ] = 72,
    correct_clocks: Annotated[
        bool,
        typer.Option(help="Shift the events of clocks that are more than 10 minutes off."),
    ] = True,
    geo_db: Annotated[
        str | None, typer.Option(help="MMDB file with cities, for the place of addresses.")
    ] = None,
    transformer: Annotated[
        str,
        typer.Option(
            help="Turns requests into events: a plug-in's name or module:Class, with a config as"
            " for --enrichment."
        ),
    ] = "sdk",
    enrichment: Annotated[
        list[str] | None,
        typer.Option(
            help="Changes events, repeat for more, in this order: NAME or module:Class, with a"
            ' config as NAME={"key": "value"} or NAME=@FILE.yaml. Default: '
            "ua, ip."
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="sail, spark (needs Java) or a Spark Connect address.")
    ] = "sail",
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    glue_endpoint_url: GlueEndpoint = None,
    kms_key_id: KmsKey = None,
) -> None:
    """Process raw objects into the lake tables ods_event and bad_event, as one batch.

    The last line on standard output is a JSON object of counters.
    """
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.processing.command import process_source
    from clickstream_dagster.processing.plugins import DEFAULT_ENRICHMENTS, PluginChoice
    from clickstream_dagster.processing.settings import BatchSettings

    with plain_errors():
        settings = partial(
            BatchSettings,
            project_id=project_id,
            app_ids=tuple(app_id),
            sink=sink,
            freshness_hours=freshness_hours,
            correct_clocks=correct_clocks,
            geo_database=geo_db,
            transformer=PluginChoice.parse(transformer),
            enrichments=tuple(
                PluginChoice.parse(text)
                for text in (DEFAULT_ENRICHMENTS if enrichment is None else enrichment)
            ),
            s3=S3Access(region, profile, endpoint_url, kms_key_id, glue_endpoint_url),
        )
        counters = process_source(source, batch, settings, engine)
    typer.echo(json.dumps(counters.as_dict()))


@app.command()
def maintain(
    sink: Annotated[str, typer.Option(help="Lake that `process` wrote to.")],
    project_id: Annotated[str, typer.Option(help="Project in the lake.")],
    target_mb: Annotated[
        int, typer.Option(help="Size of compacted files; files below half of it are compacted.")
    ] = 256,
    max_gb: Annotated[
        float, typer.Option(help="Most that one run compacts of a table, worst partitions first.")
    ] = 10.0,
    keep_snapshots_days: Annotated[
        int, typer.Option(help="Days for which a snapshot can be read after its replacement.")
    ] = 7,
    keep_last: Annotated[
        int, typer.Option(help="Snapshots that are kept however old they are.")
    ] = 1,
    orphans_older_than_hours: Annotated[
        int, typer.Option(help="Age above which files that no snapshot needs are removed.")
    ] = 72,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be done.")
    ] = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    glue_endpoint_url: GlueEndpoint = None,
    kms_key_id: KmsKey = None,
) -> None:
    """Compact small files of the lake, expire old snapshots, remove files that nothing needs.

    Batches can go on meanwhile. The last line on standard output is a JSON object of counters.
    """
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.processing.maintenance import MaintenanceSettings
    from clickstream_dagster.processing.maintenance_command import maintain_lake

    with plain_errors():
        settings = MaintenanceSettings(
            target_mb=target_mb,
            keep_snapshots_days=keep_snapshots_days,
            keep_last=keep_last,
            orphans_after_hours=orphans_older_than_hours,
            max_gb=max_gb,
        )
        s3 = S3Access(region, profile, endpoint_url, kms_key_id, glue_endpoint_url)
        report = maintain_lake(sink, project_id, s3, settings, dry_run=dry_run)
    typer.echo(json.dumps(report.counters()))


@app.command()
def model(
    sink: Annotated[str, typer.Option(help="Lake that `process` wrote to.")],
    project_id: Annotated[str, typer.Option(help="Project in the lake.")],
    warehouse: Annotated[Path, typer.Option(help="DuckDB file; made if it is not there.")],
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Build every model again from the whole lake.")
    ] = False,
    check_everything: CheckEverything = False,
    definitions: DefinitionsFile = None,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    glue_endpoint_url: GlueEndpoint = None,
) -> None:
    """Build and test the dbt models: the ten views in the schema named after the project."""
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.resources.dbt import Warehouse, build_models
    from clickstream_dagster.resources.definitions import Definitions, read_definitions

    with plain_errors():
        s3 = S3Access(region, profile, endpoint_url, glue_endpoint_url=glue_endpoint_url)
        chosen = read_definitions(definitions) if definitions else Definitions()
        place = Warehouse(sink, project_id, warehouse, s3, chosen, check_everything)
        build_models(place, full_refresh=full_refresh)


@app.command()
def docs(
    sink: Annotated[str, typer.Option(help="Lake of the warehouse.")] = "data/demo/lake",
    project_id: Annotated[str, typer.Option(help="Project in the lake.")] = "demo",
    warehouse: Annotated[Path, typer.Option(help="DuckDB file with the models.")] = Path(
        "data/demo/warehouse.duckdb"
    ),
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("data/docs/models.html"),
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    glue_endpoint_url: GlueEndpoint = None,
) -> None:
    """Write the documentation of the models (dbt docs) as one HTML page."""
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.resources.dbt import Warehouse, build_docs

    with plain_errors():
        s3 = S3Access(region, profile, endpoint_url, glue_endpoint_url=glue_endpoint_url)
        build_docs(Warehouse(sink, project_id, warehouse, s3), out)
    typer.echo(f"wrote {out}")


@app.command()
def demo(
    live: Annotated[
        bool, typer.Option("--live", help="Run the pipeline in real time until Ctrl-C.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="With --live: port of the collector.")
    ] = 8088,
) -> None:
    """Run a week of generated traffic through the whole pipeline, and show what comes out.

    Running it again changes nothing; after an interrupt it goes on. With --live a collector takes
    a shop's traffic as it happens, and what is sent to it is in the views within a minute.
    """
    from clickstream_dagster.demo.progress import own_console

    with plain_errors():
        if live:
            from clickstream_dagster.demo.live import run_live

            run_live(own_console(), port)
        else:
            from clickstream_dagster.demo.run import run_demo

            run_demo(own_console())


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the UI.")] = 3000,
) -> None:
    """Open Dagster (UI and daemon) on this deployment; stop it with Ctrl-C."""
    from clickstream_dagster.ui import open_ui

    with plain_errors():
        open_ui(host, port)


@app.command()
def backfill(
    project: Annotated[str, typer.Argument(help="Project whose windows are processed.")],
    first: Annotated[str, typer.Option("--from", help="First window: a date, or a partition.")],
    last: Annotated[str, typer.Option("--to", help="Last window, included.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end.")] = False,
    url: Annotated[str, typer.Option(help="Address of the Dagster that runs it.")] = (
        "http://127.0.0.1:3000"
    ),
) -> None:
    """Process a range of windows again, in one run of a Dagster that is up."""
    from clickstream_dagster.backfill import start_backfill, wait_for

    with plain_errors():
        started = start_backfill(url, project, first, last)
        typer.echo(
            f"backfill {started.id}: {len(started.windows)} windows, "
            f"{started.windows[0]} to {started.windows[-1]}"
        )
        if wait:
            wait_for(url, started, typer.echo)
