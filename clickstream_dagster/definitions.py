"""The code location: every project below `defs/`, run in the process of the run."""

import warnings
from pathlib import Path

import dagster as dg

from clickstream_dagster import defs as projects
from clickstream_dagster import deployment


@dg.definitions
def defs() -> dg.Definitions:
    """Load the projects. In one process a batch has one engine start, and no step starts Python."""
    tree = dg.ComponentTree.from_module(defs_module=projects, project_root=deployment.root())
    with warnings.catch_warnings():
        # As load_from_defs_folder does: previews of Dagster are not the user's concern.
        for category in (dg.BetaWarning, dg.PreviewWarning):
            warnings.simplefilter("ignore", category)
        # The folder, not the root of the tree: the root imports every library that registers
        # components and describes their settings as JSON, twice the time of all the rest.
        found = tree.build_defs(Path(projects.__file__).parent)
    return dg.Definitions.merge(
        found, dg.Definitions(executor=dg.in_process_executor, component_tree=tree)
    )
