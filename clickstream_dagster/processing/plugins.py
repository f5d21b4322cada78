"""The contract of processing plug-ins, and how a reference becomes one.

A job runs exactly one transformer (raw requests to events) and any number of enrichments (events
to events), as in seed 000, "Processing plugin". `contract.py` holds them to it.
"""

import difflib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from clickstream_dagster.errors import ClickstreamError, PluginError
from clickstream_dagster.processing.events import EVENT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TRANSFORMERS = "clickstream_dagster.transformers"
ENRICHMENTS = "clickstream_dagster.enrichments"

_BUILT_IN = "clickstream_plugins."

DEFAULT_TRANSFORMER = "sdk"
DEFAULT_ENRICHMENTS = ("ua", "ip")


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What a plug-in may know of the job: sent to the executors with it.

    `geo_database` is the path of an MMDB file with cities, or None. `root` is the directory that
    relative paths of a config start from: the Dagster project, or where the command runs.
    `correct_clocks` says whether the job shifts the times of wrong clocks behind the transformer.
    """

    project_id: str
    app_ids: tuple[str, ...]
    geo_database: str | None = None
    root: str = ""
    correct_clocks: bool = True

    def path(self, path: str) -> str:
        """Give a path of a config as an absolute one."""
        return os.path.abspath(os.path.join(self.root, os.path.expanduser(path)))


class PluginConfig(BaseModel):
    """Base of a plug-in's typed config; a key that it does not name is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class PluginChoice:
    """A plug-in as a project names it: an entry point or `module:Class`, and its config."""

    name: str
    config: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, value: "str | PluginChoice") -> "PluginChoice":
        """Give the choice that a plain name stands for."""
        return value if isinstance(value, PluginChoice) else cls(value)

    @classmethod
    def parse(cls, text: str) -> "PluginChoice":
        """Read a choice from the command line: `NAME`, `NAME={"key": …}` or `NAME=@FILE`.

        FILE is YAML or JSON. Raises PluginError when the config is no mapping.
        """
        name, given, config_text = text.partition("=")
        if not given:
            return cls(name)
        where = f"plug-in {name}: the config"
        if config_text.startswith("@"):
            config = read_mapping(config_text[1:], where)
        else:
            try:
                config = json.loads(config_text)
            except json.JSONDecodeError as error:
                raise PluginError(
                    f"{where} {config_text!r} is no JSON: {error}; write"
                    f' {name}={{"key": "value"}} or {name}=@FILE.yaml'
                ) from error
        if not isinstance(config, dict):
            raise PluginError(
                f'{where} {config_text!r} is no object; write {name}={{"key": "value"}}'
            )
        return cls(name, config)


class Plugin(ABC):
    """One step of processing on a Spark DataFrame.

    A transformer takes rows of `requests.REQUEST` and gives rows of `events.EVENT`; an
    enrichment takes and gives rows of `events.EVENT`. It never drops a row: one that must not
    reach the lake gets a `bad_reason`. A plug-in with settings names the model of its config in
    `config_class` and finds what a project has set in `self.config`.
    """

    config_class: ClassVar[type[PluginConfig]] = PluginConfig
    name: str = ""
    """What the project calls the plug-in; set when it is loaded."""

    def __init__(self, context: PluginContext, config: PluginConfig | None = None) -> None:
        self.context = context
        self.config = config if config is not None else self.config_class()

    def check(self) -> None:  # noqa: B027 (a hook that few need)
        """Raise a ClickstreamError when the step can't work with its settings.

        Called once, on the driver, before anything is read.
        """

    @abstractmethod
    def transform(self, data: "DataFrame") -> "DataFrame":
        """Give the changed rows; called once, on the driver."""


class ArrowPlugin(Plugin):
    """A step that works on Arrow record batches in native code; neighbours run as one task."""

    output_schema: ClassVar[pa.Schema] = EVENT

    @abstractmethod
    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give changed batches with `output_schema`; called in every task."""

    def transform(self, data: "DataFrame") -> "DataFrame":
        """Give the changed rows."""
        return data.mapInArrow(self.apply, spark_schema(self.output_schema))


def spark_schema(schema: pa.Schema) -> object:
    """Give the Spark type of rows with an Arrow schema."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)


def read_mapping(path: str, where: str) -> dict[str, object]:
    """Read a YAML or JSON file that holds a mapping.

    Raises PluginError, which begins with `where`, when it can't be read or holds something else.
    """
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            value = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise PluginError(f"{where} {path} can't be read: {reason}") from error
    if not isinstance(value, dict):
        raise PluginError(f"{where} {path} holds no mapping; write `key: value` lines")
    return value


def plugin_class(name: str, group: str) -> type[Plugin]:
    """Give the class that `name` stands for: an entry point of `group`, or `module:Class`.

    Raises PluginError when there is none, or when it is not a plug-in.
    """
    if ":" in name:
        module_name, _, class_name = name.partition(":")
        try:
            found = getattr(import_module(module_name), class_name)
        except (ImportError, AttributeError, ValueError) as error:
            raise PluginError(
                f"plug-in {name!r} can't be loaded: {error}; write module:Class of a class"
                " that this Python can import"
            ) from error
        except Exception as error:  # whatever its module does when it is imported
            raise PluginError(f"plug-in {name!r} can't be loaded: {one_line(error)}") from error
    else:
        known = entry_points(group=group)
        if name not in known.names:
            raise PluginError(
                f"there is no plug-in {name!r} in {group}; write one of"
                f" {', '.join(sorted(known.names)) or 'none installed'}, or module:Class"
            )
        try:
            found = known[name].load()
        except (ImportError, AttributeError) as error:
            raise PluginError(
                f"plug-in {name!r} is installed but can't be loaded: {error}; install its"
                " package again"
            ) from error
        except Exception as error:
            raise PluginError(
                f"plug-in {name!r} is installed but can't be loaded: {one_line(error)}"
            ) from error
    if not (isinstance(found, type) and issubclass(found, Plugin)):
        raise PluginError(
            f"plug-in {name!r} is not a class derived from"
            " clickstream_dagster.processing.plugins.Plugin"
        )
    return found


def check_choice(choice: "str | PluginChoice", group: str) -> None:
    """Raise PluginError unless the plug-in is there and its config is right. Makes nothing.

    A built-in one without config is right as it is, and is not imported.
    """
    choice = PluginChoice.of(choice)
    known = entry_points(group=group)
    built_in = choice.name in known.names and known[choice.name].module.startswith(_BUILT_IN)
    if choice.config or not built_in:
        _read_config(plugin_class(choice.name, group), choice)


def load_plugin(reference: "str | PluginChoice", group: str, context: PluginContext) -> Plugin:
    """Make the plug-in that a project names, with its config.

    Raises PluginError when there is none, when it is not a plug-in, or when its config is wrong.
    """
    choice = PluginChoice.of(reference)
    found = plugin_class(choice.name, group)
    config = _read_config(found, choice)
    try:
        plugin = found(context, config)
    except ClickstreamError:
        raise
    except Exception as error:
        raise PluginError(f"plug-in {choice.name} can't be made: {one_line(error)}") from error
    plugin.name = choice.name
    return plugin


def one_line(error: BaseException) -> str:
    """Give the type and the message of an error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _read_config(found: type[Plugin], choice: PluginChoice) -> PluginConfig:
    try:
        return found.config_class.model_validate(dict(choice.config))
    except ValidationError as error:
        problems = "; ".join(_problem(one, found.config_class) for one in error.errors())
        raise PluginError(f"plug-in {choice.name}: {problems}") from error


def _problem(error: Mapping[str, object], config_class: type[PluginConfig]) -> str:
    """Say what is wrong with one key of a config, and what to write instead."""
    places = [str(part) for part in error["loc"]]
    key = ".".join(places)
    if error["type"] == "extra_forbidden" and len(places) == 1:
        known = sorted(config_class.model_fields)
        near = difflib.get_close_matches(places[0], known, 1)
        advice = f"write {near[0]}" if near else f"write one of {', '.join(known)}"
        return f"config key {key!r} is not known; {advice if known else 'it takes no config'}"
    if error["type"] == "extra_forbidden":
        return f"config key {key!r} is not known; remove it"
    if error["type"] == "missing":
        return f"config key {key!r} is missing; write it"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"config {key or 'as a whole'}: {message}, it is {str(error['input'])[:100]!r}"
