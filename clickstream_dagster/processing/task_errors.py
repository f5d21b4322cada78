"""The error of a task as the task raised it: an engine hands on its text only."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clickstream_dagster import errors
from clickstream_dagster.errors import ClickstreamError, EngineError, PluginError, TaskError

if TYPE_CHECKING:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException


def task_error(
    batch: str, error: "PySparkException | Py4JError", unwatched: Sequence[str]
) -> ClickstreamError:
    """Give the error that a task of the batch ended with.

    `unwatched` are the plug-ins on DataFrames: what fails in them comes from Spark itself.
    """
    text = str(error)
    found = re.search(r"(?:\w+\.)*(SourceError|SettingError|LakeError|PluginError): (.*)", text)
    if found:
        return getattr(errors, found[1])(found[2].strip())
    own = re.search(r"(?:\w+\.)*TaskError: (.*)", text)
    if own:
        return TaskError(
            f"a task of the batch {batch} failed: {own[1].strip()};"
            " nothing of it was committed, run it again"
        )
    if any(sign in text for sign in ("UNAVAILABLE", "RETRIES_EXCEEDED", "Connection refused")):
        return EngineError(
            f"the engine has stopped while it was at the batch {batch} (an interrupt ends it, too);"
            " nothing of the batch was committed, run it again"
        )
    told = [line.strip() for line in text.splitlines() if len(line.strip()) > 2]
    if unwatched:
        return PluginError(
            f"plug-in {' or '.join(unwatched)} failed in a task of the batch {batch}:"
            f" {told[-1] if told else type(error).__name__}; nothing of it was committed"
        )
    return TaskError(
        f"a task of the batch {batch} failed: {told[-1] if told else type(error).__name__};"
        " nothing of it was committed, run it again"
    )
