"""The projects of this deployment, by id: what their YAML says, without running anything."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clickstream_dagster import deployment
from clickstream_dagster.errors import SettingError

if TYPE_CHECKING:
    from clickstream_dagster.assets.project import Project

_OR_APPS = ", or the apps with --app-id"


def deployed_project(project_id: str, otherwise: str = "") -> "Project":
    """Give the project with an id.

    Raises SettingError when no YAML below `defs/` has it; `otherwise` is what else may be written.
    """
    import dagster as dg

    from clickstream_dagster import defs
    from clickstream_dagster.components import ClickstreamProject

    tree = dg.ComponentTree.from_module(defs_module=defs, project_root=deployment.root())
    found = {one.project_id: one for one in tree.get_all_components(ClickstreamProject)}
    if project_id not in found:
        raise SettingError(
            f"no project {project_id!r} is deployed here ({', '.join(sorted(found)) or 'none is'});"
            f" name one of these{otherwise}"
        )
    return found[project_id].project(deployment.root())


def following(project_id: str) -> "Callable[[], Project]":
    """Give a function that gives the project as its YAML is at each call.

    The YAML is read when a file below `defs/` has changed. Raises SettingError, here and at a
    call, when the project is not there; Dagster's errors when a YAML can't be read.
    """
    from clickstream_dagster import defs

    folders = [Path(path) for path in defs.__path__]
    seen: tuple[float, Project] | None = None

    def project() -> "Project":
        nonlocal seen
        changed = max(
            (file.stat().st_mtime for folder in folders for file in folder.rglob("*.yaml")),
            default=0.0,
        )
        if seen is None or seen[0] != changed:
            seen = (changed, deployed_project(project_id, _OR_APPS))
        return seen[1]

    project()
    return project
