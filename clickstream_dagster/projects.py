"""The projects of this deployment, by id: what their YAML says, without running anything."""

from typing import TYPE_CHECKING

from clickstream_dagster import deployment
from clickstream_dagster.errors import SettingError

if TYPE_CHECKING:
    from clickstream_dagster.assets.project import Project


def deployed_project(project_id: str) -> "Project":
    """Give the project with an id. Raises SettingError when no YAML below `defs/` has it."""
    import dagster as dg

    from clickstream_dagster import defs
    from clickstream_dagster.components import ClickstreamProject

    tree = dg.ComponentTree.from_module(defs_module=defs, project_root=deployment.root())
    found = {one.project_id: one for one in tree.get_all_components(ClickstreamProject)}
    if project_id not in found:
        raise SettingError(
            f"no project {project_id!r} is deployed here ({', '.join(sorted(found)) or 'none is'});"
            " name one of these, or its lake with --sink and its apps with --app-id"
        )
    return found[project_id].project(deployment.root())
