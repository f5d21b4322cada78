"""Takes old days out of what has a row for each event: the events, and the models of that grain.

The lake keeps them, and here stay sessions, users, devices and the numbers of days. Models make a
key anew from all of its events, so they keep a little more of them: `MARGIN` days, and sessions
that reach into those, whole.

The loader leaves expired days alone; it tells when the lake has changed them (loading.py).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from clickstream_dagster.warehouses.redshift.sql import RedshiftError, Sql, literal
from clickstream_dagster.warehouses.redshift.tables import (
    EVENTS,
    EXPIRY,
    FILES,
    GONE,
    KEY,
    USER_LOADS,
    relations,
    table,
)

EVENT_MODELS = ("clickstream_event_base", "clickstream_path_base")
"""Models that have a row for each event."""

MARGIN = 2
"""Days that models keep longer: a reporting day, and idle time over midnight, need those about it.
The macro on_whole_days (dialect/redshift.sql) counts on it."""

_LEDGER = "clickstream_load_"
_STATE, _REMOVAL = f"{_LEDGER}state", f"{_LEDGER}removal"
_SESSIONS = "clickstream_session_base"


@dataclass(frozen=True, slots=True)
class ExpiredDay:
    """A day of an app, and how many events it had."""

    app_id: str
    day: date
    events: int


def expire(sql: Sql, project: str, days: int, today: date, *, dry_run: bool) -> list[ExpiredDay]:
    """Take out events of days before the last `days` full ones; give what goes.

    `today` is the day in UTC. A dry run changes nothing. Raises RedshiftError, also for less than
    a day, and while models or users have not taken in all that would go.
    """
    if days < 1:
        raise RedshiftError(f"events can't be kept for {days} days: write 1 or more")
    before = today - timedelta(days=days)
    built = relations(sql, project)
    _must_be_taken_in(sql, project, before, built)
    condition = f"event_date < {literal(before)}"
    rows = sql.query(
        f"select app_id, cast(event_date as varchar(10)), count(*) from {table(project, EVENTS)}"
        f" where {condition} group by app_id, event_date order by event_date, app_id"
    )
    if not dry_run:
        sql.transaction(
            [
                f"delete from {table(project, EVENTS)} where {condition}",
                *_expire_models(project, before - timedelta(days=MARGIN), built),
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


def bring_back(sql: Sql, project: str) -> date | None:
    """Let the next load bring every expired day that the lake still has; give the first kept one.

    Gives None where nothing has expired. Raises RedshiftError.
    """
    ((text,),) = sql.query(f"select cast(max(before) as varchar(10)) from {table(project, EXPIRY)}")
    if text is None:
        return None
    before = date.fromisoformat(str(text))
    built = relations(sql, project)
    sql.transaction(
        [
            f"delete from {table(project, relation)} where event_date < {literal(before)}"
            for relation in (EVENTS, FILES, *EVENT_MODELS)
            if relation in built
        ]
        + [f"delete from {table(project, EXPIRY)}"]
    )
    return before


def erase_user(sql: Sql, project: str, app_id: str, user: str) -> dict[str, int]:
    """Take what is left of a user out of all tables; give how many rows of each.

    Behind an erasure in the lake, a load and a run of the models: those don't reach expired days.
    Numbers of days, which name nobody, stay. Raises RedshiftError while there are events of the
    user on other days.
    """
    whose = f"app_id = {literal(app_id)} and user_pseudo_id = {literal(user)}"
    built = relations(sql, project)
    for relation in (EVENTS, *EVENT_MODELS):
        if relation not in built:
            continue
        ((events,),) = sql.query(
            f"select count(*) from {table(project, relation)} where {whose} and event_date >="
            f" (select coalesce(max(before), date '0001-01-01') from {table(project, EXPIRY)})"
        )
        if events:
            raise RedshiftError(
                f"{relation} still has {events} events of {user}: erase the user in the lake, load,"
                " and run the models first"
            )
    tables = sql.query(
        "select c.table_name from information_schema.columns as c"
        " inner join information_schema.tables as t"
        " on t.table_schema = c.table_schema and t.table_name = c.table_name"
        f" where t.table_schema = {literal(project)} and t.table_type = 'BASE TABLE'"
        " and c.column_name in ('app_id', 'user_pseudo_id')"
        " group by c.table_name having count(*) = 2 order by c.table_name"
    )
    rows = {}
    for (relation,) in tables:
        # The models empty their ledger themselves, when all have taken it in.
        if str(relation).startswith(_LEDGER):
            continue
        ((count,),) = sql.query(
            f"select count(*) from {table(project, str(relation))} where {whose}"
        )
        if count:
            rows[str(relation)] = int(str(count))
    if rows:
        sql.transaction([f"delete from {table(project, one)} where {whose}" for one in rows])
    return rows


def _expire_models(project: str, before: date, built: Collection[str]) -> list[str]:
    """Statements that take events of days before one out of the models, if no session lasts."""
    if not {_SESSIONS, *EVENT_MODELS} <= set(built):
        return []
    events, *_ = EVENT_MODELS
    user = "coalesce({}.user_pseudo_id, '')"
    return [
        f"create temp table passed as select {', '.join(f'e.{column}' for column in KEY)}"
        f" from {table(project, events)} as e left join"
        # A session of two platforms has a row of each, and is one path.
        f" (select app_id, session_key, {user.format('r')} as user_key"
        f" from {table(project, _SESSIONS)} as r"
        f" group by app_id, session_key, {user.format('r')}"
        f" having max(last_event_date) >= {literal(before)}"
        f" and min(first_event_date) < {literal(before)}) as s"
        " on e.app_id = s.app_id and e.session_key = s.session_key"
        f" and {user.format('e')} = s.user_key"
        f" where e.event_date < {literal(before)} and s.app_id is null",
        *(
            f"delete from {table(project, model)} using passed where"
            f" {' and '.join(f'{model}.{column} = passed.{column}' for column in KEY)}"
            f" and {model}.event_date < {literal(before)}"
            for model in EVENT_MODELS
        ),
        "drop table passed",
    ]


def _must_be_taken_in(sql: Sql, project: str, before: date, built: Collection[str]) -> None:
    """Raise while a model, or the users, lack a load that has to do with days before one."""
    # A bare literal of a subquery has no type in Redshift, and can't be grouped by.
    users = "cast('dim_user' as varchar(256))"
    taken_in = f"select {users} as model, load_id from {table(project, USER_LOADS)}"
    changed = [EVENTS, GONE]
    if _STATE in built:
        taken_in += (
            f" union all select model, load_id from {table(project, _STATE)}"
            " where model <> 'ods_event_load'"
        )
        changed.append(_REMOVAL)
    ((last,),) = sql.query(
        "select max(load_id) from ("
        + " union all ".join(
            f"select load_id from {table(project, relation)} where event_date < {literal(before)}"
            for relation in changed
        )
        + ") as c"
    )
    if last is None:
        return
    lagging = sql.query(
        "select model from (select model, max(load_id) as load_id from"
        f" ({taken_in}) as t group by model) as m where load_id < {last} order by model"
    )
    if lagging:
        raise RedshiftError(
            f"load {last} has events of days before {before}, which {lagging[0][0]} has not taken"
            " in yet: run `clickstream redshift model` and `load --users` first; if the project has"
            f" it no more, delete its row in {_STATE}"
        )
