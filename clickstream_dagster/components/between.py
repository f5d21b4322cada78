"""Bounds of a number in a project's YAML."""

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema


@dataclass(frozen=True)
class Between:
    """Annotates a number with its least and its greatest value.

    Pydantic's `ge` and `le` fail on texts without saying where. Dagster lets every key be a text,
    for it may be a template: that one is bounded when its value is known.
    """

    least: float
    most: float | None = None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        bounds = {"minimum": self.least, "maximum": self.most}
        return handler(schema) | {key: bound for key, bound in bounds.items() if bound is not None}

    def _checked(self, value: Any) -> Any:
        if isinstance(value, int | float):
            # Written so that a NaN is outside.
            if not value >= self.least:
                raise PydanticKnownError("greater_than_equal", {"ge": self.least})
            if self.most is not None and not value <= self.most:
                raise PydanticKnownError("less_than_equal", {"le": self.most})
        return value
