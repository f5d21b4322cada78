"""The windows of a project, from what its YAML says of interval, start and end."""

from datetime import UTC, datetime

import dagster as dg

from clickstream_dagster.batches.interval import cron_of
from clickstream_dagster.errors import SettingError

MOST_PARTITIONS = 100_000
"""Windows that Dagster can show."""


def utc(moment: str) -> datetime:
    """Give a date or time of ISO 8601, in UTC unless it says another. Raises ValueError."""
    found = datetime.fromisoformat(moment)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def windows(
    interval: str, start_date: str, end_date: str | None
) -> dg.TimeWindowPartitionsDefinition:
    """Give the windows of an interval between two moments, without an end up to now.

    Raises SettingError for an interval that is none, an end that is not after the start, and more
    windows than MOST_PARTITIONS.
    """
    cron = cron_of(interval)
    start = utc(start_date)
    end = utc(end_date) if end_date else None
    daily = cron.split()[:2] == ["0", "0"]
    try:
        partitions = dg.TimeWindowPartitionsDefinition(
            cron_schedule=cron,
            start=start,
            end=end,
            fmt="%Y-%m-%d" if daily else "%Y-%m-%d-%H:%M",
            timezone="UTC",
        )
    except dg.DagsterInvalidDefinitionError as error:
        raise SettingError(
            f"interval {interval!r} is no cron expression: write 0 */6 * * *, or a rate such as"
            " 1 hour"
        ) from error
    seconds = ((end or datetime.now(UTC)) - start).total_seconds()
    if seconds <= 0 and end:
        raise SettingError(f"end_date {end_date} is not after start_date {start_date}")
    first = partitions.get_next_partition_window(start)
    length = (first.end - first.start).total_seconds() if first else seconds
    if seconds / length > MOST_PARTITIONS:
        raise SettingError(
            f"interval {interval!r} since {start_date} makes {seconds / length:,.0f} "
            f"partitions, Dagster can show {MOST_PARTITIONS:,}: write a longer interval or a "
            "later start_date"
        )
    return partitions
