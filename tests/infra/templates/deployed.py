"""Templates on an AWS endpoint: a stack of what the endpoint knows, and a network for it."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3

from clickstream_dagster.infra.intrinsics import Values
from clickstream_dagster.infra.module import Module, Part
from clickstream_dagster.infra.template import Template, render, write


@dataclass(frozen=True)
class Network:
    vpc: str
    public: tuple[str, ...]
    private: tuple[str, ...]


def template_of(name: str, *parts: Part) -> Template:
    """Give a module's template with parts put in."""
    return render(Module(name=name, template=f"{name}.yaml", parameters={}, parts=parts))


def made(template: Template, parameters: Mapping[str, Any]) -> dict[str, Template]:
    """Give the resources that a template makes with these parameters, by their logical ids."""
    values = Values(template, parameters)
    return {name: values.resolve(one) for name, one in values.resources().items()}


def network(zones: int = 3) -> Network:
    """Make a VPC with a public and a private subnet in each zone."""
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"us-east-1{zone}"
        )["Subnet"]["SubnetId"]
        for number, zone in enumerate("abc"[:zones] * 2)
    ]
    return Network(vpc, tuple(subnets[:zones]), tuple(subnets[zones:]))


def unknown(template: Template) -> set[str]:
    """Give the types of a template that moto's CloudFormation does not make."""
    from moto.cloudformation.parsing import get_model_map

    types = {one["Type"] for one in template["Resources"].values()}
    return types - set(get_model_map())


def known_part(template: Template, parameters: Mapping[str, str]) -> Template:
    """Give the part of a template that moto makes with these parameters.

    Out are resources of types that it does not know, and those that refer to one of them.
    """
    values = Values(template, parameters)
    types = unknown(template)
    resources = {
        name: _chosen(one, values)
        for name, one in template["Resources"].items()
        if name in made(template, parameters)
    }
    out = {name for name, one in resources.items() if one["Type"] in types}
    while more := {name for name, one in resources.items() if _names(one) & out} - out:
        out |= more
    kept = {
        name: _depending(one, resources.keys() - out)
        for name, one in resources.items()
        if name not in out
    }
    outputs = {
        name: one
        for name, one in template.get("Outputs", {}).items()
        if _names(_chosen(one, values)) <= {*kept, *template["Parameters"], "AWS::Region"}
        and values.condition(one.get("Condition")) is not False
    }
    return {**template, "Resources": kept, "Outputs": outputs}


def _depending(resource: dict[str, Any], known: set[str]) -> dict[str, Any]:
    depends = resource.get("DependsOn", [])
    depends = [depends] if isinstance(depends, str) else depends
    return {**resource, "DependsOn": [one for one in depends if one in known]}


def _chosen(value: Any, values: Values) -> Any:
    """Give a value with the branch of each Fn::If whose condition is known."""
    if isinstance(value, list):
        return [_chosen(one, values) for one in value]
    if not isinstance(value, dict):
        return value
    branches = value.get("Fn::If")
    if branches and isinstance(holds := values.condition(branches[0]), bool):
        return _chosen(branches[1 if holds else 2], values)
    return {name: _chosen(one, values) for name, one in value.items()}


@dataclass
class Stack:
    """A stack on the endpoint."""

    name: str
    client: Any

    def outputs(self) -> dict[str, str]:
        """Give its outputs."""
        (stack,) = self.client.describe_stacks(StackName=self.name)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", ())}

    def physical(self) -> dict[str, str]:
        """Give the physical ids of its resources by their logical ones."""
        found = self.client.describe_stack_resources(StackName=self.name)["StackResources"]
        # moto lists what a condition leaves out as an empty entry.
        return {
            one["LogicalResourceId"]: one.get("PhysicalResourceId", "")
            for one in found
            if "LogicalResourceId" in one
        }

    def update(self, template: Template, parameters: Mapping[str, str]) -> None:
        """Change it."""
        self.client.update_stack(StackName=self.name, **_told(template, parameters))


@contextmanager
def deployed(template: Template, parameters: Mapping[str, str]) -> Iterator[Stack]:
    """Make a stack, and delete it."""
    client = boto3.client("cloudformation")
    name = f"Clickstream-test-{uuid.uuid4().hex[:8]}"
    client.create_stack(StackName=name, **_told(template, parameters))
    yield Stack(name, client)
    client.delete_stack(StackName=name)
    left = client.list_stacks(StackStatusFilter=["CREATE_COMPLETE", "UPDATE_COMPLETE"])
    assert name not in [one["StackName"] for one in left["StackSummaries"]]


def _told(template: Template, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {
        "TemplateBody": write(template),
        "Capabilities": ["CAPABILITY_IAM"],
        "Parameters": [
            {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
        ],
    }


def _names(value: Any) -> set[str]:
    """Give what a value refers to, also within the texts of Fn::Sub."""
    if isinstance(value, list):
        return set().union(*map(_names, value))
    if isinstance(value, dict):
        found = _names(list(value.values()))
        if isinstance(value.get("Fn::Sub"), list):
            found -= set(value["Fn::Sub"][1])
        if isinstance(value.get("Ref"), str):
            found.add(value["Ref"])
        if isinstance(value.get("Fn::GetAtt"), list):
            found.add(value["Fn::GetAtt"][0])
        return found
    if isinstance(value, str) and "${" in value:
        return {part.split("}")[0].split(".")[0] for part in value.split("${")[1:]}
    return set()
