"""What the makers of modules share: places, the key, texts of parameters."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from clickstream_dagster.batches.objects import S3_SCHEME, split_s3
from clickstream_dagster.infra.module import Output
from clickstream_dagster.infra.settings import Infra, Network, Pipeline

Value = str | Output

_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?/([^:@]+)")


@dataclass(frozen=True, slots=True)
class Given:
    """What modules are made of. `artifacts` is the place of code and long templates."""

    infra: Infra
    pipeline: Pipeline
    artifacts: str | None

    def place(self, address: str | None) -> tuple[str, str]:
        """Give bucket and prefix of an address, the prefix with / at its end; empty without S3."""
        return split_s3(address) if address and address.startswith(S3_SCHEME) else ("", "")

    def at(self, name: str, address: str | None) -> dict[str, Value]:
        """Give the parameters `<name>Bucket` and `<name>Prefix` of an address."""
        bucket, prefix = self.place(address)
        return {f"{name}Bucket": bucket, f"{name}Prefix": prefix}

    @property
    def network(self) -> Network:
        """The network; the rules have seen to it that there is one where a module needs it."""
        if self.infra.network is None:
            raise AssertionError("infra.network is missing, which the rules ask for")
        return self.infra.network

    @property
    def project(self) -> dict[str, Value]:
        """The parameter that every template has."""
        return {"ProjectId": self.pipeline.project_id}

    @property
    def key(self) -> dict[str, Value]:
        """The key that encrypts data: that of the storage's stack, else that of s3.kms_key_id."""
        if self.infra.storage is not None:
            return {"KmsKeyArn": Output("storage", "KmsKeyArn")}
        return {"KmsKeyArn": self.pipeline.s3.kms_key_id or ""}

    @property
    def boundary(self) -> dict[str, Value]:
        """The policy that bounds roles."""
        return {"PermissionsBoundaryArn": self.infra.permissions_boundary_arn or ""}

    @property
    def logs(self) -> dict[str, Value]:
        """How long logs are kept."""
        return {"LogRetentionDays": str(self.infra.log_retention_days)}

    def output(self, module: str, name: str, made: bool) -> Value:
        """Give the output of a module that is made, else an empty text."""
        return Output(module, name) if made else ""


def flag(value: bool) -> str:
    """Give `true` or `false`."""
    return "true" if value else "false"


def listed(values: Iterable[str]) -> str:
    """Give a list as CloudFormation takes it."""
    return ",".join(values)


def repository_arn(image: str) -> str:
    """Give the ARN of an image's repository in ECR; empty for an image of another registry."""
    found = _ECR.match(image)
    if not found:
        return ""
    account, region, china, name = found.groups()
    partition = "aws-cn" if china else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    return f"arn:{partition}:ecr:{region}:{account}:repository/{name}"


def part_name(item: str) -> str:
    """Give a name for the part of an item: letters and digits, readable, its own for good."""
    readable = re.sub(r"[^A-Za-z0-9]", "", item)[:24]
    return f"{readable}{hashlib.sha256(item.encode()).hexdigest()[:8]}"
