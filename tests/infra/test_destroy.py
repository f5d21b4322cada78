"""Stacks go in an order that works, and data stays unless it is told to go."""

import boto3
import pytest
from botocore.exceptions import ClientError

from clickstream_dagster.errors import SettingError
from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.destroy import Kept, destroy, to_destroy
from clickstream_dagster.infra.stacks import StackError, Stacks
from tests.infra.cloudformation_edge import CloudFormationEdge
from tests.infra.small import Small


def there(small: Small) -> set[str]:
    return set(Stacks(small.infrastructure().access).of_project(small.project_id))


def test_all_goes_last_needed_first_and_the_bucket_stays(small: Small) -> None:
    apply(small.infrastructure())
    s3 = boto3.client("s3")
    s3.put_object(Bucket=small.bucket, Key="raw/a", Body=b"1")
    done = destroy(small.infrastructure())
    assert done.modules == ("arrivals", "storage")
    assert done.kept == (Kept("storage", "AWS::S3::Bucket", small.bucket, "RetainExceptOnCreate"),)
    assert there(small) == set()
    assert s3.get_object(Bucket=small.bucket, Key="raw/a")["Body"].read() == b"1"
    again = destroy(small.infrastructure())
    assert (again.modules, again.kept) == ((), ())


def test_data_is_deleted_with_all_versions_when_told(small: Small) -> None:
    apply(small.infrastructure())
    s3 = boto3.client("s3")
    for body in (b"1", b"2"):
        s3.put_object(Bucket=small.bucket, Key="raw/a", Body=body)
    s3.delete_object(Bucket=small.bucket, Key="raw/a")
    s3.put_object(Bucket=small.bucket, Key="raw/b", Body=b"3")
    s3.create_multipart_upload(Bucket=small.bucket, Key="raw/c")
    done = destroy(small.infrastructure(), delete_data=True)
    assert done.kept == ()
    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket=small.bucket)


def test_a_module_alone_goes_if_nothing_needs_it(small: Small) -> None:
    apply(small.infrastructure())
    with pytest.raises(SettingError, match=r"arrivals needs what storage gives: .*--with"):
        destroy(small.infrastructure(), ["storage"])
    assert there(small) == {"storage", "arrivals"}
    assert destroy(small.infrastructure(), ["arrivals"]).modules == ("arrivals",)
    assert destroy(small.infrastructure(), ["storage"]).modules == ("storage",)


def test_dependents_are_taken_along_when_told(small: Small) -> None:
    apply(small.infrastructure())
    done = destroy(small.infrastructure(), ["storage"], with_dependents=True)
    assert done.modules == ("arrivals", "storage")


def test_an_unknown_module_is_told(small: Small) -> None:
    with pytest.raises(SettingError, match="has no module 'redshift'"):
        destroy(small.infrastructure(), ["redshift"])


def test_stacks_that_the_settings_no_longer_name_go_too(small: Small) -> None:
    apply(small.infrastructure())
    small.modules = ()
    found = to_destroy(small.infrastructure())
    assert [stack.module for stack in found] == ["arrivals", "storage"]
    assert destroy(small.infrastructure()).modules == ("arrivals", "storage")


def test_after_a_failure_half_way_it_goes_on(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    apply(small.infrastructure())
    cloudformation.undeletable = {"Bucket": "Access denied"}
    with pytest.raises(StackError, match=r"can't be deleted: Bucket .*Access denied"):
        destroy(small.infrastructure(), delete_data=True)
    assert there(small) == {"storage"}
    cloudformation.undeletable = {}
    assert destroy(small.infrastructure(), delete_data=True).modules == ("storage",)
    with pytest.raises(ClientError, match="404"):
        boto3.client("s3").head_bucket(Bucket=small.bucket)


def test_a_project_can_be_made_again_after_its_stacks_are_gone(small: Small) -> None:
    apply(small.infrastructure())
    destroy(small.infrastructure(), delete_data=True)
    assert [one.outcome for one in apply(small.infrastructure())] == ["created", "created"]
