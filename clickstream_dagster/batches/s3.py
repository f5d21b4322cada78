"""Access to S3 and to servers that speak its protocol: region, profile, endpoint, encryption.

One value describes it for everything that touches S3: listing, the ledger, the lake. It is small
and picklable, so that a task on another machine can take it along. Secrets are not in it: they
come from where boto3 finds them (role, profile, environment).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clickstream_dagster.errors import ClickstreamError

if TYPE_CHECKING:
    from botocore.config import Config

CONNECTIONS = 16
"""Most connections of one client, and so most threads that are of use."""

_ATTEMPTS = 6
_CONNECT_SECONDS, _READ_SECONDS = 5, 30


@dataclass(frozen=True, slots=True)
class S3Access:
    """How S3 is reached. Everything that is None is as boto3 finds it.

    `region` is an AWS region, `profile` one of the AWS configuration files, `endpoint_url` the
    http(s) address of an S3-compatible server, `kms_key_id` the id, alias or ARN of the KMS key
    that encrypts what is written; without it the bucket's own setting applies.
    """

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    kms_key_id: str | None = None

    def client(self) -> Any:
        """Give a boto3 client of S3; threads may share it. Takes a tenth of a second to make."""
        return self.client_of("s3", self.region, self.endpoint_url, **self._compatible())

    def client_of(
        self, service: str, region: str | None, endpoint_url: str | None = None, **config: Any
    ) -> Any:
        """Give a boto3 client of another service with the same profile."""
        # boto3 takes a second to import; a local project never needs it.
        import boto3

        session = boto3.Session(profile_name=self.profile, region_name=region)
        return session.client(service, endpoint_url=endpoint_url, config=_config(**config))

    def encryption(self) -> dict[str, str]:
        """Give the arguments of `put_object` that encrypt with the KMS key, none without one."""
        if self.kms_key_id is None:
            return {}
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key_id}

    def _compatible(self) -> dict[str, Any]:
        if self.endpoint_url is None:
            return {}
        # Servers other than AWS have no host name for each bucket, and not all know the checksums
        # that boto3 adds by itself.
        return {
            "s3": {"addressing_style": "path"},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }


def _config(**options: Any) -> "Config":
    from botocore.config import Config

    return Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        **options,
    )


@contextmanager
def clear_aws_errors(
    kind: type[ClickstreamError], place: str, right: str, missing: str
) -> Iterator[None]:
    """Turn boto3's errors into one of `kind` that names the place.

    `right` is the permission that the call needs, `missing` what to do when the place is not there.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("NoSuchBucket", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"):
            raise kind(f"{place} does not exist; {missing}") from error
        raise kind(
            f"{place} refuses ({code}): {error}; the credentials in use need {right}"
        ) from error
    except BotoCoreError as error:
        raise kind(
            f"{place} can't be reached: {error}; check the AWS credentials, the region and the "
            "endpoint"
        ) from error
