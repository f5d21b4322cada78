"""Calls of boto3 as a sink counts them, retries of botocore's own included."""

from typing import Any

from clickstream_dagster.collector.sinks.sink import SinkCounters

_THROTTLED = {
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
"""Codes of errors that ask to slow down, of S3, Kinesis and KMS behind them."""


def count_calls(client: Any, counters: SinkCounters) -> None:
    """Count each attempt at a call of a boto3 client from now on."""

    def count(response: tuple[Any, dict[str, Any]] | None, attempts: int, **_: Any) -> None:
        counters.requests += 1
        counters.retries += attempts > 1
        if response is not None:
            counters.throttled += response[1].get("Error", {}).get("Code") in _THROTTLED

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f"needs-retry.{service}", count)
