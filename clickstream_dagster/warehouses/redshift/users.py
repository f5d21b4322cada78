"""The dimension of users: for each the properties that were known last.

It has a row for each user that has ever sent properties. A run takes in what has been loaded since
the last one, at a frequency of its own; a late event counts if it is the latest of its user.

A client's clock may be years ahead. Nobody can know properties before the collector got them, so an
event counts from its time or its arrival, whichever is earlier: it can't hold a user's row for
ever, let alone that of others.
"""

from dataclasses import dataclass

from clickstream_dagster.warehouses.redshift.sql import Sql, name
from clickstream_dagster.warehouses.redshift.tables import (
    EVENTS,
    EXPIRY,
    KEY,
    LOADS,
    USER_LOADS,
    USERS,
    table,
    user_columns,
)


@dataclass(frozen=True, slots=True)
class UserUpsert:
    """What a run has taken in: loads after `after` up to `upto`."""

    after: int
    upto: int


def upsert_users(sql: Sql, project: str) -> UserUpsert:
    """Bring the users up to what has been loaded. Raises RedshiftError.

    A user whose row came of an event that has been taken out of the lake gets the one before.
    """
    ((after,),) = sql.query(f"select coalesce(max(load_id), 0) from {table(project, USER_LOADS)}")
    ((upto,),) = sql.query(f"select coalesce(max(load_id), 0) from {table(project, LOADS)}")
    found = UserUpsert(int(str(after)), int(str(upto)))
    if found.after < found.upto:
        sql.transaction(upsert_statements(project, found))
    return found


def upsert_statements(project: str, loads: UserUpsert) -> list[str]:
    """Give the statements of a run, for one transaction."""
    users, events = table(project, USERS), table(project, EVENTS)
    columns = ", ".join(map(name, user_columns()))
    window = f"load_id > {loads.after} and load_id <= {loads.upto}"
    lost = " and ".join(f"u.{column} = e.{column}" for column in KEY)
    return [
        # Rows whose event has gone, but not because its day has expired.
        "create temp table outdated as select u.app_id, u.user_pseudo_id"
        f" from {users} as u left join {events} as e on {lost}"
        " where e.event_id is null and u.event_date >="
        f" (select coalesce(max(before), date '1970-01-01') from {table(project, EXPIRY)})",
        f"delete from {users} using outdated where {USERS}.app_id = outdated.app_id"
        f" and {USERS}.user_pseudo_id = outdated.user_pseudo_id",
        "create temp table latest diststyle key distkey (user_pseudo_id) as"
        f" select {columns} from (select *, row_number() over ("
        "partition by app_id, user_pseudo_id"
        " order by known_timestamp desc, event_timestamp desc, event_id desc, is_new desc) as nth"
        f" from (select {_from_events('e')}, 1 as is_new from {events} as e where {window}"
        f" and {_has_properties('e')}"
        f" union all select {_from_events('e')}, 1 from {events} as e inner join outdated as o"
        " on e.app_id = o.app_id and e.user_pseudo_id = o.user_pseudo_id"
        f" where {_has_properties('e')}"
        f" union all select {columns}, 0 from {users}) as known) as numbered where nth = 1",
        f"delete from {users} using latest where {USERS}.app_id = latest.app_id"
        f" and {USERS}.user_pseudo_id = latest.user_pseudo_id",
        f"insert into {users} ({columns}) select {columns} from latest",
        f"delete from {table(project, USER_LOADS)}",
        f"insert into {table(project, USER_LOADS)} (load_id) values ({loads.upto})",
        "drop table outdated",
        "drop table latest",
    ]


def _has_properties(alias: str) -> str:
    return f"{alias}.user_pseudo_id is not null and get_array_length({alias}.user_properties) > 0"


def _from_events(alias: str) -> str:
    known = f"least({alias}.event_timestamp, {alias}.ingest_timestamp) as known_timestamp"
    return ", ".join(
        known if column == "known_timestamp" else f"{alias}.{name(column)}"
        for column in user_columns()
    )
