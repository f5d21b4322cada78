"""Plug-ins in a project's YAML: a name, or a name with a config."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field

from clickstream_dagster.errors import PluginError
from clickstream_dagster.processing.plugins import PluginChoice, check_choice


class ChosenPlugin(BaseModel):
    """A plug-in with its config."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Registered name, or module:Class.")
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings of the plug-in; relative paths start from the Dagster project.",
    )


def resolve_plugin(context: dg.ResolutionContext, value: str | ChosenPlugin) -> str | PluginChoice:
    """Give the plug-in that one entry of the YAML stands for."""
    if isinstance(value, str):
        return context.resolve_value(value, as_type=str)
    return PluginChoice(value.name, context.resolve_value(value.config))


def resolve_plugins(
    context: dg.ResolutionContext, values: Sequence[str | ChosenPlugin] | str
) -> list[str | PluginChoice]:
    """Give the plug-ins that a list of the YAML stands for."""
    if isinstance(values, str):
        values = context.resolve_value(values)
    return [resolve_plugin(context, value) for value in values]


def require(choice: str | PluginChoice, group: str) -> None:
    """Raise ValueError, which the YAML loader places, unless the plug-in and its config are right.

    Built-in ones without config are only looked up: definitions load without importing them.
    """
    try:
        check_choice(choice, group)
    except PluginError as error:
        raise ValueError(str(error)) from error
