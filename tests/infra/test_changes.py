"""What a change set of AWS says of a resource is read as it will come."""

from typing import Any

import pytest

from clickstream_dagster.infra.changes import read_changes


def change(name: str, replacement: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {
        "Action": "Modify",
        "LogicalResourceId": name,
        "PhysicalResourceId": f"{name}-1",
        "ResourceType": "AWS::EFS::FileSystem" if name == "Spool" else "AWS::KMS::Key",
        "Replacement": replacement,
        "Details": list(details),
    }


def by_reference(entity: str) -> dict[str, Any]:
    return {
        "Target": {"Attribute": "Properties", "Name": "KmsKeyId", "RequiresRecreation": "Always"},
        "Evaluation": "Dynamic",
        "ChangeSource": "ResourceAttribute" if "." in entity else "ResourceReference",
        "CausingEntity": entity,
    }


@pytest.mark.parametrize(
    ("entity", "key_is_replaced", "act"),
    [
        # CloudFormation warns of each reference to what changes, whether the value does or not.
        ("Key.Arn", "False", "change"),
        ("Key", "False", "change"),
        ("Key.Arn", "True", "may replace"),
        ("Key.Arn", "Conditional", "may replace"),
        ("Key.Other", "False", "may replace"),
        ("Elsewhere.Arn", "False", "may replace"),
    ],
)
def test_a_reference_replaces_only_if_what_it_names_is_replaced(
    entity: str, key_is_replaced: str, act: str
) -> None:
    spool = change("Spool", "Conditional", by_reference(entity))
    (read, _) = read_changes([spool, change("Key", key_is_replaced)], {})
    assert read.act == act
    assert read.loses_state == (act != "change")


def test_a_value_that_is_known_to_change_replaces() -> None:
    detail = {
        **by_reference("Key.Arn"),
        "Evaluation": "Static",
        "ChangeSource": "DirectModification",
    }
    (read, _) = read_changes([change("Spool", "True", detail), change("Key", "False")], {})
    assert read.act == "replace"
    assert read.properties[0].replaces


def test_a_property_that_changes_by_a_parameter_is_told_once() -> None:
    target = {
        "Attribute": "Properties",
        "Name": "Mode",
        "Path": "/Properties/Mode",
        "RequiresRecreation": "Never",
        "BeforeValue": "a",
        "AfterValue": "b",
    }
    details = [
        {"Target": target, "Evaluation": "Dynamic", "ChangeSource": "DirectModification"},
        {
            "Target": target,
            "Evaluation": "Static",
            "ChangeSource": "ParameterReference",
            "CausingEntity": "Throughput",
        },
    ]
    (read,) = read_changes([change("Spool", "False", *details)], {})
    (told,) = read.properties
    assert (told.name, told.before, told.after) == ("Mode", "a", "b")
    assert told.cause == "parameter Throughput"


def test_what_a_template_retains_is_stateful_whatever_it_is() -> None:
    removed = {
        "Action": "Remove",
        "LogicalResourceId": "Log",
        "ResourceType": "AWS::Logs::LogGroup",
    }
    (bare,) = read_changes([removed], {})
    (kept,) = read_changes([removed], {"Log": frozenset({"Retain"})})
    assert (bare.loses_state, kept.loses_state, kept.kept) == (False, True, True)
