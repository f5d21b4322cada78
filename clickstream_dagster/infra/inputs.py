"""What a stack is given: its template, its parameters, and what of them is known already."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from clickstream_dagster.errors import SettingError
from clickstream_dagster.infra.code import CodeStore
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.intrinsics import UNKNOWN
from clickstream_dagster.infra.module import Module, Output
from clickstream_dagster.infra.stacks import Stack, StackError
from clickstream_dagster.infra.template import (
    MOST_INLINE_BYTES,
    Template,
    TemplateError,
    render,
    write,
)

_KEY = "KmsKeyArn"
_KEY_STAYS = (
    "infra.storage.kms_key or s3.kms_key_id: what is written has the old key, which roles could no "
    "longer use"
)


@dataclass(frozen=True)
class Inputs:
    """A module's template and parameters; a parameter that is not known yet is UNKNOWN."""

    module: Module
    template: Template
    parameters: Mapping[str, Any]

    @property
    def unknown(self) -> tuple[str, ...]:
        """Parameters whose value is known only after another module is applied."""
        return tuple(name for name, value in self.parameters.items() if value is UNKNOWN)

    @cached_property
    def text(self) -> str:
        """The template as CloudFormation gets it."""
        return write(self.template)

    @property
    def is_long(self) -> bool:
        return len(self.text.encode()) > MOST_INLINE_BYTES

    def body(self, store: CodeStore, region: str) -> dict[str, str]:
        """Give the template as CloudFormation takes it; a long one is put to S3."""
        if self.is_long:
            return {"TemplateURL": store.put_template(self.text, region)}
        return {"TemplateBody": self.text}

    def arguments(self) -> list[dict[str, Any]]:
        """Give the parameters as CloudFormation takes them; an unknown one stays as it was."""
        return [
            {"ParameterKey": name, "UsePreviousValue": True}
            if value is UNKNOWN
            else {"ParameterKey": name, "ParameterValue": value}
            for name, value in self.parameters.items()
        ]


def store_of(infrastructure: Infrastructure) -> CodeStore:
    """Give the place of the project's code and long templates."""
    return CodeStore(infrastructure.artifacts, infrastructure.project_id, infrastructure.access)


def inputs_of(
    infrastructure: Infrastructure,
    module: Module,
    stacks: Mapping[str, Stack],
    put: bool = False,
) -> Inputs:
    """Give what a module's stack is given, with the outputs of the stacks that are there.

    With `put` its code is put to S3. Raises TemplateError for parameters that the template does
    not have, or that nothing is given for.
    """
    template = render(module)
    declared = template.get("Parameters", {})
    store = store_of(infrastructure)
    found: dict[str, Any] = {}
    for name, value in module.parameters.items():
        found[name] = _value(value, stacks) if isinstance(value, Output) else str(value)
    for name, folder in module.code.items():
        found[name] = store.put_code(folder) if put else store.code_key(folder)
    if strange := set(found) - set(declared):
        raise TemplateError(
            f"{module.template} has no parameter {', '.join(sorted(strange))}: declare it there"
        )
    missing = [name for name in declared if name not in found and "Default" not in declared[name]]
    if missing:
        raise TemplateError(f"{module.template}: nothing is given for {', '.join(missing)}")
    return Inputs(module, template, found)


def _value(output: Output, stacks: Mapping[str, Stack]) -> Any:
    stack = stacks.get(output.module)
    if stack is None or not stack.is_there:
        return UNKNOWN
    return stack.outputs.get(output.name, UNKNOWN)


def require_known(inputs: Inputs, project_id: str) -> None:
    """Raise StackError if an output that the module takes is not there."""
    for name in inputs.unknown:
        output = inputs.module.parameters[name]
        assert isinstance(output, Output)
        raise StackError(
            f"the module {inputs.module.name} takes {output.name} from {output.module}, which is "
            "not applied, or was by another version: run `clickstream infra apply "
            f"{project_id} --module {output.module}` first"
        )


def require_fixed(inputs: Inputs, stack: Stack | None) -> None:
    """Raise SettingError if a parameter changes that can't once the stack is there."""
    if stack is None or not stack.is_there:
        return
    declared = inputs.template.get("Parameters", {})
    # Without a key before there is nothing that a new one would shut out.
    key = {_KEY: _KEY_STAYS} if stack.parameters.get(_KEY) and _KEY in inputs.parameters else {}
    for name, why in {**key, **inputs.module.fixed}.items():
        before, after = stack.parameters.get(name), inputs.parameters.get(name, UNKNOWN)
        if before is None or after is UNKNOWN or before == after:
            continue
        about = declared.get(name, {}).get("Description", "").rstrip(".")
        raise SettingError(
            f"{inputs.module.name}: {name}{f' ({about})' if about else ''} can't change from "
            f"{before!r} to {after!r}, {why}: write {before!r} again; or destroy the module of "
            f"{stack.name} and apply it anew"
        )
