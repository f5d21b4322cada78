"""How ids, ARNs, names and addresses of AWS are written, and what to write for a wrong one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """A pattern, and an example of what goes with it."""

    pattern: re.Pattern[str]
    example: str

    def faults(self, key: str, *values: str | None) -> Iterator[str]:
        """Yield what is wrong with the values of a key; None is none."""
        for value in values:
            if value is not None and not self.pattern.fullmatch(value):
                yield f"{key} {value!r}: write {self.example}"


def _form(pattern: str, example: str) -> Form:
    return Form(re.compile(pattern), example)


_ARN = r"arn:aws(-[a-z-]+)?"

ACCOUNT = _form(r"\d{12}", "the 12 digits of the account, in quotes")
VPC = _form(r"vpc-[0-9a-f]{8,17}", "the id of a VPC, as vpc-0123456789abcdef0")
SUBNET = _form(r"subnet-[0-9a-f]{8,17}", "the id of a subnet, as subnet-0123456789abcdef0")
GROUP = _form(r"sg-[0-9a-f]{8,17}", "the id of a security group, as sg-0123456789abcdef0")
POLICY = _form(
    rf"{_ARN}:iam::(\d{{12}}|aws):policy/.+",
    "the ARN of a policy, as arn:aws:iam::123456789012:policy/boundary",
)
CERTIFICATE = _form(
    rf"{_ARN}:acm:[a-z0-9-]+:\d{{12}}:certificate/.+",
    "the ARN of a certificate of ACM, as arn:aws:acm:eu-west-1:123456789012:certificate/0a1b2c3d",
)
SECRET = _form(
    rf"{_ARN}:secretsmanager:[a-z0-9-]+:\d{{12}}:secret:.+",
    "the ARN of a secret, as arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-oidc-a1b2c3",
)
CLUSTER = _form(
    rf"{_ARN}:kafka:[a-z0-9-]+:\d{{12}}:cluster/.+",
    "the ARN of an MSK cluster, as arn:aws:kafka:eu-west-1:123456789012:cluster/shop/0a1b2c3d-4",
)
DOMAIN = _form(
    r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}",
    "the name of a host in lower case, without https:// and path, as events.example.com",
)
EMAIL = _form(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?=.{4,253}$)"
    r"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}",
    "an e-mail address, as team@example.com",
)
IMAGE = _form(
    r"[a-z0-9.-]+(:\d+)?/[a-z0-9._/-]+(:[A-Za-z0-9_.-]{1,128})?(@sha256:[0-9a-f]{64})?",
    "registry/name:tag or registry/name@sha256:digest, as "
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/clickstream-collector:1.0",
)
TLS_POLICY = _form(
    r"ELBSecurityPolicy-.+",
    "a TLS policy of load balancers, as ELBSecurityPolicy-TLS13-1-2-2021-06",
)
PATH = _form(
    r"/[A-Za-z0-9$@_/-]{0,126}",
    "/ and letters, digits or $ @ _ / -, which a rule of the load balancer can match",
)
INSTANCE = _form(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", "a type of EC2 instance, as c6i.large")
DATABASE_CLASS = _form(r"db\.[a-z0-9]+\.[a-z0-9]+", "a class of RDS instance, as db.t4g.micro")
KEY = _form(
    rf"{_ARN}:kms:[a-z0-9-]+:\d{{12}}:key/.+",
    "the ARN of a KMS key, as arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d",
)
WORKGROUP = _form(
    r"[a-z0-9-]{3,64}", "the name of a workgroup, 3 to 64 lower-case letters, digits and hyphens"
)
WORKGROUP_ARN = _form(
    rf"{_ARN}:redshift-serverless:[a-z0-9-]+:\d{{12}}:workgroup/.+",
    "the ARN of a workgroup, as "
    "arn:aws:redshift-serverless:eu-west-1:123456789012:workgroup/0a1b2c3d",
)
DATABASE = _form(
    r"[a-z][a-z0-9_]{0,126}",
    "the name of a database, a lower-case letter and lower-case letters, digits and underscores",
)
RELEASE = _form(r"emr-[a-z0-9.-]+", "a release of EMR, as emr-7.9.0")
OBJECT = _form(
    r"s3://[a-z0-9.-]{3,63}/.+", "an object on S3, as s3://my-bucket/plugins/s3-sink.zip"
)
PLACE = _form(r"s3://[^/]+(/.*)?", "a place on S3, as s3://my-bucket/clickstream")
BUCKET = _form(
    r"(?!\d+\.\d+\.\d+\.\d+$)(?!xn--)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
    "a bucket of 3 to 63 lower-case letters, digits, dots and hyphens",
)


def region_of(arn: str) -> str:
    """Give the region that an ARN names."""
    return arn.split(":")[3]
