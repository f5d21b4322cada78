"""Takes stacks away, last needed first; data stays unless it is told to go."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.errors import SettingError
from clickstream_dagster.infra.apply import Tell
from clickstream_dagster.infra.changes import RETAINING
from clickstream_dagster.infra.infrastructure import Infrastructure, place_of
from clickstream_dagster.infra.inputs import store_of
from clickstream_dagster.infra.intrinsics import Values
from clickstream_dagster.infra.lock import ProjectLock
from clickstream_dagster.infra.outputs import forget_outputs
from clickstream_dagster.infra.stacks import Event, Stack, StackError, Stacks
from clickstream_dagster.infra.template import MOST_INLINE_BYTES, Template, parse, write

_BUCKET = "AWS::S3::Bucket"
_TIMES_TO_EMPTY = 3


@dataclass(frozen=True)
class Kept:
    """A resource that outlives its stack."""

    module: str
    type: str
    physical_id: str
    policy: str


@dataclass(frozen=True)
class Destroyed:
    """Modules whose stacks are gone, in that order, and what they have left."""

    modules: tuple[str, ...]
    kept: tuple[Kept, ...]


def to_destroy(
    infrastructure: Infrastructure,
    names: Collection[str] | None = None,
    with_dependents: bool = False,
) -> list[Stack]:
    """Give the stacks that a destroy takes away, in its order: all, or those of some modules.

    Stacks that the settings no longer name are among them. Raises SettingError if a stack that is
    left needs one that goes, unless `with_dependents` takes it along, or for an unknown module.
    """
    there = Stacks(infrastructure.access).of_project(infrastructure.project_id)
    known = {module.name for module in infrastructure.modules}
    if names is None:
        chosen = set(there)
    else:
        for name in set(names) - set(there) - known:
            infrastructure.module(name)
        chosen = set(names)
        for name in sorted(names):
            dependents = (infrastructure.dependents(name) & set(there)) - chosen
            if dependents and not with_dependents:
                raise SettingError(
                    f"{', '.join(sorted(dependents, key=place_of))} needs what {name} gives: name "
                    "it with --module, too, or take along what needs it with --with-dependents"
                )
            chosen |= dependents
    in_order = [module.name for module in infrastructure.ordered()]
    unnamed = sorted(set(there) - set(in_order), key=place_of)
    return [there[name] for name in reversed([*in_order, *unnamed]) if name in chosen & set(there)]


def destroy(
    infrastructure: Infrastructure,
    names: Collection[str] | None = None,
    delete_data: bool = False,
    with_dependents: bool = False,
    tell: Tell = lambda module, what: None,
) -> Destroyed:
    """Take away all stacks of a project, or those of some modules; run it again after a failure.

    With `delete_data` what a template retains goes, too: buckets are emptied with all versions,
    a KMS key is deleted after its waiting period. Raises SettingError as `to_destroy` does,
    LockError while another one changes the project, StackError with the first cause.
    """
    stacks = Stacks(infrastructure.access)
    kept: list[Kept] = []
    with ProjectLock(infrastructure.project_id, infrastructure.access).held("destroy"):
        found = to_destroy(infrastructure, names, with_dependents)
        try:
            for stack in found:
                kept += _destroy(infrastructure, stack, stacks, delete_data, tell)
        finally:
            forget_outputs()
    return Destroyed(tuple(stack.module for stack in found), tuple(kept))


def _destroy(
    infrastructure: Infrastructure, stack: Stack, stacks: Stacks, delete_data: bool, tell: Tell
) -> list[Kept]:
    def told(event: Event) -> None:
        tell(stack.module, event)

    current: Stack | None = stack
    if stack.at_work:
        tell(stack.module, f"{stack.name} is {stack.status}: waiting for its end")
        current = stacks.wait(stack.id, told)
    if current is None:
        return []
    if current.status == "REVIEW_IN_PROGRESS":
        stacks.delete(current, told)
        return []
    template = parse(stacks.template(current.id), current.name)
    if delete_data and current.is_there:
        current, template = _let_go(infrastructure, current, template, stacks, tell)
    kept = list(_retained(current, template, stacks))
    for attempt in range(_TIMES_TO_EMPTY):
        if delete_data:
            for bucket in _own_buckets(current, stacks, kept):
                tell(stack.module, f"emptying the bucket {bucket}")
                empty_bucket(bucket, infrastructure.access)
        try:
            stacks.delete(current, told)
            break
        except StackError:
            # Logs of a load balancer come minutes after it is gone.
            if (
                not delete_data
                or attempt + 1 == _TIMES_TO_EMPTY
                or not _has_objects(_own_buckets(current, stacks, kept), infrastructure.access)
            ):
                raise
    return kept


def _let_go(
    infrastructure: Infrastructure, stack: Stack, template: Template, stacks: Stacks, tell: Tell
) -> tuple[Stack, Template]:
    """Let a stack delete what it retains: CloudFormation does it then, in its order."""
    retaining = [
        name
        for name, resource in template["Resources"].items()
        if resource.get("DeletionPolicy") in RETAINING
    ]
    if not retaining:
        return stack, template
    tell(stack.module, f"{stack.name}: its data is let go ({', '.join(retaining)})")
    for name in retaining:
        template["Resources"][name]["DeletionPolicy"] = "Delete"
    text = write(template)
    store = store_of(infrastructure)
    long = len(text.encode()) > MOST_INLINE_BYTES
    body = (
        {"TemplateURL": store.put_template(text, stacks.region)} if long else {"TemplateBody": text}
    )
    arguments = [
        {"ParameterKey": name, "UsePreviousValue": True}
        for name in template.get("Parameters", {})
        if name in stack.parameters
    ]
    made = stacks.prepare(stack.name, body, arguments, stack.tags, new=False)
    if made.changes is None:
        return stack, template
    return stacks.execute(made, stack.name, lambda event: tell(stack.module, event)), template


def _retained(stack: Stack, template: Template, stacks: Stacks) -> Iterator[Kept]:
    """Give what outlives the deletion of a stack."""
    for one in stacks.resources(stack.id):
        resource = template["Resources"].get(one["LogicalResourceId"], {})
        policy = Values(template, stack.parameters).resolve(resource.get("DeletionPolicy"))
        if policy in RETAINING and one["ResourceStatus"] not in ("DELETE_COMPLETE",):
            yield Kept(stack.module, one["ResourceType"], one.get("PhysicalResourceId", ""), policy)


def _own_buckets(stack: Stack, stacks: Stacks, kept: Collection[Kept]) -> list[str]:
    """Give the buckets that are deleted with a stack."""
    spared = {one.physical_id for one in kept}
    return [
        one["PhysicalResourceId"]
        for one in stacks.resources(stack.id)
        if one["ResourceType"] == _BUCKET
        and one["ResourceStatus"] != "DELETE_COMPLETE"
        and one.get("PhysicalResourceId") not in (None, "", *spared)
    ]


def empty_bucket(bucket: str, access: S3Access) -> int:
    """Delete all objects of a bucket with their versions, and parts that were never put together.

    Gives how many versions it deleted. A bucket that is gone has none. Raises StackError if S3
    refuses.
    """
    with clear_aws_errors(
        StackError,
        f"s3://{bucket}",
        "s3:ListBucketVersions, s3:DeleteObjectVersion, s3:ListBucketMultipartUploads and "
        "s3:AbortMultipartUpload on it",
        "nothing is to be done",
    ):
        client = access.client()
        try:
            deleted = sum(_delete(client, bucket, page) for page in _versions(client, bucket))
        except client.exceptions.NoSuchBucket:
            return 0
        uploads = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
        for page in uploads:
            for one in page.get("Uploads", []):
                client.abort_multipart_upload(
                    Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"]
                )
    return deleted


def _versions(client: Any, bucket: str) -> Iterator[list[Mapping[str, str]]]:
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if found:
            yield [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]


def _delete(client: Any, bucket: str, objects: list[Mapping[str, str]]) -> int:
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
    if errors := answer.get("Errors"):
        first = errors[0]
        raise StackError(
            f"s3://{bucket}/{first['Key']} can't be deleted ({first['Code']}): "
            f"{first.get('Message', '')}"
        )
    return len(objects)


def _has_objects(buckets: Collection[str], access: S3Access) -> bool:
    client = access.client()
    return any(next(_versions(client, bucket), None) for bucket in buckets)
