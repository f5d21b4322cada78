"""A module's template as CloudFormation gets it: read, its parts put in, written out."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from clickstream_dagster.errors import ClickstreamError
from clickstream_dagster.infra.module import Module, Part

Template = dict[str, Any]

MOST_INLINE_BYTES = 51_200
"""A longer template goes to CloudFormation by way of S3 (CloudFormation, quotas)."""

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class TemplateError(ClickstreamError):
    """A template or a part of one that can't be used as it is written."""


class _Loader(yaml.SafeLoader):
    """Reads the short form of CloudFormation's functions; dates stay texts."""


_Loader.yaml_implicit_resolvers = {
    letter: [one for one in found if one[0] != "tag:yaml.org,2002:timestamp"]
    for letter, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


class _Dumper(yaml.SafeDumper):
    """Writes each value in full: no anchors, which CloudFormation limits."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def infra_folder() -> Path:
    """Give the folder `infra/`: of the checkout, or as the wheel has it."""
    package = Path(__file__).parents[1]
    packaged = package / "_infra"
    return packaged if packaged.is_dir() else package.parent / "infra"


def parse(text: str, where: str) -> Template:
    """Read a template, functions in their long form. Raises TemplateError if it is none."""
    try:
        # No object is made but plain values: the loader is a SafeLoader.
        found = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise TemplateError(f"{where} is no YAML: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("Resources"), dict):
        raise TemplateError(f"{where} has no Resources: write a mapping of them")
    return found


def write(template: Template) -> str:
    """Write a template as YAML; the same template gives the same text."""
    return yaml.dump(template, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def render(module: Module, folder: Path | None = None) -> Template:
    """Give a module's template with its parts put in.

    `folder` stands for `infra/`. Raises TemplateError for a file that is missing or wrong, a
    placeholder without a value, or two resources of one name.
    """
    place = (folder or infra_folder()) / "cloudformation"
    template = _read(place / module.template)
    for part in module.parts:
        filled = _filled(part, place / "parts" / part.file)
        for section, what in (("Resources", "resource"), ("Outputs", "output")):
            for name, value in filled[section].items():
                there = template.setdefault(section, {})
                if name in there:
                    raise TemplateError(
                        f"{part.file}: the {what} {name} is in {module.template} twice: give each "
                        "part another name"
                    )
                there[name] = value
    return template


def _read(file: Path) -> Template:
    try:
        stat = file.stat()
    except OSError as error:
        raise TemplateError(f"the template {file} is missing: install the package again") from error
    return json.loads(_read_once(file, stat.st_mtime_ns))


@lru_cache(64)
def _read_once(file: Path, changed: int) -> str:
    # As JSON, so that each caller gets values of its own.
    return json.dumps(parse(file.read_text(), str(file)))


def _filled(part: Part, file: Path) -> Template:
    """Give a part: its resources, each under its name with the part's behind it, and outputs."""
    if not re.fullmatch(r"[A-Za-z0-9]+", part.name):
        raise TemplateError(f"{part.file}: the name {part.name!r} has more than letters and digits")
    read = _read(file)
    resources = read["Resources"]
    used: set[str] = set()
    own = {name: name + part.name for name in resources}
    found = {
        "Resources": {
            own[name]: _fill(value, part, own, used) for name, value in resources.items()
        },
        "Outputs": _fill(read.get("Outputs", {}), part, own, used),
    }
    if unused := set(part.values) - used:
        raise TemplateError(f"{part.file} has no placeholder for {', '.join(sorted(unused))}")
    return found


def _fill(value: Any, part: Part, own: Mapping[str, str], used: set[str]) -> Any:
    """Put values in place of placeholders, and own names in place of references among the part."""
    if isinstance(value, list):
        return [_fill(one, part, own, used) for one in value]
    if isinstance(value, dict):
        filled = {key: _fill(one, part, own, used) for key, one in value.items()}
        if isinstance(filled.get("Ref"), str):
            filled["Ref"] = own.get(filled["Ref"], filled["Ref"])
        attribute = filled.get("Fn::GetAtt")
        if isinstance(attribute, list):
            filled["Fn::GetAtt"] = [own.get(attribute[0], attribute[0]), *attribute[1:]]
        depends = filled.get("DependsOn")
        if isinstance(depends, str):
            filled["DependsOn"] = own.get(depends, depends)
        elif isinstance(depends, list):
            filled["DependsOn"] = [own.get(one, one) for one in depends]
        return filled
    if not isinstance(value, str):
        return value
    match = _PLACEHOLDER.fullmatch(value)
    if match is None:
        if _PLACEHOLDER.search(value):
            raise TemplateError(f"{part.file}: {value!r}: a placeholder is a whole value")
        return value
    if match[1] not in part.values:
        raise TemplateError(f"{part.file}: nothing is given for {{{{ {match[1]} }}}}")
    used.add(match[1])
    return part.values[match[1]]
