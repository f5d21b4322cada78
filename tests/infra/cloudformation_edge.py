"""CloudFormation of moto with what it leaves out, as AWS documents it: work that takes time, events
of resources, outputs after a change set, what it changes and replaces, rollbacks, drift."""

import json
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from moto.cloudformation import models, parsing
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.common_models import CloudFormationModel
from moto.core.responses import ActionResult

from tests.infra.change_sets import changes_of
from tests.infra.moto_gaps import Made

_STACK = "AWS::CloudFormation::Stack"
_SECONDS_TO_BEGIN = 0.2


@dataclass
class CloudFormationEdge:
    """What a test decides: what fails, what replaces, what has drifted, and when it goes on.

    `failing`, `undeletable` and `stuck` are reasons by logical id: of a creation or update that
    fails, of a deletion, and of a rollback. `replacing` are properties by type whose change
    replaces a resource, `perhaps` those that may. `drifts` are drifts by stack.
    """

    failing: dict[str, str] = field(default_factory=dict)
    undeletable: dict[str, str] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    replacing: dict[str, set[str]] = field(default_factory=dict)
    perhaps: dict[str, set[str]] = field(default_factory=dict)
    drifts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)
    executed: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)

    def set_status(self, name: str, status: str) -> None:
        """Say that a stack is in a state."""
        _stack(models.cloudformation_backends["123456789012"]["us-east-1"], name).status = status


@contextmanager
def complete_cloudformation() -> Iterator[CloudFormationEdge]:
    """Complete moto's CloudFormation in this process, whose server the tests speak with."""
    edge = CloudFormationEdge()
    edge.gate.set()
    backend, response = models.CloudFormationBackend, CloudFormationResponse
    threads: list[threading.Thread] = []
    deleting = backend.delete_stack
    creating = backend.create_change_set
    known = parsing.resource_class_from_type

    def create(self: Any, **options: Any) -> tuple[str, str]:
        stack = _stack(self, options["stack_name"])
        before = None if options["change_set_type"] == "CREATE" else stack
        if options["change_set_type"] == "CREATE" and stack is not None:
            assert stack.status == "REVIEW_IN_PROGRESS", f"{stack.name} already exists"
            del self.stacks[stack.stack_id]
        changes = changes_of(edge, before, options)
        identity, stack_id = creating(self, **options)
        made = self.change_sets[identity]
        made.changes, made.tags = changes, options["tags"]
        nothing = before is not None and not changes and before.tags == options["tags"]
        nothing = nothing and _outputs(before.template) == _outputs(options["template"])
        nothing = nothing and before.parameters == options["parameters"]
        made.status = "FAILED" if nothing else "CREATE_COMPLETE"
        made.execution_status = "UNAVAILABLE" if nothing else "AVAILABLE"
        made.status_reason = (
            "The submitted information didn't contain changes. Submit different information to "
            "create a change set."
            if nothing
            else None
        )
        return identity, stack_id

    def execute(self: Any, change_set_name: str, stack_name: str | None = None) -> None:
        made = self.change_sets.pop(change_set_name)
        stack = self.stacks[made.stack_id]
        edge.executed.append(
            (stack.name, [(one.action, one.logical_resource_id) for one in made.changes])
        )
        threads.append(threading.Thread(target=_work_or_fail, args=(edge, made, stack)))
        threads[-1].start()

    def make(self: Any, name: str, template: str, parameters: Any, **options: Any) -> Any:
        assert _stack(self, name) is None, f"{name} already exists"
        asked = {"template": template, "parameters": parameters, "tags": options["tags"]}
        identity, stack_id = create(
            self,
            stack_name=name,
            change_set_name="creation",
            description=None,
            change_set_type="CREATE",
            **asked,
        )
        stack = self.stacks[stack_id]
        stack.events.clear()  # of the review that there is none of
        stack.status = "CREATE_IN_PROGRESS"
        execute(self, identity)
        return stack

    def delete(self: Any, name_or_stack_id: str) -> None:
        stack = _stack(self, name_or_stack_id)
        if stack is None:
            return
        reasons = {
            name: edge.undeletable[name] for name in stack.resource_map if name in edge.undeletable
        }
        stack.status = "DELETE_IN_PROGRESS"
        if not reasons:
            try:
                deleting(self, stack.stack_id)
                return
            except Exception as error:  # whatever moto's resources raise
                self.stacks[stack.stack_id] = stack
                reasons = {next(iter(stack.resource_map)): str(error)}
        for name, reason in reasons.items():
            kind = stack.resource_map._resource_json_map[name]["Type"]
            _event(stack, "DELETE_FAILED", reason, name, kind)
        _event(stack, "DELETE_FAILED", f"The following resource(s) failed to delete: {[*reasons]}.")
        stack.status = "DELETE_FAILED"

    def continue_rollback(self: Any) -> ActionResult:
        stack = _stack(self.cloudformation_backend, self._get_param("StackName"))
        _event(stack, "UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
        _rolled_back(edge, stack)
        return ActionResult({})

    def detect(self: Any) -> ActionResult:
        name = self._get_param("StackName")
        assert _stack(self.cloudformation_backend, name) is not None
        return ActionResult({"StackDriftDetectionId": f"drift-of-{name}"})

    def detected(self: Any) -> ActionResult:
        name = self._get_param("StackDriftDetectionId").removeprefix("drift-of-")
        return ActionResult(
            {
                "StackId": name,
                "StackDriftDetectionId": f"drift-of-{name}",
                "DetectionStatus": "DETECTION_COMPLETE",
                "StackDriftStatus": "DRIFTED" if edge.drifts.get(name) else "IN_SYNC",
                "Timestamp": "2026-01-01T00:00:00Z",
            }
        )

    def resource_drifts(self: Any) -> ActionResult:
        found = edge.drifts.get(self._get_param("StackName"), [])
        return ActionResult({"StackResourceDrifts": found})

    def class_of(kind: str) -> type[CloudFormationModel]:
        return known(kind) or _Anything

    with (
        patch.object(backend, "create_stack", make),
        patch.object(backend, "create_change_set", create),
        patch.object(backend, "execute_change_set", execute),
        patch.object(backend, "delete_stack", delete),
        patch.object(response, "_validate_different_update", lambda *arguments: None),
        patch.object(response, "continue_update_rollback", continue_rollback, create=True),
        patch.object(response, "detect_stack_drift", detect, create=True),
        patch.object(response, "describe_stack_drift_detection_status", detected, create=True),
        patch.object(response, "describe_stack_resource_drifts", resource_drifts, create=True),
        patch.object(parsing, "resource_class_from_type", class_of),
    ):
        try:
            yield edge
        finally:
            edge.gate.set()
            for thread in threads:
                thread.join()


def _work_or_fail(edge: CloudFormationEdge, made: Any, stack: Any) -> None:
    """Work, and fail with what moto can't do instead of being at work for ever."""
    try:
        _work(edge, made, stack)
    except Exception:
        act = made.change_set_type
        _event(stack, f"{act}_FAILED", traceback.format_exc(), "Moto", "AWS::X::Y")
        stack.template = made.template
        stack._parse_template()
        stack.status = "ROLLBACK_COMPLETE" if act == "CREATE" else "UPDATE_ROLLBACK_COMPLETE"


def _work(edge: CloudFormationEdge, made: Any, stack: Any) -> None:
    """Do what a change set says, once the gate is open; roll back where a resource fails."""
    act = made.change_set_type
    time.sleep(_SECONDS_TO_BEGIN)  # AWS answers before it begins
    _event(stack, f"{act}_IN_PROGRESS", "User Initiated")
    stack.status = f"{act}_IN_PROGRESS"
    edge.gate.wait()
    for one in made.changes:
        name, kind = one.logical_resource_id, one.resource_type
        if name in edge.failing and one.action != "Remove":
            word = "creation" if act == "CREATE" else "update"
            _event(stack, f"{act}_FAILED", f"Resource {word} cancelled", "Other", "AWS::X::Y")
            reason = edge.failing[name]
            _event(stack, f"{act}_FAILED", reason, name, kind)
            if act == "CREATE":
                _event(
                    stack, "ROLLBACK_IN_PROGRESS", f"The following resource(s) failed: [{name}]."
                )
                stack.template = made.template
                stack._parse_template()
                stack.status = "ROLLBACK_COMPLETE"
                _event(stack, "ROLLBACK_COMPLETE", None)
            else:
                _event(stack, "UPDATE_ROLLBACK_IN_PROGRESS", f"[{name}] failed.")
                _rolled_back(edge, stack)
            return
    made.template_dict = _retained(made.template_dict)
    before = dict(stack.resource_map._parsed_resources)
    made.apply()
    for name, resource in stack.resource_map._parsed_resources.items():
        if resource is None and name in before:  # a type that moto can't update: it stays
            stack.resource_map._parsed_resources[name] = before[name]
    stack.template, stack.tags = made.template, made.tags
    stack._parse_template()
    stack.parameters = made.parameters
    stack.output_map = models.OutputMap(stack.resource_map, made.template_dict, stack.stack_id)
    for one in made.changes:
        word = {"Add": "CREATE", "Modify": "UPDATE", "Remove": "DELETE"}[one.action]
        _event(stack, f"{word}_COMPLETE", None, one.logical_resource_id, one.resource_type)
    _event(stack, f"{act}_COMPLETE", None)
    stack.status = f"{act}_COMPLETE"


def _rolled_back(edge: CloudFormationEdge, stack: Any) -> None:
    for name, reason in edge.stuck.items():
        _event(stack, "UPDATE_FAILED", reason, name, "AWS::X::Y")
    stack.status = "UPDATE_ROLLBACK_FAILED" if edge.stuck else "UPDATE_ROLLBACK_COMPLETE"
    _event(stack, stack.status, None)


def _stack(backend: Any, name: str) -> Any:
    for stack in backend.stacks.values():
        if name in (stack.name, stack.stack_id):
            return stack
    return None


def _event(
    stack: Any, status: str, reason: str | None, name: str | None = None, kind: str = _STACK
) -> None:
    stack.events.append(
        models.Event(
            stack_id=stack.stack_id,
            stack_name=stack.name,
            logical_resource_id=name or stack.name,
            physical_resource_id=name or stack.stack_id,
            resource_type=kind,
            resource_status=status,
            resource_status_reason=reason,
            resource_properties=None,
        )
    )


def _outputs(template: str) -> Any:
    return models.Stack.parse_template(template).get("Outputs")


def _retained(template: dict[str, Any]) -> dict[str, Any]:
    """Say `Retain` where a template says what moto does not know."""
    text = json.dumps(template)
    return json.loads(text.replace('"RetainExceptOnCreate"', '"Retain"'))


class _Anything(Made):
    """A resource of a type that moto does not know: it has a name, and each attribute."""

    type = "Anything"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    def get_cfn_attribute(self, attribute_name: str) -> str:
        return f"{self.name}.{attribute_name}"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, *arguments: Any, **options: Any
    ) -> "_Anything":
        return cls(resource_name)
