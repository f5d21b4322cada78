"""How commands end when something is wrong that the user can mend."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from clickstream_dagster.errors import ClickstreamError


@contextmanager
def plain_errors() -> Iterator[None]:
    """Show a mistake that the user can mend, or an interrupt, without a traceback."""
    try:
        yield
    except ClickstreamError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        typer.echo(
            "Interrupted: nothing half-done is visible, the command can be run again", err=True
        )
        raise typer.Exit(130) from error
