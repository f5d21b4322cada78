"""What a change set of AWS tells of each resource, worked out from two templates of moto."""

from collections.abc import Mapping
from typing import Any, Protocol

from moto.cloudformation import models


class DecidedReplacements(Protocol):
    """Properties by type whose change replaces a resource, and those whose change may."""

    replacing: dict[str, set[str]]
    perhaps: dict[str, set[str]]


class Change(models.Change):
    """A change of a resource with all that AWS tells of it."""

    def __init__(self, action: str, name: str, kind: str) -> None:
        super().__init__(action, name, kind)
        self.physical_resource_id = None if action == "Add" else f"{name}-as-it-is"
        self.replacement: str | None = None
        self.scope: list[str] = []
        self.details: list[dict[str, Any]] = []


def changes_of(edge: DecidedReplacements, stack: Any, options: Mapping[str, Any]) -> list[Change]:
    """Give the changes of a stack, None for a new one, by the options of a change set."""
    new = models.Stack.parse_template(options["template"])
    old = {"Resources": {}} if stack is None else models.Stack.parse_template(stack.template)
    before, after = old["Resources"], new["Resources"]
    found = [Change("Add", name, after[name]["Type"]) for name in after if name not in before]
    for name in after:
        if name in before:
            change = Change("Modify", name, after[name]["Type"])
            _compare(edge, change, (before[name], after[name]), (stack.parameters, options))
            if stack.tags != options["tags"]:
                _detail(change, "Tags", "Tags", ("old", "new"), "Never", None)
            if change.details:
                found.append(change)
    found += [Change("Remove", name, before[name]["Type"]) for name in before if name not in after]
    return found


def _compare(
    edge: DecidedReplacements,
    change: Change,
    resources: tuple[Mapping[str, Any], Mapping[str, Any]],
    given: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> None:
    (old, new), (parameters, options) = resources, given
    was, becomes = old.get("Properties") or {}, new.get("Properties") or {}
    change.replacement = "False"
    for name in sorted({*was, *becomes}):
        values = (
            _with(parameters, was.get(name)),
            _with(options["parameters"], becomes.get(name)),
        )
        if values[0] == values[1]:
            continue
        replaces = name in edge.replacing.get(change.resource_type, ())
        perhaps = name in edge.perhaps.get(change.resource_type, ())
        if replaces or perhaps:
            change.replacement = "True" if replaces else "Conditional"
        by = was.get(name).get("Ref") if isinstance(was.get(name), dict) else None
        recreation = "Always" if replaces else "Conditionally" if perhaps else "Never"
        same = was.get(name) == becomes.get(name)
        _detail(change, "Properties", name, values, recreation, by if same else None)
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        if old.get(policy) != new.get(policy):
            _detail(change, policy, policy, (old.get(policy), new.get(policy)), "Never", None)


def _detail(
    change: Change,
    attribute: str,
    name: str,
    values: tuple[Any, Any],
    recreation: str,
    parameter: str | None,
) -> None:
    change.scope.append(attribute)
    change.details.append(
        {
            "Target": {
                "Attribute": attribute,
                "Name": name,
                "Path": f"/{attribute}/{name}",
                "RequiresRecreation": recreation,
                "BeforeValue": None if values[0] is None else str(values[0]),
                "AfterValue": None if values[1] is None else str(values[1]),
            },
            "Evaluation": "Static",
            "ChangeSource": "ParameterReference" if parameter else "DirectModification",
            "CausingEntity": parameter,
        }
    )


def _with(parameters: Mapping[str, Any], value: Any) -> Any:
    """Put parameters into a value."""
    if isinstance(value, list):
        return [_with(parameters, one) for one in value]
    if isinstance(value, dict):
        if set(value) == {"Ref"} and value["Ref"] in parameters:
            return str(parameters[value["Ref"]])
        return {key: _with(parameters, one) for key, one in value.items()}
    return value
