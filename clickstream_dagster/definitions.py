"""The code location: every project below `defs/`, run in the process of the run."""

import warnings

import dagster as dg

from clickstream_dagster import defs as projects
from clickstream_dagster import deployment


@dg.definitions
def defs() -> dg.Definitions:
    """Load the projects. In one process a batch has one engine start, and no step starts Python."""
    return dg.Definitions.merge(_load(), dg.Definitions(executor=dg.in_process_executor))


def _load() -> dg.Definitions:
    root = deployment.root()
    if root == deployment.checkout():
        return dg.load_from_defs_folder(path_within_project=root)
    with warnings.catch_warnings():
        # As load_from_defs_folder does: previews of Dagster are not the user's concern.
        for category in (dg.BetaWarning, dg.PreviewWarning):
            warnings.simplefilter("ignore", category)
        return dg.ComponentTree.from_module(defs_module=projects, project_root=root).build_defs()
