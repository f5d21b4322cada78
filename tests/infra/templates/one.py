"""A project of one module on the endpoint, and what its template says with its parameters."""

import re
import uuid
from dataclasses import dataclass, replace
from typing import Any

import boto3

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.intrinsics import UNKNOWN, Values
from clickstream_dagster.infra.module import Module, Part
from clickstream_dagster.infra.outputs import outputs_of
from clickstream_dagster.infra.stacks import Stacks
from tests.infra.templates.written import written

_ACCOUNT = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
}
_NOTHING = object()


class Resolved(Values):
    """Values of a template with texts put together, and without what `AWS::NoValue` leaves out."""

    def resolve(self, value: Any) -> Any:
        if value == {"Ref": "AWS::NoValue"}:
            return _NOTHING
        if isinstance(value, dict) and "Fn::Sub" in value:
            return self._sub(value["Fn::Sub"])
        found = super().resolve(value)
        if isinstance(found, list):
            return [one for one in found if one is not _NOTHING]
        if isinstance(found, dict):
            return {key: one for key, one in found.items() if one is not _NOTHING}
        return found

    def _call(self, function: str, argument: Any) -> Any:
        if function != "Fn::Split":
            return super()._call(function, argument)
        mark, text = self.resolve(argument)
        return text.split(mark) if isinstance(text, str) else UNKNOWN

    def _sub(self, argument: Any) -> Any:
        text, own = (argument, {}) if isinstance(argument, str) else argument
        known = _ACCOUNT | {name: self.resolve(one) for name, one in own.items()}
        names = set(re.findall(r"\$\{([^}]+)\}", text))
        values = {name: known.get(name, self._ref(name)) for name in names}
        if UNKNOWN in values.values():
            return UNKNOWN
        return re.sub(r"\$\{([^}]+)\}", lambda match: str(values[match[1]]), text)


@dataclass(frozen=True)
class One:
    """A project of one module."""

    module: Module
    project_id: str

    def infrastructure(self) -> Infrastructure:
        """Give it as the engine takes it."""
        return Infrastructure(self.project_id, (self.module,), S3Access())

    def apply(self) -> str:
        """Make or change its stack; tell which."""
        (done,) = apply(self.infrastructure())
        return done.outcome

    def changed(self, **parameters: str) -> "One":
        """Give it with other parameters."""
        known = {**self.module.parameters, **parameters}
        return replace(self, module=replace(self.module, parameters=known))

    def outputs(self) -> dict[str, str]:
        """Give the outputs of its stack."""
        return dict(outputs_of(self.project_id, self.module.name, S3Access()))

    def physical_ids(self) -> dict[str, str]:
        """Give the names that resources have, by their names in the template."""
        stack = self.infrastructure().stack_name(self.module.name)
        found = Stacks(S3Access()).resources(stack)
        # moto lists what a condition leaves out under no name.
        return {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for one in found
            if one["LogicalResourceId"]
        }

    def is_there(self) -> bool:
        """Whether it has a stack."""
        name = self.infrastructure().stack_name(self.module.name)
        return Stacks(S3Access()).find(name) is not None

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Give the properties of the resources of a type that are made, by their names."""
        values = Resolved(written(self.module.template), self.module.parameters)
        return {
            name: values.resolve(resource["Properties"])
            for name, resource in values.resources().items()
            if resource["Type"] == kind
        }


def one_of(name: str, *parts: Part, **parameters: str) -> One:
    """Give a project of one module, which is not there yet; what is not given is empty."""
    project = f"p{uuid.uuid4().hex[:8]}"
    declared = written(f"{name}.yaml")["Parameters"]
    needed = {key: "" for key, about in declared.items() if "Default" not in about}
    known = {**needed, "ProjectId": project, **parameters}
    return One(Module(name, f"{name}.yaml", known, parts), project)


def allowed(policy_arn: str) -> dict[str, Any]:
    """Give the statements of a policy on the endpoint by their Sid."""
    iam = boto3.client("iam")
    version = iam.get_policy(PolicyArn=policy_arn)["Policy"]["DefaultVersionId"]
    found = iam.get_policy_version(PolicyArn=policy_arn, VersionId=version)["PolicyVersion"]
    return {one["Sid"]: one for one in found["Document"]["Statement"]}


def listed(value: str | list[str]) -> list[str]:
    """Give what may be one or several as a list."""
    return [value] if isinstance(value, str) else value


def security_group(group_id: str) -> dict[str, Any]:
    """Give a security group of the endpoint."""
    (found,) = boto3.client("ec2").describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    return found
