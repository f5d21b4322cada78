"""What an apply would do: each module's change set, read and thrown away."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Literal

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.errors import InfraError
from clickstream_dagster.infra.application import application_at_work, changes_application
from clickstream_dagster.infra.changes import (
    ParameterChange,
    ResourceChange,
    parameter_changes,
    policies,
    read_changes,
)
from clickstream_dagster.infra.infrastructure import Infrastructure, place_of
from clickstream_dagster.infra.inputs import Inputs, inputs_of, require_fixed, store_of
from clickstream_dagster.infra.intrinsics import UNKNOWN, Values
from clickstream_dagster.infra.lock import ProjectLock
from clickstream_dagster.infra.outputs import own_stack
from clickstream_dagster.infra.stacks import VERSION_TAG, Stack, StackError, Stacks
from clickstream_dagster.infra.template import parse

State = Literal["new", "changed", "unchanged", "failed", "at work", "removed"]

FAILED_CREATION = ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")
"""States of a stack that can only be deleted."""


@dataclass(frozen=True)
class ModulePlan:
    """What an apply would do to a module's stack, and what else is to be known of it.

    `not_now` tells why it can't be done at this moment, and what to do.
    """

    module: str
    stack: str
    state: State
    resources: tuple[ResourceChange, ...] = ()
    parameters: tuple[ParameterChange, ...] = ()
    notes: tuple[str, ...] = ()
    not_now: str | None = None

    @property
    def losses(self) -> tuple[str, ...]:
        """Resources that hold data and that it would take away, as `module.LogicalId`."""
        return tuple(f"{self.module}.{one.logical_id}" for one in self.resources if one.loses_state)


@dataclass(frozen=True)
class Plan:
    """What an apply would do to a project."""

    project_id: str
    modules: tuple[ModulePlan, ...] = field(default_factory=tuple)

    @property
    def has_changes(self) -> bool:
        return any(module.state != "unchanged" for module in self.modules)

    def refused(self, allowed: Collection[str]) -> tuple[str, ...]:
        """Give the losses that nobody has allowed by name."""
        return tuple(
            loss
            for module in self.modules
            if module.state != "removed"
            for loss in module.losses
            if loss not in allowed
        )


def make_plan(infrastructure: Infrastructure, names: Collection[str] | None = None) -> Plan:
    """Plan all modules of a project, or those named. Nothing is left behind in AWS,
    but a long template in S3.

    Raises InfraError for an account that is not as the settings need it, SettingError for a
    parameter that can't change, LockError while another one changes the project, StackError for
    what CloudFormation refuses.
    """
    modules = infrastructure.ordered(names)
    infrastructure.require_account()
    stacks = Stacks(infrastructure.access)
    there = stacks.of_project(infrastructure.project_id)
    found = [inputs_of(infrastructure, module, there) for module in modules]
    for inputs in found:
        require_fixed(inputs, there.get(inputs.module.name))
    with ExitStack() as exits:
        if found:
            # A change set of a new stack leaves an empty stack for a moment.
            exits.enter_context(
                ProjectLock(infrastructure.project_id, infrastructure.access).held("plan")
            )
        plans = [plan_module(infrastructure, stacks, inputs, there) for inputs in found]
    removed = [] if names is not None else _removed(infrastructure, stacks, there)
    return Plan(infrastructure.project_id, (*plans, *removed))


def plan_module(
    infrastructure: Infrastructure, stacks: Stacks, inputs: Inputs, there: Mapping[str, Stack]
) -> ModulePlan:
    """Plan a module of a project whose lock is held, with the stacks that are there.

    Raises InfraError where it may not look, StackError for what CloudFormation refuses.
    """
    name = inputs.module.name
    stack = there.get(name) or own_stack(stacks, infrastructure.project_id, name)
    planned = ModulePlan(name, infrastructure.stack_name(name), "changed")
    if stack is None or stack.status == "REVIEW_IN_PROGRESS":
        return _new(infrastructure, stacks, inputs, planned)
    if stack.at_work:
        note = f"it is {stack.status}: apply waits for its end"
        return replace(planned, state="at work", notes=(note,))
    if stack.status in FAILED_CREATION:
        note = f"it is {stack.status}: apply deletes it and creates it again"
        return replace(
            planned, state="failed", resources=_of_template(inputs), notes=(note, *_notes(inputs))
        )
    if not stack.is_there:
        note = f"it is {stack.status}: apply continues its rollback before anything else"
        return replace(planned, state="failed", notes=(note,))
    return _existing(infrastructure, stacks, inputs, stack, planned)


def _new(
    infrastructure: Infrastructure, stacks: Stacks, inputs: Inputs, planned: ModulePlan
) -> ModulePlan:
    planned = replace(planned, state="new", notes=_notes(inputs))
    if inputs.unknown or inputs.is_long:
        return replace(planned, resources=_of_template(inputs))
    tags = infrastructure.stack_tags(inputs.module.name)
    body = {"TemplateBody": inputs.text}
    try:
        made = stacks.prepare(planned.stack, body, inputs.arguments(), tags, new=True)
        if made.changes is not None:
            stacks.discard(made.id)
    finally:
        _clear_empty(stacks, planned.stack)
    return replace(planned, resources=read_changes(made.changes or (), policies(inputs.template)))


def _clear_empty(stacks: Stacks, name: str) -> None:
    """Delete the empty stack that a change set of a new stack leaves."""
    left = stacks.find(name)
    if left is not None and left.status == "REVIEW_IN_PROGRESS":
        stacks.delete(left, lambda event: None)


def _existing(
    infrastructure: Infrastructure,
    stacks: Stacks,
    inputs: Inputs,
    stack: Stack,
    planned: ModulePlan,
) -> ModulePlan:
    notes = _notes(inputs)
    declared = inputs.template.get("Parameters", {})
    added = [
        name
        for name in inputs.unknown
        if name not in stack.parameters and "Default" not in declared[name]
    ]
    if added:
        note = f"what changes is told once {', '.join(added)} is known"
        return replace(planned, notes=(*notes, note))
    tags = infrastructure.stack_tags(inputs.module.name)
    arguments = [
        one
        for one in inputs.arguments()
        if "ParameterValue" in one or one["ParameterKey"] in stack.parameters
    ]
    body = inputs.body(store_of(infrastructure), stacks.region)
    made = stacks.prepare(stack.name, body, arguments, tags, new=False)
    if made.changes is None:
        return replace(planned, state="unchanged", notes=notes)
    stacks.discard(made.id)
    before, after = stack.tags.get(VERSION_TAG), tags[VERSION_TAG]
    if before != after:
        notes = (*notes, f"templates of version {before} become those of {after}")
    said = policies(parse(stacks.template(stack.id), stack.name), inputs.template)
    known = {name: value for name, value in inputs.parameters.items() if value is not UNKNOWN}
    changes = read_changes(made.changes, said)
    return replace(
        planned,
        resources=changes,
        parameters=parameter_changes(
            stack.parameters,
            {name: stack.parameters.get(name) for name in inputs.unknown} | known,
            inputs.template,
        ),
        notes=notes,
        not_now=why_not_now(changes, stack, stacks, infrastructure.access),
    )


def why_not_now(
    changes: Iterable[ResourceChange], stack: Stack, stacks: Stacks, access: S3Access
) -> str | None:
    """Tell why changes of a stack can't be made at this moment, and what to do; None if they can.

    Raises InfraError where it may not look.
    """
    return application_at_work(stack, stacks, access) if changes_application(changes) else None


def _notes(inputs: Inputs) -> tuple[str, ...]:
    if not inputs.unknown:
        return ()
    return (f"known after apply: {', '.join(inputs.unknown)}",)


def _of_template(inputs: Inputs) -> tuple[ResourceChange, ...]:
    """Give the resources that a new stack gets, as far as its conditions can be told."""
    values = Values(inputs.template, inputs.parameters)
    return tuple(
        ResourceChange(
            "add",
            name,
            resource["Type"],
            note=(
                f"if {resource['Condition']}"
                if values.condition(resource.get("Condition")) is UNKNOWN
                else ""
            ),
        )
        for name, resource in values.resources().items()
    )


def _removed(
    infrastructure: Infrastructure, stacks: Stacks, there: Mapping[str, Stack]
) -> Iterable[ModulePlan]:
    """Give the stacks that are there and that the settings no longer name, last needed first."""
    named = {module.name for module in infrastructure.modules}
    for name in sorted(set(there) - named, key=place_of, reverse=True):
        stack = there[name]
        if stack.status == "REVIEW_IN_PROGRESS":  # nothing was made, and there is no template
            yield ModulePlan(name, stack.name, "removed")
            continue
        said = policies(parse(stacks.template(stack.id), stack.name))
        changes = [
            {
                "Action": "Remove",
                "LogicalResourceId": one["LogicalResourceId"],
                "PhysicalResourceId": one.get("PhysicalResourceId"),
                "ResourceType": one["ResourceType"],
            }
            for one in stacks.resources(stack.id)
        ]
        yield ModulePlan(name, stack.name, "removed", read_changes(changes, said))


def require_allowed(plan: Plan, allowed: Collection[str]) -> None:
    """Raise StackError if data would be lost that nobody has given up by name."""
    if refused := plan.refused(allowed):
        options = " ".join(f"--allow-loss {one}" for one in refused)
        raise StackError(
            f"refused: {', '.join(refused)} would be deleted or replaced, and what it holds would "
            f"be gone or left behind. Change the settings back, or say it by name: {options}"
        )


def require_possible(plans: Iterable[ModulePlan]) -> None:
    """Raise InfraError with all that can't be done at this moment."""
    if refused := [plan.not_now for plan in plans if plan.not_now is not None]:
        raise InfraError("\n".join(refused))
