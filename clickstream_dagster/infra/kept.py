"""What destroy keeps and CloudFormation can't make again, as its name follows from the YAML."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.infra.ask import ask
from clickstream_dagster.infra.names import default_workgroup
from clickstream_dagster.infra.settings import Infra, Pipeline
from clickstream_dagster.infra.stacks import Stacks

Name = tuple[str, str]
"""A type of CloudFormation's resources, and the name of one in the account."""

BUCKET = "AWS::S3::Bucket"
STREAM = "AWS::Kinesis::Stream"
DATABASE = "AWS::Glue::Database"
NAMESPACE = "AWS::RedshiftServerless::Namespace"
LOG_GROUP = "AWS::Logs::LogGroup"

_LOGS = ("connectionlog", "userlog", "useractivitylog")
_NOT_OF_THE_STACK = ("CREATE_FAILED", "DELETE_COMPLETE", "DELETE_SKIPPED")


def names_made(infra: Infra, pipeline: Pipeline) -> tuple[Name, ...]:
    """Give the names of what modules make and destroy keeps, but for buckets."""
    found: list[Name] = []
    if infra.kinesis is not None and infra.kinesis.new_stream and pipeline.kinesis_stream:
        found.append((STREAM, pipeline.kinesis_stream))
    if infra.processing is not None and infra.processing.new_database:
        found.append((DATABASE, pipeline.project_id))
    redshift = infra.redshift
    if redshift is not None and not redshift.existing and redshift.new_namespace:
        namespace = default_workgroup(pipeline.project_id)
        found.append((NAMESPACE, namespace))
        found.extend((LOG_GROUP, f"/aws/redshift/{namespace}/{log}") for log in _LOGS)
    return tuple(found)


def names_there(names: Iterable[Name], client: Callable[[str], Any]) -> frozenset[Name]:
    """Give those of the names that are in the account; `client` gives that of a service.

    Raises InfraError where it may not look.
    """
    looks = {STREAM: _stream, DATABASE: _database, NAMESPACE: _namespace, LOG_GROUP: _log_group}
    return frozenset((kind, name) for kind, name in names if looks[kind](client, name))


def own_names(project_id: str, access: S3Access) -> frozenset[Name]:
    """Give the names of all that the stacks of a project have. Raises StackError if AWS refuses."""
    stacks = Stacks(access)
    found = (stacks.resources(stack.id) for stack in stacks.of_project(project_id).values())
    return frozenset(name for resources in found for name in names_of(resources))


def names_of(resources: Iterable[Mapping[str, Any]]) -> Iterator[Name]:
    """Yield the names of a stack's resources, of which it tells summaries, while it has them."""
    for one in resources:
        if one.get("PhysicalResourceId") and one["ResourceStatus"] not in _NOT_OF_THE_STACK:
            yield one["ResourceType"], one["PhysicalResourceId"]


def _stream(client: Callable[[str], Any], name: str) -> bool:
    return _is_told(
        lambda: client("kinesis").describe_stream_summary(StreamName=name),
        "kinesis:DescribeStreamSummary",
        "ResourceNotFoundException",
    )


def _database(client: Callable[[str], Any], name: str) -> bool:
    return _is_told(
        lambda: client("glue").get_database(Name=name),
        "glue:GetDatabase",
        "EntityNotFoundException",
    )


def _namespace(client: Callable[[str], Any], name: str) -> bool:
    return _is_told(
        lambda: client("redshift-serverless").get_namespace(namespaceName=name),
        "redshift-serverless:GetNamespace",
        "ResourceNotFoundException",
    )


def _is_told(call: Callable[[], Any], right: str, missing: str) -> bool:
    """Give whether AWS tells of it; `missing` is its error for what is not there."""
    return ask(call, right, {missing: None}) is not None


def _log_group(client: Callable[[str], Any], name: str) -> bool:
    answer = ask(
        lambda: client("logs").describe_log_groups(logGroupNamePrefix=name),
        "logs:DescribeLogGroups",
        {},
    )
    return any(one["logGroupName"] == name for one in answer["logGroups"])
