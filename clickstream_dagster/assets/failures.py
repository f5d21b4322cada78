"""Mistakes that a user can mend end a run with their message, not with a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from clickstream_dagster.errors import ClickstreamError


@contextmanager
def clear_failures() -> Iterator[None]:
    """Turn a ClickstreamError into a Dagster failure that says the same."""
    try:
        yield
    except ClickstreamError as error:
        raise dg.Failure(description=str(error)) from error
