"""The application of EMR Serverless, which AWS changes only while it is stopped."""

from collections.abc import Iterable

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.infra.ask import ask
from clickstream_dagster.infra.changes import ResourceChange
from clickstream_dagster.infra.clients import client_of
from clickstream_dagster.infra.stacks import Stack, Stacks

_TYPE = "AWS::EMRServerless::Application"
_AT_WORK = ("STARTING", "STARTED", "STOPPING")


def changes_application(changes: Iterable[ResourceChange]) -> bool:
    """Whether changes of a stack are of its application, be it of its tags alone."""
    return any(one.type == _TYPE and one.act != "add" for one in changes)


def application_at_work(stack: Stack, stacks: Stacks, access: S3Access) -> str | None:
    """Tell why a stack's application can't be changed now, and what to do; None if it can.

    Reads only. Raises InfraError where it may not look.
    """
    for one in stacks.resources(stack.id):
        if one["ResourceType"] != _TYPE or not one.get("PhysicalResourceId"):
            continue
        application, region = one["PhysicalResourceId"], stacks.region
        state = _state(application, access)
        if state in _AT_WORK:
            return (
                f"infra.processing: the application {application} is {state}, and AWS changes it "
                "only while it is stopped: apply again when it has stopped, "
                "infra.processing.idle_minutes after its last job run; or stop it between two, "
                "which AWS refuses while one runs: `aws emr-serverless stop-application --region "
                f"{region} --application-id {application}`. Other modules go with --module"
            )
    return None


def _state(application: str, access: S3Access) -> str | None:
    client = client_of(access, "emr-serverless")
    answer = ask(
        lambda: client.get_application(applicationId=application),
        "emr-serverless:GetApplication",
        {"ResourceNotFoundException": None},
    )
    return None if answer is None else answer["application"]["state"]
