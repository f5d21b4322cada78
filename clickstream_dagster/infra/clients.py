"""Clients of AWS services, one of each for a process: each takes a tenth of a second to make."""

from functools import lru_cache
from typing import Any

from clickstream_dagster.batches.s3 import S3Access


@lru_cache(32)
def client_of(access: S3Access, service: str) -> Any:
    """Give the client of a service; with an `endpoint_url` it is at that address."""
    return access.client_of(service, access.region, access.endpoint_url)
