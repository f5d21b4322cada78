"""What of a template's functions can be known before CloudFormation has run."""

from collections.abc import Mapping
from typing import Any

from clickstream_dagster.infra.template import Template

KNOWN_AFTER_APPLY = "known after apply"


class _Unknown:
    """A value that only CloudFormation knows."""

    def __repr__(self) -> str:
        return KNOWN_AFTER_APPLY


UNKNOWN = _Unknown()


class Values:
    """Resolves values of a template as far as its parameters tell them; the rest is UNKNOWN."""

    def __init__(self, template: Template, parameters: Mapping[str, Any]) -> None:
        self._template = template
        declared = template.get("Parameters", {})
        given = {name: about.get("Default", UNKNOWN) for name, about in declared.items()}
        self._parameters = given | {
            name: value for name, value in parameters.items() if name in declared
        }

    def resources(self) -> dict[str, dict[str, Any]]:
        """Give the resources that are made, and those of which it is not known."""
        return {
            name: resource
            for name, resource in self._template["Resources"].items()
            if self.condition(resource.get("Condition")) is not False
        }

    def condition(self, name: str | None) -> Any:
        """Give whether a condition holds, UNKNOWN if that can't be told; without one it does."""
        if name is None:
            return True
        return self.resolve(self._template.get("Conditions", {}).get(name, UNKNOWN))

    def resolve(self, value: Any) -> Any:
        """Give a value with functions worked out; numbers that are texts stay texts."""
        if isinstance(value, list):
            return [self.resolve(one) for one in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref":
                return self._ref(argument)
            if function == "Condition" and isinstance(argument, str):
                return self.condition(argument)
            if function.startswith("Fn::"):
                return self._call(function, argument)
        return {key: self.resolve(one) for key, one in value.items()}

    def _ref(self, name: str) -> Any:
        value = self._parameters.get(name, UNKNOWN)
        kind = self._template.get("Parameters", {}).get(name, {}).get("Type", "")
        if isinstance(value, str) and (kind == "CommaDelimitedList" or kind.startswith("List<")):
            return [one.strip() for one in value.split(",")]
        return value

    def _call(self, function: str, argument: Any) -> Any:
        if function == "Fn::If":
            holds = self.condition(argument[0])
            if holds is UNKNOWN:
                return UNKNOWN
            return self.resolve(argument[1] if holds else argument[2])
        if function == "Fn::FindInMap":
            found: Any = self._template.get("Mappings", {})
            for key in self.resolve(argument):
                found = found.get(str(key), UNKNOWN) if isinstance(found, dict) else UNKNOWN
            return found
        arguments = self.resolve(argument)
        if function == "Fn::Equals":
            if UNKNOWN in arguments:
                return UNKNOWN
            return str(arguments[0]) == str(arguments[1])
        if function == "Fn::Not":
            return UNKNOWN if arguments[0] is UNKNOWN else not arguments[0]
        if function == "Fn::And":
            return False if False in arguments else UNKNOWN if UNKNOWN in arguments else True
        if function == "Fn::Or":
            return True if True in arguments else UNKNOWN if UNKNOWN in arguments else False
        if function == "Fn::Join" and isinstance(arguments[1], list):
            known = UNKNOWN not in arguments[1]
            return arguments[0].join(map(str, arguments[1])) if known else UNKNOWN
        if function == "Fn::Select" and isinstance(arguments[1], list):
            place = int(arguments[0])
            return arguments[1][place] if place < len(arguments[1]) else UNKNOWN
        return UNKNOWN
