"""The templates of buckets, key and arrivals: what they make on an endpoint, and for whom."""

import boto3
import pytest
from botocore.exceptions import ClientError

from clickstream_dagster.infra.intrinsics import Values
from clickstream_dagster.infra.module import Part
from tests.infra.templates.deployed import deployed, known_part, made, template_of

KEY = "arn:aws:kms:us-east-1:123456789012:key/5f1d0a3e-6a0c-4a5e-8d5b-0c4a4bb0e3c1"


def bucket_part(name: str, **rules: str) -> Part:
    values = {"raw_rule": "Disabled", "artifacts_rule": "Disabled", "results_rule": "Disabled"}
    return Part(
        "bucket.yaml",
        name,
        {"bucket": f"clickstream-{name}", "announced": "false", **values, **rules},
    )


def test_makes_each_bucket_that_the_project_names_and_the_key(aws: str) -> None:
    parameters = {"ProjectId": "shop", "RawPrefix": "raw/shop/", "RawExpireDays": "400"}
    template = template_of(
        "storage", bucket_part("raw", raw_rule="Enabled"), bucket_part("results")
    )
    s3, kms = boto3.client("s3"), boto3.client("kms")
    with deployed(known_part(template, parameters), parameters) as stack:
        outputs = stack.outputs()
        (alias,) = [
            one for one in kms.list_aliases()["Aliases"] if one["AliasName"] == "alias/clickstream"
        ]
        assert outputs["KmsKeyArn"].endswith(f":key/{alias['TargetKeyId']}")
        # What moto's CloudFormation does not pass on is looked at in the template below.
        for bucket in ("clickstream-raw", "clickstream-results", outputs["LogsBucket"]):
            s3.head_bucket(Bucket=bucket)
        (rule,) = s3.get_bucket_encryption(Bucket="clickstream-raw")[
            "ServerSideEncryptionConfiguration"
        ]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"] == {
            "SSEAlgorithm": "aws:kms",
            "KMSMasterKeyID": outputs["KmsKeyArn"],
        }
        (rule,) = s3.get_bucket_encryption(Bucket=outputs["LogsBucket"])[
            "ServerSideEncryptionConfiguration"
        ]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}

        fewer = template_of("storage", bucket_part("raw", raw_rule="Enabled"))
        stack.update(known_part(fewer, parameters), parameters)
        s3.head_bucket(Bucket="clickstream-raw")


def rules_of(**parameters: str) -> dict[str, dict]:
    template = template_of("storage", bucket_part("raw", raw_rule="Enabled"))
    bucket = made(template, {"ProjectId": "shop", "RawPrefix": "raw/shop/", **parameters})[
        "Bucketraw"
    ]
    rules = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
    return {rule["Id"]: rule for rule in rules}


def test_raw_files_expire_after_the_days_that_are_told_and_else_never() -> None:
    template = template_of("storage", bucket_part("raw", raw_rule="Enabled"))
    lifecycle = template["Resources"]["Bucketraw"]["Properties"]["LifecycleConfiguration"]
    (raw,) = [rule for rule in lifecycle["Rules"] if rule["Id"] == "raw"]
    nothing = {"Ref": "AWS::NoValue"}
    assert raw["ExpirationInDays"] == {"Fn::If": ["RawExpires", {"Ref": "RawExpireDays"}, nothing]}
    values = Values(template, {"RawExpireDays": "0", "RawInfrequentDays": "0"})
    assert values.condition("RawExpires") is values.condition("RawGetsInfrequent") is False

    told = rules_of(RawExpireDays="400", RawInfrequentDays="60")
    assert (told["raw"]["Status"], told["raw"]["Prefix"]) == ("Enabled", "raw/shop/")
    assert told["raw"]["ExpirationInDays"] == "400"
    assert told["raw"]["Transitions"] == [{"StorageClass": "STANDARD_IA", "TransitionInDays": "60"}]
    assert told["incomplete-uploads"]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 1


@pytest.mark.parametrize(
    ("parameters", "makes_key", "algorithm"),
    [
        ({}, True, "aws:kms"),
        ({"CreateKmsKey": "false", "KmsKeyArn": KEY}, False, "aws:kms"),
        ({"CreateKmsKey": "false"}, False, "AES256"),
    ],
)
def test_encrypts_with_a_key_of_its_own_with_one_that_is_there_or_with_that_of_s3(
    parameters: dict[str, str], makes_key: bool, algorithm: str
) -> None:
    resources = made(
        template_of("storage", bucket_part("raw")), {"ProjectId": "shop", **parameters}
    )
    assert ("Key" in resources, "KeyAlias" in resources) == (makes_key, makes_key)
    (rule,) = resources["Bucketraw"]["Properties"]["BucketEncryption"][
        "ServerSideEncryptionConfiguration"
    ]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == algorithm


def test_services_that_write_logs_for_the_project_may_use_the_key() -> None:
    policy = template_of("storage")["Resources"]["Key"]["Properties"]["KeyPolicy"]
    _, logs, job_runs = policy["Statement"]
    assert logs["Principal"] == {"Service": {"Fn::Sub": "logs.${AWS::Region}.amazonaws.com"}}
    assert job_runs["Principal"] == {"Service": "emr-serverless.amazonaws.com"}
    for statement in (logs, job_runs):
        assert {"kms:Decrypt"} < set(statement["Action"])


def test_refuses_weaker_encryption_and_not_what_names_none() -> None:
    policy = made(template_of("storage", bucket_part("raw")), {})["BucketPolicyraw"]["Properties"]
    (weaker,) = [
        one for one in policy["PolicyDocument"]["Statement"] if one["Sid"] == "NoWeakerEncryption"
    ]
    assert weaker["Condition"] == {
        "Null": {"s3:x-amz-server-side-encryption": "false"},
        "StringNotEquals": {"s3:x-amz-server-side-encryption": ["aws:kms"]},
    }


def test_data_outlives_its_stack() -> None:
    resources = made(template_of("storage", bucket_part("raw")), {})
    for name in ("LogsBucket", "Bucketraw"):
        assert resources[name]["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
        assert all(resources[name]["Properties"]["PublicAccessBlockConfiguration"].values())
    for name in ("Key", "LogsBucket", "Bucketraw"):
        assert resources[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resources[name]["UpdateReplacePolicy"] == "Retain"


def test_a_bucket_that_is_there_already_is_not_made_again(aws: str) -> None:
    """With `existing` the stack has no part for it, and leaves it alone."""
    boto3.client("s3").create_bucket(Bucket="clickstream-already")
    parameters = {"ProjectId": "shop", "CreateKmsKey": "false"}
    template = template_of("storage")
    with deployed(known_part(template, parameters), parameters) as stack:
        assert set(stack.physical()) == {"LogsBucket"}
    with pytest.raises(ClientError):
        boto3.client("s3").head_bucket(Bucket="clickstream-never")
    boto3.client("s3").head_bucket(Bucket="clickstream-already")
