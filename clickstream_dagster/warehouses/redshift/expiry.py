"""Takes old days out of the hot events.

The lake keeps them, and so do the models of sessions, users, paths and devices: only what reads the
events themselves gets shorter. The loader leaves expired days alone, so late events of them are not
loaded, and nothing comes back.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from clickstream_dagster.warehouses.redshift.sql import RedshiftError, Sql, literal
from clickstream_dagster.warehouses.redshift.tables import EVENTS, EXPIRY, table


@dataclass(frozen=True, slots=True)
class ExpiredDay:
    """A day of an app, and how many events it had."""

    app_id: str
    day: date
    events: int


def expire(sql: Sql, project: str, days: int, today: date, *, dry_run: bool) -> list[ExpiredDay]:
    """Take out events of days before the last `days` full ones; give what goes.

    `today` is the day in UTC. A dry run changes nothing. Raises RedshiftError, also for less than
    a day.
    """
    if days < 1:
        raise RedshiftError(f"events can't be kept for {days} days: write 1 or more")
    before = today - timedelta(days=days)
    condition = f"event_date < {literal(before)}"
    rows = sql.query(
        f"select app_id, cast(event_date as varchar(10)), count(*) from {table(project, EVENTS)}"
        f" where {condition} group by app_id, event_date order by event_date, app_id"
    )
    if not dry_run:
        sql.transaction(
            [
                f"delete from {table(project, EVENTS)} where {condition}",
                # Never back: what has gone would look as if it were loaded.
                f"insert into {table(project, EXPIRY)} (before) values ({literal(before)})",
                f"delete from {table(project, EXPIRY)} where before <"
                f" (select max(before) from {table(project, EXPIRY)})",
            ]
        )
    return [
        ExpiredDay(str(app_id), date.fromisoformat(str(day)), int(str(events)))
        for app_id, day, events in rows
    ]
