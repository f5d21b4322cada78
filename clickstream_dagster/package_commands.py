"""`clickstream package …`: what runs elsewhere, put where it is started from."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clickstream_dagster.plain_errors import plain_errors

if TYPE_CHECKING:
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.processing.plugins import PluginChoice

package_app = typer.Typer(
    help="Build what runs elsewhere and put it where it is started from.", no_args_is_help=True
)


@package_app.callback()
def main() -> None:
    """Build what runs elsewhere and put it where it is started from."""


@package_app.command("emr")
def emr(
    project: Annotated[
        Path | None,
        typer.Argument(
            help="The project's defs.yaml or its folder: names the artifacts, plug-ins and files."
            " Without it the built-in plug-ins are packaged.",
        ),
    ] = None,
    artifacts: Annotated[
        str | None,
        typer.Option(help="s3://bucket/prefix that gets the package. Default: the project's."),
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Dagster project, from which relative paths of the YAML start.")
    ] = Path("."),
    architecture: Annotated[
        str, typer.Option(help="Of the application: x86_64 or arm64.")
    ] = "x86_64",
    python: Annotated[
        Path | None,
        typer.Option(
            help="Directory or executable of a standalone Python for that architecture. Default:"
            " one that uv downloads."
        ),
    ] = None,
    python_version: Annotated[
        str, typer.Option(help="Version of the Python that uv downloads.")
    ] = "3.11",
    glibc: Annotated[
        str, typer.Option(help="Version of glibc on the workers; another one for an own image.")
    ] = "2.34",
) -> None:
    """Package processing for EMR Serverless and put it to S3.

    The same inputs make the same package, which is put once. Prints its URIs; the newest package
    is the one that job runs start from, unless emr_serverless.package names another.
    """
    from clickstream_dagster.emr.package import ARCHITECTURES

    if architecture not in ARCHITECTURES:
        raise typer.BadParameter(
            f"{architecture!r}: write {' or '.join(ARCHITECTURES)}", param_hint="--architecture"
        )
    if project is None and artifacts is None:
        raise typer.BadParameter("give a PROJECT, or --artifacts s3://bucket/prefix, or both")
    with plain_errors():
        _package(project, artifacts, root, architecture, python, python_version, glibc)


def _package(
    project: Path | None,
    artifacts: str | None,
    root: Path,
    architecture: str,
    python: Path | None,
    python_version: str,
    glibc: str,
) -> None:
    import tempfile

    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.emr import package as building
    from clickstream_dagster.emr.artifacts import Artifacts
    from clickstream_dagster.errors import SettingError

    plugins, files, s3, address = (), {}, S3Access(), None
    if project is not None:
        plugins, files, s3, address = _of_project(project, root.resolve())
    place = artifacts or address
    if place is None:
        raise SettingError(f"{project} has no emr_serverless.artifacts: write it, or --artifacts")
    target = Artifacts(place, s3)
    contents = building.Contents(
        plugins=plugins,
        files=files,
        architecture=architecture,
        python=python,
        python_version=python_version,
        glibc=glibc,
    )
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory, "environment.tar.gz")
        version = building.build_archive(
            contents, archive, lambda message: typer.echo(message, err=True)
        )
        size = archive.stat().st_size / 1e6
        entry_point = Path(building.__file__).with_name("entry_point.py")
        about = {"architecture": architecture, "python": version}
        package, is_new = target.put(archive, entry_point, about)
    typer.echo(
        f"package {package.digest}: {'put' if is_new else 'was there already'}, {size:.0f} MB"
    )
    typer.echo(f"archive: {package.archive}")
    typer.echo(f"entry point: {package.entry_point}")


def _of_project(
    project: Path, root: Path
) -> "tuple[Sequence[PluginChoice], dict[str, Path], S3Access, str | None]":
    """Give the plug-ins, the files they read, the access to S3 and the artifacts of a project."""
    import yaml

    from clickstream_dagster.components import ClickstreamProject
    from clickstream_dagster.errors import SettingError
    from clickstream_dagster.resources.emr_serverless import GEO_FOLDER

    file = project / "defs.yaml" if project.is_dir() else project
    if not file.exists():
        raise SettingError(f"there is no {file}: name the project's defs.yaml or its folder")
    try:
        attributes = yaml.safe_load(file.read_text())["attributes"]
        component = ClickstreamProject.from_attributes_dict(attributes=attributes)
    except Exception as error:  # of YAML, Dagster and pydantic; each names the place
        raise SettingError(f"{file} can't be loaded: {error}") from error
    found = component.project(root)
    block = component.emr_serverless
    files = {place: root / place for place in (block.files if block else ())}
    if found.geo_database:
        geo = Path(found.geo_database)
        files[f"{GEO_FOLDER}/{geo.name}"] = geo
    plugins = (found.transformer, *found.enrichments)
    return plugins, files, found.s3, block.artifacts if block else None
