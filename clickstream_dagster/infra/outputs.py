"""Outputs of a project's stacks, read at run time: ids that only AWS knows."""

import time
from collections.abc import Mapping

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.infra.infrastructure import stack_name
from clickstream_dagster.infra.stacks import PROJECT_TAG, Stack, StackError, Stacks

SECONDS_KEPT = 60.0
"""How long outputs are taken as they were: a run reads them a few times, an apply changes them."""

_kept: dict[tuple[str, str, S3Access], tuple[float, dict[str, str]]] = {}


def outputs_of(project_id: str, module: str, access: S3Access) -> Mapping[str, str]:
    """Give the outputs of a module's stack by name, at most a minute old.

    Raises StackError when the stack is not there.
    """
    key = (project_id, module, access)
    kept = _kept.get(key)
    if kept is None or time.monotonic() - kept[0] > SECONDS_KEPT:
        stack = own_stack(Stacks(access), project_id, module)
        if stack is None or not stack.is_there:
            state = "is not there" if stack is None else f"is {stack.status}"
            raise StackError(
                f"the stack {stack_name(project_id, module)} {state}: run `clickstream infra apply "
                f"{project_id} --module {module}`"
            )
        kept = _kept[key] = (time.monotonic(), dict(stack.outputs))
    return kept[1]


def output_of(project_id: str, module: str, name: str, access: S3Access) -> str:
    """Give one output of a module's stack. Raises StackError when stack or output is not there."""
    found = outputs_of(project_id, module, access)
    if name not in found:
        raise StackError(
            f"the stack {stack_name(project_id, module)} has no output {name}: it was made by "
            f"another version; run `clickstream infra apply {project_id} --module {module}`"
        )
    return found[name]


def forget_outputs() -> None:
    """Read the outputs again at the next call: something was applied or destroyed."""
    _kept.clear()


def own_stack(stacks: Stacks, project_id: str, module: str) -> Stack | None:
    """Give the stack of a module. Raises StackError if one of that name is not the project's."""
    stack = stacks.find(stack_name(project_id, module))
    if stack is None or stack.status == "REVIEW_IN_PROGRESS":
        return stack
    if (owner := stack.tags.get(PROJECT_TAG)) != project_id:
        raise StackError(
            f"the stack {stack.name} belongs to {f'the project {owner}' if owner else 'others'}: "
            "give this project another project_id"
        )
    return stack
