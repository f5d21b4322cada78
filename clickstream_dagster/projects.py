"""The projects of this deployment, by id: what their YAML says, without running anything."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yaml import YAMLError

from clickstream_dagster import deployment
from clickstream_dagster.errors import SettingError

if TYPE_CHECKING:
    from clickstream_dagster.assets.project import Project
    from clickstream_dagster.components import ClickstreamProject
    from clickstream_dagster.infra.infrastructure import Infrastructure

_COMPONENT = re.compile(r"Error while loading component (.+?)(?:\[\d+\])?:")
# What pydantic names between keys: models, and which type of several it tried.
_MODEL = re.compile(
    r"\.[A-Z]\w*Model\b|\.(function-after\[.+\]|str|int|float|bool|list\[\w+\])(?= at )"
)
_PREFIX = "Value error, "  # of pydantic
_OR_OPTIONS = ", or say all with --sink and --app-id"


def deployed_project(project_id: str, otherwise: str = "") -> "Project":
    """Give the project with an id.

    Raises SettingError when no YAML below `defs/` has it, or one of them is wrong; `otherwise` is
    what else may be written.
    """
    return _component(project_id, otherwise).project(deployment.root())


@dataclass(frozen=True)
class DeployedInfrastructure:
    """What a project's YAML says of its stacks. `hours_between_runs` is the length of a window."""

    infrastructure: "Infrastructure"
    hours_between_runs: float


def deployed_infrastructure(project_id: str) -> DeployedInfrastructure:
    """Give the infrastructure of the project with an id; without modules if its YAML has none.

    Makes no call to AWS. Raises SettingError as `deployed_project` does.
    """
    from clickstream_dagster.components.infra_pipeline import aws_access, shortest_minutes
    from clickstream_dagster.infra.infrastructure import Infrastructure

    component = _component(project_id)
    # Stacks of a block that was taken out of the YAML can still be taken away.
    none = Infrastructure(project_id, (), aws_access(component))
    return DeployedInfrastructure(
        component.infrastructure() or none, shortest_minutes(component.partitions()) / 60
    )


def _component(project_id: str, otherwise: str = "") -> "ClickstreamProject":
    import dagster as dg
    from dagster.components.core.component_tree import ComponentTreeException
    from dagster_shared.check import CheckError
    from pydantic import ValidationError

    from clickstream_dagster import defs
    from clickstream_dagster.components import ClickstreamProject

    folder = Path(defs.__path__[0])
    tree = dg.ComponentTree.from_module(defs_module=defs, project_root=deployment.root())
    try:
        components = tree.get_all_components(ClickstreamProject)
    except (ComponentTreeException, YAMLError, ValidationError) as error:
        raise SettingError(_fault(error, folder)) from error
    except (CheckError, dg.DagsterError) as error:
        # A file without a component, or of a type that there is not: Dagster names no file.
        raise SettingError(f"a YAML below {folder} can't be loaded: {error}") from error
    found = [one for one in components if one.project_id == project_id]
    if not found:
        there = ", ".join(sorted({one.project_id for one in components}))
        raise SettingError(
            f"no project {project_id!r} is deployed here ({there or 'none is'});"
            f" name one of these{otherwise}"
        )
    if len(found) > 1:
        raise SettingError(
            f"{len(found)} projects below {folder} have the project_id {project_id!r}: give each"
            " one of its own"
        )
    return found[0]


def following(project_id: str) -> "Callable[[], Project]":
    """Give a function that gives the project as its YAML is at each call.

    The YAML is read when a file below `defs/` has changed. Raises SettingError, here and at a
    call, when the project is not there or a YAML is wrong.
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
            seen = (changed, deployed_project(project_id, _OR_OPTIONS))
        return seen[1]

    project()
    return project


def _fault(error: Exception, folder: Path) -> str:
    """Give what Dagster says about a YAML: its file, the key, and what is wrong with it."""
    from dagster.components.resolved.errors import ResolutionException
    from pydantic import ValidationError

    named = _COMPONENT.match(str(error))
    where = f"{folder / named[1] / 'defs.yaml'}: " if named else ""
    cause: BaseException = error
    while not isinstance(cause, ValidationError) and (
        inner := cause.__cause__ or cause.__context__
    ):
        cause = inner
        if isinstance(cause, ResolutionException):
            where = f"{str(cause).splitlines()[0]}: "  # with the line and the key
    if not isinstance(cause, ValidationError):
        return f"{where}{cause}"
    errors = cause.errors()
    # Each key may also be a template: Dagster complains, too, that what is written is no text.
    telling = [one for one in errors if one["type"] != "string_type"] or errors[:1]
    faults = dict.fromkeys(
        ": ".join([*filter(None, [_key(one["loc"])]), _message(one["type"], one["msg"])])
        for one in telling
    )
    return where + "; ".join(faults)


def _message(kind: str, told: str) -> str:
    remedy = ": correct its name, or leave it out" if kind == "extra_forbidden" else ""
    return told.removeprefix(_PREFIX) + remedy


def _key(location: tuple[int | str, ...]) -> str:
    """Give the place of a key in a YAML, without models and types that pydantic names between."""
    return _MODEL.sub("", ".".join(str(part) for part in location))
