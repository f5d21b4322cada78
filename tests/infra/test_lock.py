"""One apply or destroy of a project at a time."""

import threading

import boto3
import pytest

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.destroy import destroy
from clickstream_dagster.infra.lock import LockError, ProjectLock
from tests.infra.cloudformation_edge import CloudFormationEdge
from tests.infra.small import Small


@pytest.fixture
def lock(small: Small) -> ProjectLock:
    return ProjectLock(small.project_id, S3Access())


def test_a_held_lock_tells_who_has_it_and_since_when(lock: ProjectLock) -> None:
    with (
        lock.held("apply"),
        pytest.raises(LockError, match=r"locked by .+@.+ since \d{4}-.* UTC \(apply\): .*--break"),
        lock.held("destroy"),
    ):
        pytest.fail("both have it")
    assert lock.holder() is None


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_is_given_back_on_errors_and_interrupts(
    lock: ProjectLock, error: type[BaseException]
) -> None:
    with pytest.raises(error), lock.held("apply"):
        raise error
    assert lock.holder() is None


def test_a_broken_lock_is_not_given_back_by_its_old_holder(lock: ProjectLock) -> None:
    with lock.held("apply"):
        assert lock.break_it().command == "apply"
        other = ProjectLock.held(lock, "destroy")
        other.__enter__()
    assert lock.holder().command == "destroy"
    other.__exit__(None, None, None)
    assert lock.break_it() is None


def test_a_value_that_nobody_understands_is_shown(lock: ProjectLock) -> None:
    boto3.client("ssm").put_parameter(Name=lock.name, Value="mine!", Type="String")
    with pytest.raises(LockError, match="locked by somebody \\('mine!'\\)"), lock.held("apply"):
        pytest.fail("it has the lock")
    assert lock.break_it() is not None


def test_two_applies_at_once_exclude_each_other(
    small: Small, cloudformation: CloudFormationEdge, lock: ProjectLock
) -> None:
    cloudformation.gate.clear()
    done: list[object] = []
    first = threading.Thread(target=lambda: done.extend(apply(small.infrastructure())))
    first.start()
    while not cloudformation.executed:
        pass
    for act in (apply, destroy):
        with pytest.raises(LockError, match=r"\(apply\)"):
            act(small.infrastructure())
    cloudformation.gate.set()
    first.join()
    assert len(done) == 2
    assert lock.holder() is None
