"""Rules of who gets in, what containers and machines may do, and how a template is written."""

import re
from collections.abc import Iterator
from typing import Any

from clickstream_dagster.infra.template import Template
from tests.infra.templates.policy import (
    Finding,
    branches,
    is_true,
    listed,
    properties,
    resources,
    rule,
    text_of,
    walk,
)

OPEN = {
    "ingestion.yaml": {"LoadBalancerSecurityGroup"},
}
"""Groups that the internet gets through: those of the endpoint that clients send events to."""

WRITABLE = {
    ("orchestration.yaml", "bastion"): "Systems Manager's agent writes to the container's root",
}
"""Containers whose root can be written to, and why."""

_GROUP_DESCRIPTION = re.compile(r"[a-zA-Z0-9. _:/()#,@\[\]+=&;{}!$*-]{0,255}")
_EVERYWHERE = {"0.0.0.0/0", "::/0"}
_SECRET = re.compile(r"password|secret|token|credential", re.IGNORECASE)
_SECRET_PROPERTIES = {"MasterUserPassword", "AdminUserPassword", "ClientSecret", "SecretString"}


@rule
def nothing_comes_in(name: str, template: Template) -> Iterator[Finding]:
    """No security group lets the internet in, but the endpoint's."""
    for resource, body in resources(template, "AWS::EC2::SecurityGroup"):
        own = properties(body)
        if "SecurityGroupEgress" not in own:
            yield Finding(resource, "lets everything out: name SecurityGroupEgress")
        for ingress in listed(own.get("SecurityGroupIngress", [])):
            yield from _open_rule(name, template, resource, ingress)
    for resource, body in resources(template, "AWS::EC2::SecurityGroupIngress"):
        group = text_of(properties(body)["GroupId"])
        yield from _open_rule(name, template, resource, properties(body), group)


@rule
def groups_are_described_in_letters_of_ec2(name: str, template: Template) -> Iterator[Finding]:
    """EC2 refuses a security group, or a rule of one, with another letter in its description."""
    kinds = ("", "Ingress", "Egress")
    for resource, body in resources(template, *(f"AWS::EC2::SecurityGroup{k}" for k in kinds)):
        for one in walk(properties(body)):
            for key in ("Description", "GroupDescription") if isinstance(one, dict) else ():
                said = re.sub(r"\$\{\w+\}", "x", text_of(one.get(key, "")))
                if not _GROUP_DESCRIPTION.fullmatch(said):
                    yield Finding(resource, f"is described with letters that EC2 refuses: {said}")


def _open_rule(
    name: str, template: Template, resource: str, ingress: dict[str, Any], group: str = ""
) -> Iterator[Finding]:
    sources = [
        source
        for key in ("CidrIp", "CidrIpv6")
        for branch in branches(ingress.get(key))
        if branch is not None
        for source in _possible(template, branch)
    ]
    allowed = any(one == resource or one in group for one in OPEN.get(name, ()))
    if _EVERYWHERE & set(sources) and not allowed:
        yield Finding(resource, "lets the internet in")
    if str(ingress.get("IpProtocol")) == "-1":
        yield Finding(resource, "lets every protocol in: name protocol and ports")
    if not any(key.startswith(("Source", "Cidr")) for key in ingress):
        yield Finding(resource, "lets in from nowhere that is named")


def _possible(template: Template, value: Any) -> list[str]:
    """Give what a value is: of a parameter its default, and everything if it has none."""
    if isinstance(value, dict) and "Ref" in value:
        parameter = template.get("Parameters", {}).get(value["Ref"], {})
        if "Default" not in parameter:
            return ["0.0.0.0/0"]
        return [part.strip() for part in str(parameter["Default"]).split(",")]
    return [text_of(value)]


@rule
def nothing_is_public(name: str, template: Template) -> Iterator[Finding]:
    """Databases and tasks have no public address."""
    for resource, body in resources(
        template, "AWS::RDS::DBInstance", "AWS::RedshiftServerless::Workgroup"
    ):
        if properties(body).get("PubliclyAccessible") not in (False, "false"):
            yield Finding(resource, "may have a public address: set PubliclyAccessible to false")
    for resource, body in resources(template, "AWS::ECS::Service"):
        network = properties(body).get("NetworkConfiguration", {}).get("AwsvpcConfiguration")
        for branch in branches(network) if network else ():
            for choice in branches(branch.get("AssignPublicIp", "DISABLED")):
                if choice != "DISABLED":
                    yield Finding(resource, "gives its tasks public addresses")


@rule
def containers_have_no_right(name: str, template: Template) -> Iterator[Finding]:
    """No container is privileged, and none writes to its root."""
    for resource, body in resources(template, "AWS::ECS::TaskDefinition"):
        for container in listed(properties(body)["ContainerDefinitions"]):
            who = container["Name"]
            if is_true(container.get("Privileged")):
                yield Finding(resource, f"the container {who} is privileged")
            if str(container.get("User", "")).split(":")[0] in ("root", "0"):
                yield Finding(resource, f"the container {who} runs as root")
            read_only = is_true(container.get("ReadonlyRootFilesystem"))
            if not read_only and (name, who) not in WRITABLE:
                yield Finding(resource, f"the container {who} may write to its root")
            for variable in listed(container.get("Environment", [])):
                if _SECRET.search(text_of(variable["Name"])) and not _points(variable["Value"]):
                    yield Finding(resource, f"{text_of(variable['Name'])} is in plain sight")


def _points(value: Any) -> bool:
    """Whether a value is where a secret is, and not the secret."""
    return "arn" in text_of(value).lower()


@rule
def machines_ask_for_tokens(name: str, template: Template) -> Iterator[Finding]:
    """Machines answer questions about their role only to who has a token (IMDSv2)."""
    for resource, body in resources(template, "AWS::EC2::LaunchTemplate"):
        options = properties(body)["LaunchTemplateData"].get("MetadataOptions", {})
        if options.get("HttpTokens") != "required":
            yield Finding(resource, "needs MetadataOptions with HttpTokens: required")
    for resource, _ in resources(template, "AWS::AutoScaling::LaunchConfiguration"):
        yield Finding(resource, "is of the old kind: write a launch template")


@rule
def no_secret_is_written(name: str, template: Template) -> Iterator[Finding]:
    """A secret is in Secrets Manager, and templates and parameters say where."""
    for parameter in template.get("Parameters", {}):
        if _SECRET.search(parameter) and not parameter.endswith("Arn"):
            yield Finding(parameter, "takes a secret: take the ARN of one in Secrets Manager")
    for resource, body in resources(template):
        for one in walk(properties(body)):
            if not isinstance(one, dict):
                continue
            for key in _SECRET_PROPERTIES & one.keys():
                for branch in branches(one[key]):
                    if not text_of(branch).startswith("{{resolve:secretsmanager:"):
                        yield Finding(resource, f"{key} is not taken from Secrets Manager")


@rule
def parameters_are_described(name: str, template: Template) -> Iterator[Finding]:
    """Every parameter says what it is, and is of use; so does every output."""
    used = {one["Ref"] for one in walk(_without(template, "Parameters")) if _is(one, "Ref")}
    for one in walk(_without(template, "Parameters")):
        if _is(one, "Fn::Sub"):
            used |= set(re.findall(r"\$\{(\w+)\}", text_of(one)))
    for parameter, about in template.get("Parameters", {}).items():
        if not str(about.get("Description", "")).strip().endswith("."):
            yield Finding(parameter, "needs a Description, of sentences")
        if parameter not in used:
            yield Finding(parameter, "is not used")
    for output, about in template.get("Outputs", {}).items():
        if not str(about.get("Description", "")).strip():
            yield Finding(output, "needs a Description")


def _is(value: Any, function: str) -> bool:
    return isinstance(value, dict) and set(value) == {function}


def _without(template: Template, key: str) -> dict[str, Any]:
    return {name: value for name, value in template.items() if name != key}


@rule
def stacks_stand_alone(name: str, template: Template) -> Iterator[Finding]:
    """No macro, no stack in a stack, and no export that would lock another stack."""
    for key in ("Transform", "Macros"):
        if key in template:
            yield Finding(key, "runs code on the template")
    for resource, body in resources(template):
        if body["Type"] in ("AWS::CloudFormation::Stack", "AWS::CloudFormation::CustomResource"):
            yield Finding(resource, f"is a {body['Type']}")
        if body["Type"].startswith("Custom::"):
            yield Finding(resource, "runs code of its own")
    for output, about in template.get("Outputs", {}).items():
        if "Export" in about:
            yield Finding(output, "is exported: other stacks are given it as a parameter")
    for one in walk(template):
        if _is(one, "Fn::ImportValue"):
            yield Finding("Fn::ImportValue", "locks the stack that it imports from")
