"""What a change set does to each resource: what changes from what to what, and what is lost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clickstream_dagster.infra.template import Template

Act = Literal["add", "change", "replace", "may replace", "remove"]

STATEFUL = frozenset(
    {
        "AWS::DynamoDB::Table",
        "AWS::EC2::Volume",
        "AWS::EFS::FileSystem",
        "AWS::Glue::Database",
        "AWS::Glue::Table",
        "AWS::KMS::Key",
        "AWS::Kinesis::Stream",
        "AWS::MSK::Cluster",
        "AWS::RDS::DBCluster",
        "AWS::RDS::DBInstance",
        "AWS::Redshift::Cluster",
        "AWS::RedshiftServerless::Namespace",
        "AWS::S3::Bucket",
        "AWS::SecretsManager::Secret",
    }
)
"""Types that hold what can't be made again. A resource that its template retains does, too."""

RETAINING = ("Retain", "RetainExceptOnCreate", "Snapshot")

_LASTING = ("Arn", "Id", "")  # attributes that stay while their resource does


@dataclass(frozen=True)
class PropertyChange:
    """A property, tag or policy of a resource, before and after; None is nothing or not told."""

    name: str
    before: str | None
    after: str | None
    cause: str
    replaces: bool


@dataclass(frozen=True)
class ResourceChange:
    """What happens to a resource. `stateful` ones hold data; `kept` ones outlive their removal."""

    act: Act
    logical_id: str
    type: str
    physical_id: str = ""
    properties: tuple[PropertyChange, ...] = ()
    stateful: bool = False
    kept: bool = False
    note: str = ""

    @property
    def loses_state(self) -> bool:
        """Whether a resource that holds data is removed, or another one takes its place."""
        return self.stateful and self.act in ("remove", "replace", "may replace")


def policies(*templates: Template) -> dict[str, frozenset[str]]:
    """Give what templates say of resources that go: their policies, by logical id."""
    found: dict[str, frozenset[str]] = {}
    for template in templates:
        for name, resource in template["Resources"].items():
            said = {resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")} - {None}
            found[name] = found.get(name, frozenset()) | said
    return found


def read_changes(
    changes: Sequence[Mapping[str, Any]], said: Mapping[str, frozenset[str]]
) -> tuple[ResourceChange, ...]:
    """Read the ResourceChanges of a change set; `said` are the policies of their resources."""
    replaced = {
        one["LogicalResourceId"]: one.get("Replacement", "False")
        for one in changes
        if one["Action"] == "Modify"
    }
    return tuple(_read(one, replaced, said) for one in changes)


def _read(
    one: Mapping[str, Any], replaced: Mapping[str, str], said: Mapping[str, frozenset[str]]
) -> ResourceChange:
    name, kind = one["LogicalResourceId"], one["ResourceType"]
    retained = bool(said.get(name, frozenset()) & set(RETAINING))
    return ResourceChange(
        act=_act(one, replaced),
        logical_id=name,
        type=kind,
        physical_id=one.get("PhysicalResourceId") or "",
        properties=tuple(_property(detail) for detail in _told(one.get("Details") or ())),
        stateful=kind in STATEFUL or retained,
        kept=retained,
    )


def _act(one: Mapping[str, Any], replaced: Mapping[str, str]) -> Act:
    if one["Action"] == "Add":
        return "add"
    if one["Action"] == "Remove":
        return "remove"
    replacement = one.get("Replacement") or "False"
    if replacement == "True":
        return "replace"
    if replacement == "Conditional" and not _stays(one.get("Details") or (), replaced):
        return "may replace"
    return "change"


def _stays(details: Sequence[Mapping[str, Any]], replaced: Mapping[str, str]) -> bool:
    """Whether a replacement that CloudFormation holds possible can't come true.

    It looks at references, not at their values: an ARN stays while its resource is not replaced.
    """
    recreating = [
        one for one in details if one.get("Target", {}).get("RequiresRecreation") != "Never"
    ]
    return bool(recreating) and all(
        one.get("Evaluation") == "Dynamic"
        and one.get("ChangeSource") in ("ResourceReference", "ResourceAttribute")
        and replaced.get(one.get("CausingEntity", "").partition(".")[0]) == "False"
        and one.get("CausingEntity", "").partition(".")[2] in _LASTING
        for one in recreating
    )


def _told(details: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Leave out what is told twice: a property that changes by a parameter is so directly, too."""
    seen: dict[tuple[str, str], Mapping[str, Any]] = {}
    for one in details:
        target = one.get("Target", {})
        key = (target.get("Attribute", ""), target.get("Path") or target.get("Name") or "")
        if key not in seen or one.get("CausingEntity"):
            seen[key] = {**seen.get(key, {}), **one}
    return seen.values()


def _property(detail: Mapping[str, Any]) -> PropertyChange:
    target = detail.get("Target", {})
    path = (target.get("Path") or "").removeprefix("/Properties/").strip("/").replace("/", ".")
    attribute = target.get("Attribute", "")
    name = path or target.get("Name") or ""
    if attribute and attribute != "Properties":
        name = f"{attribute}.{name}" if name else attribute
    source, entity = detail.get("ChangeSource", ""), detail.get("CausingEntity")
    cause = f"parameter {entity}" if source == "ParameterReference" else (entity or "")
    return PropertyChange(
        name=name or "properties",
        before=target.get("BeforeValue"),
        after=target.get("AfterValue"),
        cause=cause,
        replaces=target.get("RequiresRecreation") in ("Always", "Conditionally"),
    )


@dataclass(frozen=True)
class ParameterChange:
    """A parameter of a stack, before and after; None is not there."""

    name: str
    before: str | None
    after: str | None


def parameter_changes(
    before: Mapping[str, str], after: Mapping[str, Any], template: Template
) -> tuple[ParameterChange, ...]:
    """Compare parameters; those that are kept secret (NoEcho) are left out."""
    declared = template.get("Parameters", {})
    found = []
    for name, about in declared.items():
        old = before.get(name)
        given = after.get(name, about.get("Default"))
        new = None if given is None else str(given)
        secret = str(about.get("NoEcho", "")).lower() == "true"
        if secret or old == new or (old is None and name not in after):
            continue
        found.append(ParameterChange(name, old, new))
    gone = [ParameterChange(name, before[name], None) for name in before if name not in declared]
    return (*found, *gone)
