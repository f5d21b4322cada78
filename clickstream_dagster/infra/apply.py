"""Makes the stacks as the settings say, one after the other; can be run again at any moment."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from clickstream_dagster.errors import InfraError
from clickstream_dagster.infra.application import application_at_work
from clickstream_dagster.infra.changes import RETAINING, policies, read_changes
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.inputs import (
    inputs_of,
    require_fixed,
    require_known,
    store_of,
)
from clickstream_dagster.infra.lock import ProjectLock
from clickstream_dagster.infra.module import Module
from clickstream_dagster.infra.outputs import forget_outputs, own_stack
from clickstream_dagster.infra.plan import (
    FAILED_CREATION,
    ModulePlan,
    Plan,
    plan_module,
    require_allowed,
    require_possible,
    why_not_now,
)
from clickstream_dagster.infra.stacks import Event, Stack, StackError, Stacks
from clickstream_dagster.infra.template import parse

Outcome = Literal["created", "updated", "unchanged"]

Tell = Callable[[str, Event | str], None]
"""Is told of a module what happens: an event of its stack, or a sentence."""


@dataclass(frozen=True)
class Applied:
    """What became of a module, and its stack as it is now."""

    module: str
    outcome: Outcome
    stack: Stack


def apply(
    infrastructure: Infrastructure,
    names: Collection[str] | None = None,
    allowed: Collection[str] = (),
    tell: Tell = lambda module, what: None,
) -> list[Applied]:
    """Apply all modules of a project, or those named, in order of need.

    `allowed` names resources, as `module.LogicalId`, whose data may be lost. Raises InfraError for
    an account that is not as the settings need it, or a change that can't be made at this moment,
    LockError while another one changes the project, SettingError for a parameter that can't change,
    StackError with the first cause for a stack that failed: CloudFormation has rolled it back then,
    and the modules before it stay as they are.
    """
    modules = infrastructure.ordered(names)
    infrastructure.require_account()
    stacks = Stacks(infrastructure.access)
    with ProjectLock(infrastructure.project_id, infrastructure.access).held("apply"):
        try:
            _refuse_early(infrastructure, modules, stacks)
            done = []
            for module in modules:
                done.append(_apply(infrastructure, module, stacks, allowed, tell))
                tell(module.name, done[-1].outcome)
            return done
        finally:
            forget_outputs()


def _refuse_early(
    infrastructure: Infrastructure, modules: Collection[Module], stacks: Stacks
) -> None:
    """Refuse what can't change, or can't now, before anything is changed."""
    there = stacks.of_project(infrastructure.project_id)
    found = [inputs_of(infrastructure, module, there) for module in modules]
    for inputs in found:
        require_fixed(inputs, there.get(inputs.module.name))
    # What changes is asked for only where it matters: an answer of CloudFormation takes a while.
    require_possible(
        plan_module(infrastructure, stacks, inputs, there)
        for inputs in found
        if (stack := there.get(inputs.module.name)) is not None
        and stack.is_there
        and application_at_work(stack, stacks, infrastructure.access)
    )


def _apply(
    infrastructure: Infrastructure,
    module: Module,
    stacks: Stacks,
    allowed: Collection[str],
    tell: Tell,
) -> Applied:
    def told(event: Event) -> None:
        tell(module.name, event)

    stack = settle(infrastructure, module.name, stacks, tell)
    there = stacks.of_project(infrastructure.project_id)
    known = inputs_of(infrastructure, module, there)
    require_known(known, infrastructure.project_id)
    inputs = inputs_of(infrastructure, module, there, put=True)
    require_fixed(inputs, stack)
    name = infrastructure.stack_name(module.name)
    body = inputs.body(store_of(infrastructure), stacks.region)
    tags = infrastructure.stack_tags(module.name)
    if stack is None:
        made = stacks.create(name, body, inputs.arguments(), tags, told)
        return Applied(module.name, "created", made)
    prepared = stacks.prepare(name, body, inputs.arguments(), tags, new=False)
    if prepared.changes is None:
        return Applied(module.name, "unchanged", stack)
    said = policies(parse(stacks.template(stack.id), name), inputs.template)
    changes = read_changes(prepared.changes, said)
    not_now = why_not_now(changes, stack, stacks, infrastructure.access)
    plan = ModulePlan(module.name, name, "changed", changes, not_now=not_now)
    try:
        require_allowed(Plan(infrastructure.project_id, (plan,)), allowed)
        require_possible([plan])
    except (StackError, InfraError):
        stacks.discard(prepared.id)
        raise
    return Applied(module.name, "updated", stacks.execute(prepared, name, told))


def settle(infrastructure: Infrastructure, module: str, stacks: Stacks, tell: Tell) -> Stack | None:
    """Bring a module's stack into a state from which it can go on; None if it is to be made.

    One that is at work is waited for, a rollback that failed is continued, one whose creation
    failed is deleted. Raises StackError if that fails, or if the failed creation has left
    something behind.
    """

    def told(event: Event) -> None:
        tell(module, event)

    stack = own_stack(stacks, infrastructure.project_id, module)
    if stack is not None and stack.at_work:
        tell(module, f"{stack.name} is {stack.status}: waiting for its end")
        stack = stacks.wait(stack.name, told)
    if stack is None or stack.is_there:
        return stack
    if stack.status == "REVIEW_IN_PROGRESS":  # a plan was killed: nothing has been made
        stacks.delete(stack, told)
        return None
    if stack.status == "UPDATE_ROLLBACK_FAILED":
        tell(module, f"{stack.name} is {stack.status}: continuing its rollback")
        return stacks.roll_back_further(stack.name, told)
    if stack.status not in FAILED_CREATION:
        raise StackError(f"{stack.name} is {stack.status}: look at it in the AWS console")
    tell(module, f"{stack.name} is {stack.status}: deleting it")
    left = _left_behind(stack, stacks)
    stacks.delete(stack, told)
    if left:
        raise StackError(
            f"the creation of {stack.name} had failed and left behind {', '.join(left)}: delete "
            "what is empty of it, or tell the settings that it exists, and apply again"
        )
    return None


def _left_behind(stack: Stack, stacks: Stacks) -> list[str]:
    """Give what outlives the deletion of a stack whose creation failed."""
    said = policies(parse(stacks.template(stack.id), stack.name))
    on_create = {"Retain", "Snapshot"}
    found = []
    for one in stacks.resources(stack.id):
        kept = said.get(one["LogicalResourceId"], frozenset())
        if one["ResourceStatus"] == "DELETE_SKIPPED" or (
            # Nothing was rolled back yet: what is retained at a deletion will be.
            kept & (set(RETAINING) if stack.status == "DELETE_FAILED" else on_create)
            and one["ResourceStatus"] not in ("DELETE_COMPLETE", "CREATE_FAILED")
        ):
            found.append(f"{one['ResourceType']} {one.get('PhysicalResourceId', '')}".strip())
    return found
