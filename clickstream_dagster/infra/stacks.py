"""Stacks of CloudFormation: looked at, changed by change sets, deleted, and waited for."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.errors import ClickstreamError
from clickstream_dagster.infra.clients import client_of

PROJECT_TAG, MODULE_TAG, VERSION_TAG = (
    "clickstream:project",
    "clickstream:module",
    "clickstream:version",
)

_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_CANCELLED = ("Resource creation cancelled", "Resource update cancelled")
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
_SECONDS_TO_BEGIN = 300.0
_NEVER = "1970"


class StackError(ClickstreamError):
    """A stack that can't be planned, applied or destroyed."""


@dataclass(frozen=True)
class Stack:
    """A stack as it is: `parameters` and `outputs` by name, `status` as CloudFormation says it."""

    name: str
    id: str
    status: str
    reason: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def at_work(self) -> bool:
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    @property
    def is_there(self) -> bool:
        """Whether it can be updated: it was made once, and its last change is over."""
        return self.status in (
            *("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED"),
            *("IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"),
        )

    @property
    def module(self) -> str:
        return self.tags.get(MODULE_TAG, "")


@dataclass(frozen=True)
class Event:
    """Something that happened to a resource of a stack."""

    logical_id: str
    type: str
    status: str
    reason: str

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.status:<28} {self.type} {self.logical_id}{reason}"

    @property
    def is_cause(self) -> bool:
        """Whether something failed by itself, and not because something else did."""
        return self.status.endswith("_FAILED") and not self.reason.startswith(_CANCELLED)


@dataclass(frozen=True)
class ChangeSet:
    """A change set: `changes` are CloudFormation's ResourceChanges, None if nothing changes."""

    id: str
    changes: Sequence[Mapping[str, Any]] | None


Tell = Callable[[Event], None]


class Stacks:
    """CloudFormation of an account and region, reached as `access` says."""

    def __init__(self, access: S3Access) -> None:
        with self._clear("DescribeStacks"):
            self._client = client_of(access, "cloudformation")

    @property
    def region(self) -> str:
        return self._client.meta.region_name

    def find(self, name: str) -> Stack | None:
        """Give a stack by name or id; None if there is none, or it is deleted."""
        from botocore.exceptions import ClientError

        with self._clear("DescribeStacks"):
            try:
                (found,) = self._client.describe_stacks(StackName=name)["Stacks"]
            except ClientError as error:
                if "does not exist" in str(error):
                    return None
                raise
        stack = _stack(found)
        return None if stack.status == "DELETE_COMPLETE" else stack

    def of_project(self, project_id: str) -> dict[str, Stack]:
        """Give a project's stacks by module, found by their tags."""
        with self._clear("DescribeStacks"):
            pages = self._client.get_paginator("describe_stacks").paginate()
            stacks = [_stack(one) for page in pages for one in page["Stacks"]]
        return {
            stack.module: stack
            for stack in stacks
            if stack.tags.get(PROJECT_TAG) == project_id
            and stack.module
            and stack.status != "DELETE_COMPLETE"
        }

    def resources(self, name: str) -> list[Mapping[str, Any]]:
        """Give the summaries of a stack's resources, as CloudFormation has them."""
        with self._clear("ListStackResources"):
            pages = self._client.get_paginator("list_stack_resources").paginate(StackName=name)
            return [one for page in pages for one in page["StackResourceSummaries"]]

    def template(self, name: str) -> str:
        """Give the text of a stack's template as it was sent."""
        with self._clear("GetTemplate"):
            answer = self._client.get_template(StackName=name, TemplateStage="Original")
        body = answer["TemplateBody"]
        if isinstance(body, str):
            return body
        import json

        return json.dumps(body)  # boto3 reads a template that is JSON

    def prepare(
        self,
        name: str,
        template: Mapping[str, str],
        parameters: Sequence[Mapping[str, Any]],
        tags: Mapping[str, str],
        new: bool,
    ) -> ChangeSet:
        """Create a change set and wait until it is worked out.

        `template` is `TemplateBody` or `TemplateURL`. Raises StackError if CloudFormation can't.
        """
        from botocore.exceptions import ClientError

        with self._clear("CreateChangeSet"), _valid(name):
            try:
                made = self._client.create_change_set(
                    StackName=name,
                    ChangeSetName=f"clickstream-{uuid.uuid4().hex}",
                    ChangeSetType="CREATE" if new else "UPDATE",
                    Parameters=list(parameters),
                    Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
                    Capabilities=["CAPABILITY_NAMED_IAM"],
                    **template,
                )
            except ClientError as error:
                if any(text in str(error) for text in _NO_CHANGES):
                    return ChangeSet("", None)
                raise
            answer = self._described(made["Id"])
            while answer["Status"] in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
                time.sleep(_FIRST_WAIT * 5)
                answer = self._described(made["Id"])
        reason = answer.get("StatusReason") or ""
        if answer["Status"] == "CREATE_COMPLETE":
            return ChangeSet(made["Id"], _changes(answer))
        self.discard(made["Id"])
        if any(text in reason for text in _NO_CHANGES):
            return ChangeSet("", None)
        raise StackError(f"{name} can't be changed so: {reason}")

    def _described(self, change_set: str) -> dict[str, Any]:
        answer = self._client.describe_change_set(
            ChangeSetName=change_set, IncludePropertyValues=True
        )
        token = answer.get("NextToken")
        while token:
            page = self._client.describe_change_set(
                ChangeSetName=change_set, IncludePropertyValues=True, NextToken=token
            )
            answer["Changes"] += page["Changes"]
            token = page.get("NextToken")
        return answer

    def discard(self, change_set: str) -> None:
        """Delete a change set that is not executed."""
        with self._clear("DeleteChangeSet"):
            self._client.delete_change_set(ChangeSetName=change_set)

    def create(
        self,
        name: str,
        template: Mapping[str, str],
        parameters: Sequence[Mapping[str, Any]],
        tags: Mapping[str, str],
        tell: Tell,
    ) -> Stack:
        """Create a stack and wait for the end. Raises StackError with the first cause."""
        with self._clear("CreateStack"), _valid(name):
            made = self._client.create_stack(
                StackName=name,
                Parameters=list(parameters),
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
                Capabilities=["CAPABILITY_NAMED_IAM"],
                **template,
            )
        return self._result(made["StackId"], _NEVER, tell, "EXECUTE")

    def execute(self, change_set: ChangeSet, stack: str, tell: Tell) -> Stack:
        """Execute a change set and wait for the end. Raises StackError with the first cause."""
        seen = self._newest(stack)
        with self._clear("ExecuteChangeSet"):
            self._client.execute_change_set(ChangeSetName=change_set.id)
        return self._result(stack, seen, tell, "EXECUTE")

    def roll_back_further(self, name: str, tell: Tell) -> Stack:
        """Continue a rollback that has failed. Raises StackError with the cause if it does again"""
        seen = self._newest(name)
        with self._clear("ContinueUpdateRollback"):
            self._client.continue_update_rollback(StackName=name)
        return self._result(name, seen, tell, "CONTINUE")

    def wait(self, name: str, tell: Tell) -> Stack | None:
        """Wait until nobody changes a stack any more; give it as it is then, None if it is gone."""
        return self._wait(name, self._newest(name), [], tell, begun=True)

    def delete(self, stack: Stack, tell: Tell) -> None:
        """Delete a stack and wait for it. Raises StackError with the first cause if it can't be."""
        seen = self._newest(stack.id)
        with self._clear("DeleteStack"):
            self._client.delete_stack(StackName=stack.id)
        events: list[Event] = []
        left = self._wait(stack.id, seen, events, tell)
        if left is not None:
            raise StackError(f"{stack.name} can't be deleted: {_cause(events, left)}")

    def _result(self, name: str, seen: str, tell: Tell, act: str) -> Stack:
        events: list[Event] = []
        stack = self._wait(name, seen, events, tell)
        failed = [event for event in events if event.is_cause]
        good = {
            "EXECUTE": ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"),
            "CONTINUE": ("UPDATE_ROLLBACK_COMPLETE",),
        }[act]
        if stack is not None and stack.status in good:
            return stack
        if stack is None:
            raise StackError(f"{name} was deleted meanwhile")
        raise StackError(
            f"{stack.name} has failed and is {stack.status} now: {_cause(failed, stack)}"
        )

    def _wait(
        self, name: str, seen: str, events: list[Event], tell: Tell, begun: bool = False
    ) -> Stack | None:
        """Wait until a stack has begun, if it has not yet, and is no longer at work.

        CloudFormation begins a little after it is told to: until then the status is the old one.
        """
        pause, end = _FIRST_WAIT, time.monotonic() + _SECONDS_TO_BEGIN
        while True:
            begun = begun or bool(events)
            stack = self.find(name)
            for event_id, event in self._events_since(name, seen):
                seen = event_id
                events.append(event)
                tell(event)
            if stack is None or (begun and not stack.at_work):
                return stack
            if not begun and time.monotonic() > end:
                raise StackError(
                    f"{stack.name} is {stack.status}, and has not begun what it was told for "
                    f"{_SECONDS_TO_BEGIN / 60:.0f} minutes: look at it in the AWS console"
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_WAIT)

    def _newest(self, name: str) -> str:
        with self._clear("DescribeStackEvents"):
            found = self._client.describe_stack_events(StackName=name)["StackEvents"]
        return found[0]["EventId"] if found else _NEVER

    def _events_since(self, name: str, seen: str) -> Iterator[tuple[str, Event]]:
        """Give what has happened after an event, oldest first."""
        from botocore.exceptions import ClientError

        found: list[Mapping[str, Any]] = []
        try:
            pages = self._client.get_paginator("describe_stack_events").paginate(StackName=name)
            for event in (one for page in pages for one in page["StackEvents"]):
                if event["EventId"] == seen:
                    break
                found.append(event)
        except ClientError as error:
            if "does not exist" not in str(error):
                with self._clear("DescribeStackEvents"):
                    raise
        for event in reversed(found):
            yield (
                event["EventId"],
                Event(
                    event["LogicalResourceId"],
                    event["ResourceType"],
                    event["ResourceStatus"],
                    event.get("ResourceStatusReason") or "",
                ),
            )

    def drifts(self, name: str) -> tuple[str, list[Mapping[str, Any]]]:
        """Detect drift and wait for it: give the stack's status and the resources' drifts."""
        with self._clear("DetectStackDrift, DescribeStackResourceDrifts"):
            detection = self._client.detect_stack_drift(StackName=name)["StackDriftDetectionId"]
            pause = _FIRST_WAIT
            while True:
                answer = self._client.describe_stack_drift_detection_status(
                    StackDriftDetectionId=detection
                )
                if answer["DetectionStatus"] != "DETECTION_IN_PROGRESS":
                    break
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_WAIT)
            found: list[Mapping[str, Any]] = []
            options: dict[str, Any] = {
                "StackName": name,
                "StackResourceDriftStatusFilters": ["MODIFIED", "DELETED"],
            }
            while True:
                page = self._client.describe_stack_resource_drifts(**options)
                found += page["StackResourceDrifts"]
                if not page.get("NextToken"):
                    break
                options["NextToken"] = page["NextToken"]
        if answer["DetectionStatus"] == "DETECTION_FAILED" and not found:
            raise StackError(
                f"{name}: drift can't be told: {answer.get('DetectionStatusReason', '')}"
            )
        return answer.get("StackDriftStatus", "UNKNOWN"), found

    def _clear(self, right: str) -> AbstractContextManager[None]:
        return clear_aws_errors(
            StackError, "CloudFormation", f"cloudformation:{right}", "apply the module first"
        )


@contextmanager
def _valid(name: str) -> Iterator[None]:
    """Tell what CloudFormation finds wrong with a template or its parameters."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise StackError(f"{name}: {error.response['Error']['Message']}") from error


def _cause(events: Sequence[Event], stack: Stack) -> str:
    """Give the first resource that failed, with its reason; else the stack's own."""
    for event in events:
        if event.is_cause and event.type != "AWS::CloudFormation::Stack":
            return f"{event.logical_id} ({event.type}): {event.reason}"
    for event in events:
        if event.is_cause:
            return event.reason
    return stack.reason or "CloudFormation gives no reason"


def _changes(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one["ResourceChange"] for one in answer.get("Changes", []) if "ResourceChange" in one]


def _stack(answer: Mapping[str, Any]) -> Stack:
    return Stack(
        name=answer["StackName"],
        id=answer["StackId"],
        status=answer["StackStatus"],
        reason=answer.get("StackStatusReason", ""),
        parameters={
            one["ParameterKey"]: one.get("ParameterValue", "")
            for one in answer.get("Parameters", [])
        },
        outputs={one["OutputKey"]: one["OutputValue"] for one in answer.get("Outputs", [])},
        tags={one["Key"]: one["Value"] for one in answer.get("Tags", [])},
    )
