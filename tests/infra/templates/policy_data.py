"""Rules of how data is kept: encrypted, versioned, private, and there after its stack."""

from collections.abc import Iterator
from typing import Any

from clickstream_dagster.infra.template import Template
from tests.infra.templates.policy import (
    Finding,
    is_true,
    listed,
    properties,
    resources,
    rule,
    text_of,
    walk,
)

ENCRYPTED_BY = {
    "AWS::S3::Bucket": ("BucketEncryption",),
    "AWS::SQS::Queue": ("SqsManagedSseEnabled", "KmsMasterKeyId"),
    "AWS::SNS::Topic": ("KmsMasterKeyId",),
    "AWS::Kinesis::Stream": ("StreamEncryption",),
    "AWS::KinesisFirehose::DeliveryStream": ("DeliveryStreamEncryptionConfigurationInput",),
    "AWS::Logs::LogGroup": ("KmsKeyId",),
    "AWS::EFS::FileSystem": ("Encrypted",),
    "AWS::RDS::DBInstance": ("StorageEncrypted",),
    "AWS::RedshiftServerless::Namespace": ("KmsKeyId",),
    "AWS::SecretsManager::Secret": ("KmsKeyId",),
}
"""Properties of which one says how a resource of the type is encrypted."""

KEPT = {
    "AWS::S3::Bucket",
    "AWS::KMS::Key",
    "AWS::EFS::FileSystem",
    "AWS::RDS::DBInstance",
    "AWS::RedshiftServerless::Namespace",
    "AWS::Kinesis::Stream",
    "AWS::Glue::Database",
    "AWS::Glue::Table",
    "AWS::SecretsManager::Secret",
}
"""Types whose resources hold what can't be made again."""

MAY_GO = {
    ("observability.yaml", "TopicKey"): "encrypts messages on their way, and nothing that is kept",
    ("serverless-ingestion.yaml", "Database"): "has one table, which the template makes anew",
    ("serverless-ingestion.yaml", "Table"): "its columns are in the template, its files stay",
}

_STAY = {"Retain", "RetainExceptOnCreate", "Snapshot"}
_CLOSED = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


@rule
def data_is_encrypted(name: str, template: Template) -> Iterator[Finding]:
    """What holds data says how it is encrypted."""
    for resource, body in resources(template):
        ways = ENCRYPTED_BY.get(body["Type"])
        if ways and not any(properties(body).get(way) not in (None, False) for way in ways):
            yield Finding(resource, f"is not encrypted: set {' or '.join(ways)}")
        for one in walk(properties(body)):
            if isinstance(one, dict) and "Ebs" in one and not is_true(one["Ebs"].get("Encrypted")):
                yield Finding(resource, "has a disk that is not encrypted")
    for resource, body in resources(template, "AWS::Athena::WorkGroup"):
        results = properties(body)["WorkGroupConfiguration"]["ResultConfiguration"]
        if "EncryptionConfiguration" not in results:
            yield Finding(resource, "writes results that are not encrypted")
    for resource, body in resources(template, "AWS::ECS::TaskDefinition"):
        for volume in listed(properties(body).get("Volumes", [])):
            efs = volume.get("EFSVolumeConfiguration")
            if efs and efs.get("TransitEncryption") != "ENABLED":
                yield Finding(resource, "mounts a file system without TLS")


@rule
def buckets_are_closed(name: str, template: Template) -> Iterator[Finding]:
    """No bucket is public, and each keeps the versions of its objects."""
    for resource, body in resources(template, "AWS::S3::Bucket"):
        own = properties(body)
        block = own.get("PublicAccessBlockConfiguration", {})
        for setting in _CLOSED:
            if not is_true(block.get(setting)):
                yield Finding(resource, f"may be public: set {setting}")
        if own.get("VersioningConfiguration", {}).get("Status") != "Enabled":
            yield Finding(resource, "keeps no versions")
        rules = own.get("LifecycleConfiguration", {}).get("Rules", [])
        if not any("AbortIncompleteMultipartUpload" in one for one in rules):
            yield Finding(resource, "keeps parts of uploads that were broken off")


@rule
def only_tls_gets_in(name: str, template: Template) -> Iterator[Finding]:
    """Buckets, queues and topics refuse what comes without TLS."""
    policies = {
        "AWS::S3::Bucket": ("AWS::S3::BucketPolicy", "Bucket"),
        "AWS::SQS::Queue": ("AWS::SQS::QueuePolicy", "Queues"),
        "AWS::SNS::Topic": ("AWS::SNS::TopicPolicy", "Topics"),
    }
    for resource, body in resources(template, *policies):
        kind, key = policies[body["Type"]]
        if not any(
            {"Ref": resource} in listed(properties(policy)[key]) and _refuses_plain(policy)
            for _, policy in resources(template, kind)
        ):
            yield Finding(resource, "lets requests in without TLS")


def _refuses_plain(policy: dict[str, Any]) -> bool:
    return any(
        statement["Effect"] == "Deny"
        and statement["Principal"] == "*"
        and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in listed(properties(policy)["PolicyDocument"]["Statement"])
    )


@rule
def data_outlives_its_stack(name: str, template: Template) -> Iterator[Finding]:
    """What can't be made again stays, or leaves a snapshot, when it is deleted or replaced."""
    for resource, body in resources(template, *KEPT):
        if (name, resource) in MAY_GO:
            continue
        for key in ("DeletionPolicy", "UpdateReplacePolicy"):
            if body.get(key) not in _STAY:
                yield Finding(resource, f"goes with its stack: set {key}")


@rule
def logs_end(name: str, template: Template) -> Iterator[Finding]:
    """Every log is kept for some time and no longer, and everybody writes to one of them."""
    for resource, body in resources(template, "AWS::Logs::LogGroup"):
        if "RetentionInDays" not in properties(body):
            yield Finding(resource, "keeps logs for ever: set RetentionInDays")
    groups = {resource for resource, _ in resources(template, "AWS::Logs::LogGroup")}
    for resource, body in resources(template, "AWS::ECS::TaskDefinition"):
        for container in listed(properties(body)["ContainerDefinitions"]):
            options = container.get("LogConfiguration", {}).get("Options", {})
            if options.get("awslogs-group", {}).get("Ref") not in groups:
                yield Finding(resource, f"the container {container['Name']} has no log group here")
    for resource, body in resources(template, "AWS::Lambda::Function"):
        group = properties(body).get("LoggingConfig", {}).get("LogGroup", {})
        named = [
            text_of(properties(one).get("LogGroupName", "")).startswith("/aws/lambda/")
            for _, one in resources(template, "AWS::Logs::LogGroup")
        ]
        if group.get("Ref") not in groups and not any(named):
            yield Finding(resource, "writes to a log group that is kept for ever")
