"""What somebody has changed past CloudFormation."""

from collections.abc import Collection
from dataclasses import dataclass

from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.outputs import own_stack
from clickstream_dagster.infra.stacks import Stacks


@dataclass(frozen=True)
class Difference:
    """A property that is not as its template says."""

    property: str
    expected: str
    actual: str


@dataclass(frozen=True)
class DriftedResource:
    """A resource that was changed, or deleted."""

    logical_id: str
    type: str
    physical_id: str
    status: str
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class Drift:
    """How far a module's stack is from what was applied; `status` as CloudFormation says it."""

    module: str
    status: str
    resources: tuple[DriftedResource, ...] = ()

    @property
    def in_sync(self) -> bool:
        return self.status == "IN_SYNC" and not self.resources


NOT_THERE = "NOT_APPLIED"


def find_drift(infrastructure: Infrastructure, names: Collection[str] | None = None) -> list[Drift]:
    """Detect the drift of all modules, or of those named, and wait for it.

    CloudFormation knows drift of most types, not of all. A module without a stack has the status
    NOT_APPLIED. Raises StackError if drift can't be detected.
    """
    stacks = Stacks(infrastructure.access)
    return [_of(infrastructure, module.name, stacks) for module in infrastructure.ordered(names)]


def _of(infrastructure: Infrastructure, module: str, stacks: Stacks) -> Drift:
    stack = own_stack(stacks, infrastructure.project_id, module)
    if stack is None or not stack.is_there:
        return Drift(module, NOT_THERE if stack is None else stack.status)
    status, found = stacks.drifts(stack.name)
    resources = tuple(
        DriftedResource(
            one["LogicalResourceId"],
            one["ResourceType"],
            one.get("PhysicalResourceId", ""),
            one["StackResourceDriftStatus"],
            tuple(
                Difference(
                    each["PropertyPath"].strip("/").replace("/", "."),
                    each.get("ExpectedValue", ""),
                    each.get("ActualValue", ""),
                )
                for each in one.get("PropertyDifferences", [])
            ),
        )
        for one in found
    )
    return Drift(module, status, resources)
