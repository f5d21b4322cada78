"""`clickstream plugin new`: a small package with a plug-in, its typed config and its tests."""

import keyword
import re
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from clickstream_dagster.errors import SettingError
from clickstream_dagster.processing.plugins import ENRICHMENTS, TRANSFORMERS

Kind = Literal["enrichment", "transformer"]

_NAME = re.compile(r"[a-z][a-z0-9_]{1,49}")
_GROUPS = {"enrichment": ENRICHMENTS, "transformer": TRANSFORMERS}

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{dashed}-clickstream"
version = "0.1.0"
description = "A clickstream {kind}"
requires-python = ">=3.11"
dependencies = ["clickstream-dagster"]

[project.optional-dependencies]
dev = ["pytest>=8"]

# The name on the left is what a project writes in its YAML.
[project.entry-points."{group}"]
{name} = "{name}:{class_name}"

[tool.hatch.build.targets.wheel]
only-include = ["{name}.py"]

[tool.pytest.ini_options]
pythonpath = ["."]

[tool.ruff]
line-length = 100
"""

_README = """\
# {name}

A clickstream {kind}. Install it beside clickstream-dagster, and test it:

```sh
pip install -e '.[dev]'
pytest
```

Use it in `defs.yaml`:

```yaml
{yaml}
```

or on the command line:

```sh
clickstream process {option} {name} ...
clickstream process {option} '{name}={json}' ...
```
"""

_ENRICHMENT = '''\
"""Writes the section of the page, the first part of its path, into the parameters of an event."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pyarrow as pa
from clickstream_dagster.processing.distinct import map_distinct
from clickstream_dagster.processing.params import text_params, with_param
from clickstream_dagster.processing.plugins import ArrowPlugin, PluginConfig
from pydantic import Field


class {class_name}Config(PluginConfig):
    """What a project may set."""

    parameter: str = Field(default="page_section", description="Parameter that is written.")
    home: str = Field(default="home", description="Section of pages without a path.")


class {class_name}(ArrowPlugin):
    """Sets a parameter of events that have a page."""

    config_class = {class_name}Config
    config: {class_name}Config

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the events with their section. Called in every task, with batches of events."""
        for batch in batches:
            urls = text_params(batch.column("event_params"), ["_page_url"])["_page_url"]
            # A function of Python runs once per distinct value, never once per event.
            yield with_param(batch, self.config.parameter, map_distinct(urls, self.section))

    def section(self, url: str) -> str | None:
        """Give the section of an address, None if it can't be read."""
        try:
            path = urlsplit(url).path
        except ValueError:
            return None
        return path.strip("/").partition("/")[0] or self.config.home
'''

_ENRICHMENT_TEST = '''\
"""The section of a page is read from its address."""

import pytest
from clickstream_dagster.errors import PluginError
from clickstream_dagster.processing.plugin_testing import enrich, params_of

from {name} import {class_name}


def test_the_first_part_of_the_path_is_the_section() -> None:
    rows = enrich(
        {class_name},
        [
            {{"params": {{"_page_url": "https://shop.example/sale/shoes?size=42"}}}},
            {{"params": {{"_page_url": "https://shop.example/"}}}},
            {{"params": {{"_screen_name": "Basket"}}}},
        ],
    )
    assert [params_of(row).get("page_section") for row in rows] == ["sale", "home", None]
    assert params_of(rows[2]) == {{"_screen_name": "Basket"}}


def test_a_project_names_the_parameter() -> None:
    page = {{"params": {{"_page_url": "https://shop.example/"}}}}
    (row,) = enrich({class_name}, [page], config={{"parameter": "area", "home": "front"}})
    assert params_of(row)["area"] == "front"


def test_a_key_that_is_not_known_is_refused() -> None:
    with pytest.raises(PluginError, match="'paramter' is not known; write parameter"):
        enrich({class_name}, [], config={{"paramter": "area"}})
'''

_TRANSFORMER = '''\
"""Reads events of another SDK: what its bodies hold, and which column each part becomes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from clickstream_dagster.processing.distinct import map_distinct
from clickstream_dagster.processing.json_transformer import Columns, JsonTransformer
from clickstream_dagster.processing.json_values import JsonBatch
from clickstream_dagster.processing.key_values import KeyValues
from clickstream_dagster.processing.plugins import PluginConfig
from pydantic import Field


class {class_name}Config(PluginConfig):
    """What a project may set."""

    event_names: dict[str, str] = Field(
        default={{"page": "_page_view"}}, description="Other names for events of that SDK."
    )


class {class_name}(JsonTransformer):
    """Turns bodies like [{{"id": "1", "name": "page", "at": 1767225600000, ...}}] into events."""

    config_class = {class_name}Config
    config: {class_name}Config

    def columns(self, json: JsonBatch, events: np.ndarray, requests: pa.RecordBatch) -> Columns:
        """Say which part of an event becomes which column. The first five must have a value."""
        sent = json.fields(events, ("id", "name", "at", "visitor", "user", "site", "properties"))
        renamed = self.config.event_names
        name = map_distinct(json.texts(sent["name"]), lambda name: renamed.get(name, name))
        properties = KeyValues.of(json, sent["properties"])
        return {{
            "event_id": json.texts(sent["id"]),
            "event_name": name,
            "app_id": pc.coalesce(json.texts(sent["site"]), requests.column("request_app_id")),
            "user_pseudo_id": json.texts(sent["visitor"]),
            "event_timestamp": json.integers(sent["at"]),
            "user_id": json.texts(sent["user"]),
            "event_params": properties.structs(properties.typed()),
        }}
'''

_TRANSFORMER_TEST = '''\
"""Events of the other SDK become events of the lake; what can't be read is kept as a bad record."""

import json

from clickstream_dagster.processing.plugin_testing import params_of, transform

from {name} import {class_name}

PAGE = {{
    "id": "1",
    "name": "page",
    "at": 1767225600000,
    "visitor": "v7",
    "site": "app",
    "properties": {{"title": "Home", "depth": 3}},
}}


def test_an_event_is_read() -> None:
    (row,) = transform({class_name}, [json.dumps([PAGE])])
    assert (row["event_id"], row["event_name"], row["app_id"]) == ("1", "_page_view", "app")
    assert (row["user_pseudo_id"], row["event_timestamp"]) == ("v7", 1767225600000)
    assert params_of(row) == {{"title": "Home", "depth": 3}}
    assert row["bad_reason"] is None


def test_names_can_be_changed() -> None:
    body = json.dumps([PAGE])
    (row,) = transform({class_name}, [body], config={{"event_names": {{"page": "seen"}}}})
    assert row["event_name"] == "seen"


def test_nothing_is_lost() -> None:
    without_id = {{key: value for key, value in PAGE.items() if key != "id"}}
    rows = transform({class_name}, [json.dumps([PAGE, without_id]), "no JSON", "[]"])
    assert sorted(str(row["bad_reason"]) for row in rows) == [
        "None",
        "missing_event_id",
        "not_json",
    ]
'''

_TEXTS = {
    "enrichment": (_ENRICHMENT, _ENRICHMENT_TEST),
    "transformer": (_TRANSFORMER, _TRANSFORMER_TEST),
}


def new_plugin(name: str, kind: Kind, directory: Path) -> list[Path]:
    """Write the package of a plug-in into `directory`/`name`, and give its files.

    Raises SettingError when the name can't be one, is taken, or the folder is there already.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise SettingError(
            f"the name {name!r} can't be a Python module: write a lower-case letter and then"
            " lower-case letters, digits and _, such as page_section"
        )
    if name in entry_points(group=_GROUPS[kind]).names:
        raise SettingError(f"there is a plug-in {name} in {_GROUPS[kind]} already: choose another")
    if find_spec(name) is not None:
        raise SettingError(f"there is a Python module {name} already: choose another name")
    folder = directory / name
    if folder.exists():
        raise SettingError(f"{folder} exists already: choose another name or another --out")
    module, test = _TEXTS[kind]
    class_name = "".join(part.capitalize() for part in name.split("_"))
    values = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "kind": kind,
        "class_name": class_name,
        "group": _GROUPS[kind],
        "option": f"--{kind}",
        "yaml": f"transformer: {name}"
        if kind == "transformer"
        else f"enrichments:\n  - ua\n  - ip\n  - traffic_source\n  - name: {name}\n    config:"
        "\n      parameter: area",
        "json": '{"event_names": {"page": "_page_view"}}'
        if kind == "transformer"
        else '{"parameter": "area"}',
    }
    texts = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        f"{name}.py": module,
        f"test_{name}.py": test,
    }
    written: list[Path] = []
    try:
        folder.mkdir(parents=True)
        for file, text in texts.items():
            path = folder / file
            path.write_text(text.format(**values))
            written.append(path)
    except OSError as error:
        raise SettingError(f"{folder} can't be written: {error}; name another --out") from error
    return written
