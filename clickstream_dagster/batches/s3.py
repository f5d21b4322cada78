"""Access to S3 and to servers that speak its protocol: region, profile, endpoint, encryption.

One value describes it for everything that touches S3: listing, the ledger, the lake. It is small
and picklable, so that a task on another machine can take it along. Secrets are not in it: they
come from where boto3 finds them (role, profile, environment).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clickstream_dagster.errors import ClickstreamError, SettingError

if TYPE_CHECKING:
    from boto3 import Session
    from botocore.config import Config
    from pyarrow.fs import S3FileSystem

CONNECTIONS = 16
"""Most connections of one client, and so most threads that are of use."""

_ATTEMPTS = 6
_CONNECT_SECONDS, _READ_SECONDS = 5, 30
_AWS_HOST = re.compile(r"s3(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?")


def checked_endpoint(value: str | None) -> str | None:
    """Give the address of a server back. Raises ValueError when it is none or holds credentials."""
    if value is None:
        return value
    from botocore.utils import is_valid_endpoint_url

    parts = urlsplit(value)
    if parts.username or parts.password:
        raise ValueError(
            "the address holds credentials: put them into the environment, as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or into a profile"
        )
    if parts.scheme not in ("http", "https") or not is_valid_endpoint_url(value):
        raise ValueError(f"address {value!r}: write http://host:port or https://host")
    return value


@dataclass(frozen=True, slots=True)
class S3Access:
    """How S3 is reached. Everything that is None is as boto3 finds it.

    `region` is an AWS region, `profile` one of the AWS configuration files, `endpoint_url` the
    http(s) address of an S3-compatible server, `kms_key_id` the id, alias or ARN of the KMS key
    that encrypts what is written; without it the bucket's own setting applies. `glue_endpoint_url`
    is the address of the Glue catalog of a lake on S3. Raises SettingError for an address that is
    none, and when a client is made with a profile that is not there, or without a region.
    """

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    kms_key_id: str | None = None
    glue_endpoint_url: str | None = None

    def __post_init__(self) -> None:
        for name in ("endpoint_url", "glue_endpoint_url"):
            try:
                checked_endpoint(getattr(self, name))
            except ValueError as error:
                raise SettingError(f"{name}: {error}") from error

    def glue_client(self, **config: Any) -> Any:
        """Give a boto3 client of the Glue catalog; `config` changes botocore's settings."""
        session, _ = _shared(self)
        with _clear_settings():
            return session.client(
                "glue", endpoint_url=self.glue_endpoint_url, config=_config(**config)
            )

    def client(self) -> Any:
        """Give a boto3 client of S3; threads may share it. Takes a tenth of a second to make."""
        return self._client_in(self._session(self.region))

    def shared_client(self) -> Any:
        """Give the process's one client of S3 with these settings."""
        return _shared(self)[1]

    def filesystem(self) -> "S3FileSystem":
        """Give Arrow's file system for reading, with what boto3 has found: place and credentials.

        Credentials of a role run out: ask for it again for each file. It can't encrypt with a KMS
        key, so writing is boto3's. Raises botocore's NoCredentialsError when boto3 finds none.
        """
        from botocore.exceptions import NoCredentialsError

        session, client = _shared(self)
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        keys = credentials.get_frozen_credentials()
        return _filesystem(
            client.meta.region_name,
            client.meta.endpoint_url,
            keys.access_key,
            keys.secret_key,
            keys.token,
        )

    def client_of(
        self, service: str, region: str | None, endpoint_url: str | None = None, **config: Any
    ) -> Any:
        """Give a boto3 client of another service with the same profile."""
        session = self._session(region)
        with _clear_settings():
            return session.client(service, endpoint_url=endpoint_url, config=_config(**config))

    def _session(self, region: str | None) -> "Session":
        # boto3 takes a second to import; a local project never needs it.
        import boto3

        with _clear_settings():
            return boto3.Session(profile_name=self.profile, region_name=region)

    def _client_in(self, session: "Session") -> Any:
        with _clear_settings():
            return session.client(
                "s3", endpoint_url=self.endpoint_url, config=_config(**self._compatible())
            )

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


@lru_cache
def _shared(access: S3Access) -> "tuple[Session, Any]":
    session = access._session(access.region)
    return session, access._client_in(session)


@lru_cache(4)
def _filesystem(
    region: str, endpoint_url: str, access_key: str, secret_key: str, token: str | None
) -> "S3FileSystem":
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    place = urlsplit(endpoint_url)
    elsewhere = not _AWS_HOST.fullmatch(place.hostname or "")
    return S3FileSystem(
        access_key=access_key,
        secret_key=secret_key,
        session_token=token,
        # boto3 calls S3 without a region "aws-global": that is us-east-1.
        region="us-east-1" if region == "aws-global" else region,
        scheme=place.scheme,
        endpoint_override=endpoint_url.partition("://")[2].rstrip("/") if elsewhere else None,
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_READ_SECONDS,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )


def _config(**options: Any) -> "Config":
    from botocore.config import Config

    settings = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _READ_SECONDS,
        "max_pool_connections": CONNECTIONS,
        "retries": {"mode": "standard", "total_max_attempts": _ATTEMPTS},
    }
    return Config(**(settings | options))


@contextmanager
def _clear_settings() -> Iterator[None]:
    """Turn what boto3 says of a profile, a region or its files into a SettingError."""
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except BotoCoreError as error:
        message = str(error).rstrip(".")
        raise SettingError(
            f"AWS can't be reached as it is set up: {message}; correct the profile and the region"
            " (options, the YAML, AWS_PROFILE and AWS_REGION) or the AWS configuration files"
        ) from error


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
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code == "NoSuchBucket":
            bucket = place.partition("s3://")[2].partition("/")[0]
            raise kind(f"the bucket {bucket} of {place} does not exist; {missing}") from error
        if code in ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"):
            raise kind(f"{place} does not exist; {missing}") from error
        if status >= 500:
            raise kind(
                f"{place} fails with the HTTP status {status}, a mistake of the server: run it"
                " again later"
            ) from error
        raise kind(
            f"{place} refuses ({code}): {error}; the credentials in use need {right}"
        ) from error
    except BotoCoreError as error:
        raise kind(
            f"{place} can't be reached: {error}; check the AWS credentials, the region and the "
            "endpoint"
        ) from error
