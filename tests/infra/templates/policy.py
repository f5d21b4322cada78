"""Rules that every template keeps, and how findings are told.

A rule looks at a template as it is written: at both branches of an `Fn::If`, whatever the
parameters are. What a template is allowed to do all the same is in the tables of the rules, each
with its reason.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from clickstream_dagster.infra.template import Template

Rule = Callable[[str, Template], Iterator["Finding"]]
RULES: dict[str, Rule] = {}


@dataclass(frozen=True, slots=True)
class Finding:
    """A place of a template that breaks a rule."""

    resource: str
    text: str


def rule(check: Rule) -> Rule:
    """Make a function that is given a template's file name and content one of the rules."""
    RULES[check.__name__] = check
    return check


def findings(name: str, template: Template) -> list[str]:
    """Give all findings, a line each."""
    return [
        f"{name}: {finding.resource}: {finding.text} ({rule_name})"
        for rule_name, check in RULES.items()
        for finding in check(name, template)
    ]


def resources(template: Template, *types: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give name and whole resource of those of some types, of all without types."""
    for name, resource in template["Resources"].items():
        if not types or resource["Type"] in types:
            yield name, resource


def properties(resource: dict[str, Any]) -> dict[str, Any]:
    """Give the properties of a resource."""
    return resource.get("Properties", {})


def branches(value: Any) -> Iterator[Any]:
    """Give the values that a value may be: of an `Fn::If` both, but for `AWS::NoValue`."""
    if isinstance(value, dict) and len(value) == 1:
        if "Fn::If" in value:
            for one in value["Fn::If"][1:]:
                yield from branches(one)
            return
        if value == {"Ref": "AWS::NoValue"}:
            return
    yield value


def listed(value: Any) -> list[Any]:
    """Give a value that may be one or a list as a list, branches of conditions one by one."""
    found = []
    for branch in branches(value):
        for item in branch if isinstance(branch, list) else [branch]:
            found += list(branches(item))
    return found


def text_of(value: Any) -> str:
    """Give a value as text; of `Fn::Sub` its template, of other functions something in brackets."""
    if isinstance(value, dict) and len(value) == 1:
        ((function, argument),) = value.items()
        if function == "Fn::Sub":
            return argument if isinstance(argument, str) else argument[0]
        if function == "Fn::Join":
            return argument[0].join(text_of(part) for part in argument[1])
        return f"<{function} {argument}>"
    return str(value)


def walk(value: Any) -> Iterator[Any]:
    """Give a value and all that is in it."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from walk(one)


def is_true(value: Any) -> bool:
    """Whether a value is true as CloudFormation reads it."""
    return value in (True, "true")
