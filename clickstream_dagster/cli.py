"""The `clickstream` command: thin, every command calls into the room that does the work."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="clickstream",
    help="Collect, process, model and report behaviour events.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def main() -> None:
    """Collect, process, model and report behaviour events."""
