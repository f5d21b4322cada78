"""Times at which something is done, as a project's YAML has them: five cron fields in UTC."""

import dagster as dg


def checked_cron(key: str, value: str, example: str) -> str:
    """Give a cron expression as it is. Raises ValueError if it is none."""
    try:
        dg.TimeWindowPartitionsDefinition(cron_schedule=value, start="2026-01-01", fmt="%Y-%m-%d")
    except dg.DagsterInvalidDefinitionError as error:
        raise ValueError(f"{key} {value!r} is no cron expression: write {example}") from error
    return value
