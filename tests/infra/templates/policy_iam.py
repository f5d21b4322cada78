"""Rules of what roles and policies allow, and to whom."""

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from clickstream_dagster.infra.template import Template
from tests.infra.templates.policy import (
    Finding,
    branches,
    listed,
    properties,
    resources,
    rule,
    text_of,
)

WITHOUT_RESOURCES = {
    "athena:ListWorkGroups": "lists the work groups of the account",
    "ec2:DescribeNetworkInterfaces": "a run gets the daemon's network",
    "ecr:GetAuthorizationToken": "a token for the account's registry",
    "ecs:DescribeTaskDefinition": "Dagster looks its run's definition up",
    "ecs:DiscoverPollEndpoint": "the agent of a machine finds its cluster",
    "redshift-data:CancelStatement": "own statements, by a condition",
    "redshift-data:DescribeStatement": "own statements, by a condition",
    "redshift-data:GetStatementResult": "own statements, by a condition",
    "ssmmessages:CreateControlChannel": "how Systems Manager's agent talks",
    "ssmmessages:CreateDataChannel": "how Systems Manager's agent talks",
    "ssmmessages:OpenControlChannel": "how Systems Manager's agent talks",
    "ssmmessages:OpenDataChannel": "how Systems Manager's agent talks",
}
"""Actions that IAM gives on all resources or on none, and what they are needed for."""

WITHOUT_SOURCE = {
    "ec2.amazonaws.com": "assumes a role for a machine of its own account",
    "edgelambda.amazonaws.com": "names no source",
    "lambda.amazonaws.com": "names no source when a function starts",
}
"""Services that don't tell for whom they take a role."""

_SOURCES = ("aws:SourceAccount", "aws:SourceArn", "sts:ExternalId")
_IDENTITY = (
    "AWS::IAM::Role",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::RolePolicy",
    "AWS::IAM::Policy",
)
_RESOURCE = (
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::KMS::Key",
    "AWS::EFS::FileSystem",
)


@cache
def known_actions() -> dict[str, Any]:
    """Give IAM's actions by service, as cfn-lint has them: with the resources that they know."""
    text = files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json").read_text()
    return json.loads(text)


def action_of(action: str) -> dict[str, Any] | None:
    """Give what IAM knows of an action, None if there is none of the name."""
    service, _, name = action.partition(":")
    return known_actions().get(service, {}).get("Actions", {}).get(name.lower())


def statements(document: Any) -> Iterator[dict[str, Any]]:
    """Give the statements of a policy, those under conditions too."""
    for one in branches(document):
        yield from listed(one["Statement"])


def identity_statements(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the statements that say what somebody may do."""
    for name, resource in resources(template, *_IDENTITY):
        own = properties(resource)
        documents = [one["PolicyDocument"] for one in listed(own.get("Policies", []))]
        documents += [own["PolicyDocument"]] if "PolicyDocument" in own else []
        for document in documents:
            for statement in statements(document):
                yield name, statement


def resource_statements(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the statements that say who may do something with a resource."""
    for name, resource in resources(template, *_RESOURCE):
        own = properties(resource)
        document = own.get("PolicyDocument") or own.get("KeyPolicy") or own.get("FileSystemPolicy")
        for statement in statements(document) if document else ():
            yield name, statement


@rule
def actions_are_named(name: str, template: Template) -> Iterator[Finding]:
    """No policy allows what it does not name, and each name is one that IAM knows."""
    for resource, statement in identity_statements(template):
        for action in listed(statement.get("Action", "*")):
            if "*" in action:
                yield Finding(resource, f"allows {action}: name each action")
            elif action_of(action) is None:
                yield Finding(resource, f"IAM knows no action {action}")
    for resource, statement in resource_statements(template):
        if statement["Effect"] == "Deny":
            continue
        to_account = text_of(statement.get("Principal", {}).get("AWS", "")).endswith(":root")
        for action in listed(statement.get("Action", "*")):
            # What an account's own policies say of a key holds only with this statement.
            usual = action == "kms:*" and to_account
            if (action.endswith(":*") or action == "*") and not usual:
                yield Finding(resource, f"allows {action}: name each action")


@rule
def allowances_are_positive(name: str, template: Template) -> Iterator[Finding]:
    """No policy allows all but something."""
    for resource, statement in [*identity_statements(template), *resource_statements(template)]:
        for key in ("NotAction", "NotResource", "NotPrincipal"):
            if key in statement and statement["Effect"] == "Allow":
                yield Finding(resource, f"allows by {key}: say what is allowed")


@rule
def resources_are_named(name: str, template: Template) -> Iterator[Finding]:
    """No policy allows an action on all resources, if the action knows any."""
    for resource, statement in identity_statements(template):
        if statement["Effect"] != "Allow":
            continue
        for place in listed(statement.get("Resource", "*")):
            if not _is_everything(text_of(place)):
                continue
            for action in listed(statement.get("Action", "*")):
                if action not in WITHOUT_RESOURCES:
                    yield Finding(resource, f"allows {action} on {text_of(place)}")


def _is_everything(place: str) -> bool:
    plain = re.sub(r"\$\{[^}]*\}", "x", place)
    return plain == "*" or re.fullmatch(r"arn(:[^:]*){4}:(\*/?)+", plain) is not None


@rule
def passed_roles_are_named(name: str, template: Template) -> Iterator[Finding]:
    """A role is given to one service only, and no role that is not named."""
    for resource, statement in identity_statements(template):
        if "iam:PassRole" not in listed(statement.get("Action", [])):
            continue
        conditions = statement.get("Condition", {})
        if not any("iam:PassedToService" in one for one in conditions.values()):
            yield Finding(resource, "gives roles to any service: add iam:PassedToService")
        if any("*" in text_of(place) for place in listed(statement["Resource"])):
            yield Finding(resource, "gives roles that it does not name")


@rule
def trust_is_limited(name: str, template: Template) -> Iterator[Finding]:
    """A role is for services that act for this account, and for nobody else."""
    for resource, body in resources(template, "AWS::IAM::Role"):
        for statement in statements(properties(body)["AssumeRolePolicyDocument"]):
            principal = statement["Principal"]
            if principal == "*" or set(principal) != {"Service"}:
                yield Finding(resource, f"trusts {principal}: name a service")
                continue
            keys = {key for one in statement.get("Condition", {}).values() for key in one}
            for service in listed(principal["Service"]):
                if text_of(service) not in WITHOUT_SOURCE and not keys & set(_SOURCES):
                    yield Finding(
                        resource, f"{text_of(service)} takes it for anybody: add aws:SourceAccount"
                    )


@rule
def callers_are_limited(name: str, template: Template) -> Iterator[Finding]:
    """What a resource's own policy lets a service do, it lets it do for this account only."""
    for resource, statement in resource_statements(template):
        principal = statement.get("Principal", {})
        if statement["Effect"] == "Deny":
            continue
        if principal in ("*", {"AWS": "*"}):
            yield Finding(resource, "lets everybody in")
        elif isinstance(principal, dict) and "Service" in principal:
            keys = {key for one in statement.get("Condition", {}).values() for key in one}
            if not any(
                "source" in key.lower() or "encryptioncontext" in key.lower() for key in keys
            ):
                yield Finding(resource, f"lets {principal['Service']} in for anybody")
    for resource, body in resources(template, "AWS::Lambda::Permission"):
        if not {"SourceArn", "SourceAccount"} & properties(body).keys():
            yield Finding(resource, "lets a service call the function for anybody: add SourceArn")


@rule
def roles_can_be_bounded(name: str, template: Template) -> Iterator[Finding]:
    """A team's boundary of permissions can be put on every role."""
    for resource, body in resources(template, "AWS::IAM::Role"):
        if "PermissionsBoundary" not in properties(body):
            yield Finding(resource, "takes no PermissionsBoundary")
