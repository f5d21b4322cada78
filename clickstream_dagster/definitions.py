"""The code location: every project below `defs/`, run in the process of the run."""

from pathlib import Path

import dagster as dg

from clickstream_dagster import defs as projects


@dg.definitions
def defs() -> dg.Definitions:
    """Load the projects. In one process a batch has one engine start, and no step starts Python."""
    return dg.Definitions.merge(_load(), dg.Definitions(executor=dg.in_process_executor))


def _load() -> dg.Definitions:
    package = Path(__file__).resolve().parent
    if (package.parent / "pyproject.toml").is_file():
        return dg.load_from_defs_folder(path_within_project=package)
    # Installed: relative paths are taken from the directory that the process is started in.
    return dg.ComponentTree.from_module(defs_module=projects, project_root=Path.cwd()).build_defs()
