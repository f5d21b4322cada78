"""The options of the commands that build models, whatever the warehouse."""

from pathlib import Path
from typing import Annotated

import typer

CheckEverything = Annotated[
    bool,
    typer.Option(
        "--check-everything",
        help="Test the whole history, not only the days of the last load.",
    ),
]
DefinitionsFile = Annotated[
    Path | None,
    typer.Option(
        envvar="CLICKSTREAM_DEFINITIONS",
        help="YAML file of definitions, with the keys of a project's block `definitions`.",
    ),
]
