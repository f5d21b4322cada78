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
    GONE,
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
        ((outdated,),) = sql.query(f"select count(*) from {_outdated(project, found)}")
        sql.transaction(upsert_statements(project, found, outdated=int(str(outdated)) > 0))
    return found


def upsert_statements(project: str, loads: UserUpsert, *, outdated: bool) -> list[str]:
    """Give the statements of a run, for one transaction.

    Only rows that change are written. `outdated` tells whether there are users whose row came of an
    event that the loads took out: all events of those are looked at, of others the loaded ones.
    """
    users, events = table(project, USERS), table(project, EVENTS)
    columns = ", ".join(map(name, user_columns()))
    candidates = [
        f"select {_from_events('e')} from {events} as e"
        f" where {_in_window('e', loads)} and {_has_properties('e')}"
    ]
    statements = []
    if outdated:
        statements += [
            "create temp table outdated as select distinct u.app_id, u.user_pseudo_id"
            f" from {_outdated(project, loads)}",
            f"delete from {users} using outdated where {USERS}.app_id = outdated.app_id"
            f" and {USERS}.user_pseudo_id = outdated.user_pseudo_id",
        ]
        candidates.append(
            f"select {_from_events('e')} from {events} as e inner join outdated as o"
            " on e.app_id = o.app_id and e.user_pseudo_id = o.user_pseudo_id"
            f" where {_has_properties('e')}"
        )
    statements += [
        "create temp table latest diststyle key distkey (user_pseudo_id) as"
        f" select {columns} from (select *, row_number() over ("
        "partition by app_id, user_pseudo_id"
        " order by known_timestamp desc, event_timestamp desc, event_id desc) as nth"
        f" from ({' union all '.join(candidates)}) as known) as numbered where nth = 1",
        # What is known already came later; an equal one is the same event, loaded again.
        f"delete from latest using {users} where latest.app_id = {USERS}.app_id"
        f" and latest.user_pseudo_id = {USERS}.user_pseudo_id"
        f" and {_later(USERS, 'latest', ('known_timestamp', 'event_timestamp', 'event_id'))}",
        f"delete from {users} using latest where {USERS}.app_id = latest.app_id"
        f" and {USERS}.user_pseudo_id = latest.user_pseudo_id",
        f"insert into {users} ({columns}) select {columns} from latest",
        f"delete from {table(project, USER_LOADS)}",
        f"insert into {table(project, USER_LOADS)} (load_id) values ({loads.upto})",
        "drop table latest",
    ]
    return [*statements, "drop table outdated"] if outdated else statements


def _outdated(project: str, loads: UserUpsert) -> str:
    """The users `u` whose event `g` some loads took out, or put in another's place."""
    same_key = " and ".join(f"u.{column} = g.{column}" for column in KEY)
    return (
        f"{table(project, USERS)} as u inner join {table(project, GONE)} as g on {same_key}"
        f" where {_in_window('g', loads)}"
    )


def _in_window(alias: str, loads: UserUpsert) -> str:
    return f"{alias}.load_id > {loads.after} and {alias}.load_id <= {loads.upto}"


def _later(left: str, right: str, columns: tuple[str, ...]) -> str:
    """Whether the columns of one relation are after those of another, in their order."""
    first, *rest = columns
    after = f"{left}.{first} > {right}.{first}"
    if not rest:
        return after
    tie = f"{left}.{first} = {right}.{first}"
    return f"({after} or {tie} and {_later(left, right, tuple(rest))})"


def _has_properties(alias: str) -> str:
    return f"{alias}.user_pseudo_id is not null and get_array_length({alias}.user_properties) > 0"


def _from_events(alias: str) -> str:
    known = f"least({alias}.event_timestamp, {alias}.ingest_timestamp) as known_timestamp"
    return ", ".join(
        known if column == "known_timestamp" else f"{alias}.{name(column)}"
        for column in user_columns()
    )
