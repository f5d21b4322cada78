"""A project's infrastructure as plain values: its modules, and how its account is reached."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from clickstream_dagster import __version__
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.errors import SettingError
from clickstream_dagster.infra.module import Module
from clickstream_dagster.infra.stacks import MODULE_TAG, PROJECT_TAG, VERSION_TAG

ORDER = (
    *("storage", "sink-kinesis", "sink-kafka", "ingestion", "serverless-ingestion", "arrivals"),
    *("processing", "redshift", "athena", "orchestration", "observability"),
)
"""Modules in order of need, for those whose stacks are there but whose settings are not."""

_LONGEST_STACK_NAME = 128


@dataclass(frozen=True)
class Infrastructure:
    """What `clickstream infra` plans, applies and destroys.

    `access` reaches all of AWS: its region and profile, and with `endpoint_url` every service at
    that address. `artifacts` is the `s3://bucket/prefix` for zipped code and long templates; None
    if no module needs it. `tags` are put on every stack besides the project's own. `precondition`
    looks at the account before anything is planned or applied, and raises InfraError with all that
    is wrong. Raises SettingError for modules that need one that is not there, or that need each
    other.
    """

    project_id: str
    modules: tuple[Module, ...]
    access: S3Access = field(default_factory=S3Access)
    artifacts: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    precondition: Callable[[S3Access], None] | None = field(default=None, compare=False, repr=False)

    def require_account(self) -> None:
        """Raise InfraError unless the account is as the settings need it; reads only."""
        if self.precondition is not None:
            self.precondition(self.access)

    def __post_init__(self) -> None:
        names = [module.name for module in self.modules]
        for module in self.modules:
            if missing := module.needs - set(names):
                raise SettingError(
                    f"the module {module.name} needs {', '.join(sorted(missing))}: write it to "
                    "infra, too"
                )
            self.stack_name(module.name)
        self.ordered()

    def stack_name(self, module: str) -> str:
        """Give the name of a module's stack. Raises SettingError if it is too long for AWS."""
        name = stack_name(self.project_id, module)
        if len(name) > _LONGEST_STACK_NAME:
            raise SettingError(
                f"the stack {name} has a name of {len(name)} characters, AWS takes "
                f"{_LONGEST_STACK_NAME}: use a shorter project_id"
            )
        return name

    def stack_tags(self, module: str) -> dict[str, str]:
        """Give the tags of a module's stack, from which its resources get them."""
        return {
            **self.tags,
            PROJECT_TAG: self.project_id,
            MODULE_TAG: module,
            VERSION_TAG: __version__,
        }

    def module(self, name: str) -> Module:
        """Give a module by name. Raises SettingError if the YAML does not have it."""
        for module in self.modules:
            if module.name == name:
                return module
        known = ", ".join(module.name for module in self.ordered())
        raise SettingError(f"{self.project_id} has no module {name!r}: it has {known or 'none'}")

    def ordered(self, names: Iterable[str] | None = None) -> list[Module]:
        """Give all modules, or those of some names, each after those that it needs."""
        by_name = {module.name: module for module in self.modules}
        chosen = set(by_name) if names is None else {self.module(name).name for name in names}
        sorter = TopologicalSorter({name: by_name[name].needs for name in by_name})
        try:
            sorter.prepare()
        except CycleError as error:
            raise SettingError(
                f"the modules {' → '.join(error.args[1])} need each other"
            ) from error
        found: list[str] = []
        ready: list[str] = []
        while sorter.is_active():
            ready = sorted([*ready, *sorter.get_ready()], key=place_of)
            found.append(ready.pop(0))
            sorter.done(found[-1])
        return [by_name[name] for name in found if name in chosen]

    def dependents(self, name: str) -> set[str]:
        """Give the modules that need one, directly or by way of others."""
        found: set[str] = set()
        new = {name}
        while new:
            new = {module.name for module in self.modules if module.needs & new} - found
            found |= new
        return found


def place_of(module: str) -> tuple[int, str]:
    """Give where a module stands in the usual order; an unknown one is last."""
    return (ORDER.index(module) if module in ORDER else len(ORDER), module)


def stack_name(project_id: str, module: str) -> str:
    """Give the name of the stack of a project's module."""
    return re.sub(r"[^A-Za-z0-9-]", "-", f"Clickstream-{module}-{project_id}")
