"""Brings Redshift's events up to the lake's: what the lake holds now is what Redshift holds.

COPY does not say which file a row came from, so rows are known by app, day and batch, which the
lake knows of each file. What is new is copied. What is gone takes its app, day and batches out, and
what the lake holds of those now is copied in its place. What compaction has put into another file
is noted, and not copied again.

One load is one transaction, and the ledger is part of it: a load that failed has not happened, and
the next one does it. A transaction takes a bounded number of statements, a day any number of files:
so what is to be done is written to a table first.

Days that have expired (expiry.py) are left alone. What the lake has changed of them is noted, and
told once: models keep what they have made of them.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.warehouses.redshift.changes import (
    Changes,
    Held,
    as_held,
    find_changes,
    first_days,
)
from clickstream_dagster.warehouses.redshift.sql import (
    RedshiftError,
    Sql,
    literal,
    literals,
    name,
)
from clickstream_dagster.warehouses.redshift.tables import (
    BATCHES,
    EVENTS,
    EXPIRY,
    FILES,
    GONE,
    KEY,
    LOADS,
    PLAN,
    definitions,
    event_columns,
    file_columns,
    lake_columns,
    table,
)

FILES_OF_A_STATEMENT = 100
"""Of the 100 kB that the Data API takes, for paths of 400 characters and batches of as many."""

STATEMENTS_OF_A_PLAN = 40
"""Most that the Data API takes for one transaction."""

_FILE_COLUMNS = ", ".join(file_columns())


@dataclass(frozen=True, slots=True)
class CopySettings:
    """How COPY reads the lake.

    `role` is the ARN of a role that the warehouse may take on, or None for its default one;
    `manifests` an S3 prefix for the lists of files that COPY is given.
    """

    manifests: str
    role: str | None = None

    def __post_init__(self) -> None:
        if not self.manifests.startswith("s3://"):
            raise RedshiftError(
                f"{self.manifests} is not on S3: COPY reads its manifest from s3://bucket/prefix"
            )


@dataclass(frozen=True, slots=True)
class Load:
    """A load that was done: its number, its files and rows, and how many files went."""

    load_id: int
    files: int
    rows: int
    gone_files: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded, and the `(app, day)` that the lake has changed since they expired."""

    loads: list[Load] = field(default_factory=list)
    expired: list[tuple[str, date]] = field(default_factory=list)


def load(sql: Sql, lake: Lake, copy: CopySettings) -> Loaded:
    """Load everything that the lake has and Redshift has not. Raises RedshiftError.

    What was loaded before an error stays; the rest is done the next time. An expired day is told
    by the call that notes it, and by no other.
    """
    done = Loaded()
    while True:
        before = _expired_before(sql, lake.project_id)
        found = find_changes(_live(lake), _held(sql, lake.project_id), lake, before)
        changes = first_days(found)
        if changes.nothing:
            return done
        finished = _load_once(sql, lake, copy, changes)
        if finished is not None:
            done.loads.append(finished)
        days = {(file.app_id, file.day) for file in (*changes.late, *changes.erased)}
        done.expired.extend(sorted(days))


def _load_once(sql: Sql, lake: Lake, copy: CopySettings, changes: Changes) -> Load | None:
    project = lake.project_id
    last = _last_load(sql, project)
    plan = uuid.uuid4().hex
    if changes.only_noted:
        # Before anything else: what the ledger knows by its old file would be taken for gone.
        kept, gone = [*changes.moved, *changes.late], [*changes.forgotten, *changes.erased]
        _write_plan(sql, project, plan, kept, gone)
        sql.transaction([*_only_after(project, last), *_note_files(project, plan, last)])
        return None
    load_id = last + 1
    _write_plan(sql, project, plan, changes.copied, changes.gone)
    manifest = _write_manifest(lake, copy, changes.copied) if changes.copied else None
    try:
        sql.transaction(
            load_statements(project, load_id, changes, plan=plan, manifest=manifest, role=copy.role)
        )
    finally:
        if manifest is not None:
            lake.storage.remove([manifest])
    rows = sum(file.rows for file in changes.copied)
    return Load(load_id, len(changes.copied), rows, len(changes.gone))


def load_statements(
    project: str,
    load_id: int,
    changes: Changes,
    *,
    plan: str,
    manifest: str | None,
    role: str | None,
) -> list[str]:
    """Give the statements of a load, in their order, for one transaction.

    `plan` is the name under which the files are in PLAN.
    """
    rows = sum(file.rows for file in changes.copied)
    events, gone = table(project, EVENTS), table(project, GONE)
    key = ", ".join(KEY)
    statements = _only_after(project, load_id - 1)
    if manifest is not None:
        statements += [*_copy_statements(manifest, role, rows), _arrived(load_id)]
    if changes.gone:
        days = literals(sorted({file.day for file in changes.gone}))
        statements += [
            _leaving(project, plan, days),
            f"insert into {gone} (load_id, {key}) select {load_id}, {key} from leaving",
            f"delete from {events} using leaving"
            f" where {_same_key(EVENTS, 'leaving')} and {EVENTS}.event_date in ({days})",
            "drop table leaving",
        ]
    if manifest is not None:
        days = literals(sorted({file.day for file in changes.copied}))
        columns = ", ".join(map(name, event_columns()))
        statements += [
            f"insert into {gone} (load_id, {key})"
            f" select {load_id}, {', '.join(f'e.{column}' for column in KEY)} from {events} as e"
            f" inner join arrived as a on {_same_key('e', 'a')} where e.event_date in ({days})",
            f"delete from {events} using arrived"
            f" where {_same_key(EVENTS, 'arrived')} and {EVENTS}.event_date in ({days})",
            f"insert into {events} ({columns}) select {columns} from arrived",
            f"insert into {table(project, BATCHES)} (load_id, ingest_batch, event_rows)"
            f" select {load_id}, ingest_batch, count(*) from arrived group by ingest_batch",
            "drop table incoming",
            "drop table arrived",
        ]
    return [
        *statements,
        *_note_files(project, plan, load_id),
        f"insert into {table(project, LOADS)}"
        " (load_id, files, event_rows, gone_files, loaded_at)"
        f" select {load_id}, {len(changes.copied)}, {rows}, {len(changes.gone)},"
        " cast(getdate() as timestamp)",
    ]


def _only_after(project: str, last: int) -> list[str]:
    """Statements that fail when another load has been done since the plan was made."""
    return [
        f"lock table {table(project, FILES)}",
        f"select cast(case when coalesce(max(load_id), 0) = {last} then '0'"
        f" else 'another load came first: load again' end as integer)"
        f" from {table(project, LOADS)}",
    ]


def _copy_statements(manifest: str, role: str | None, rows: int) -> list[str]:
    iam_role = "default" if role is None else literal(role)
    return [
        f"create temp table incoming ({definitions(lake_columns())})"
        " diststyle key distkey (user_pseudo_id)",
        # Files of an earlier version lack the last columns.
        f"copy incoming from {literal(manifest)} iam_role {iam_role}"
        " format as parquet serializetojson fillrecord manifest",
        f"select cast(case when count(*) = {rows} then '0'"
        f" else 'COPY gave other rows than the {rows} of the files' end as integer)"
        " from incoming",
    ]


def _arrived(load_id: int) -> str:
    """The rows of a load, each event once: the one that was collected first."""
    columns = ", ".join(map(name, lake_columns()))
    return (
        "create temp table arrived diststyle key distkey (user_pseudo_id) as"
        f" select {columns}, cast({load_id} as bigint) as load_id"
        f" from (select *, row_number() over (partition by {', '.join(KEY)}"
        " order by ingest_timestamp, ingest_batch) as nth from incoming) as i where nth = 1"
    )


def _same_key(left: str, right: str) -> str:
    return " and ".join(f"{left}.{column} = {right}.{column}" for column in KEY)


def _leaving(project: str, plan: str, days: str) -> str:
    """The events that go: those of the app, day and batches of gone files."""
    keys = ", ".join(f"e.{column}" for column in KEY)
    return (
        f"create temp table leaving as select distinct {keys} from {table(project, EVENTS)} as e"
        f" inner join {table(project, PLAN)} as p on p.app_id = e.app_id"
        " and p.event_date = e.event_date and (p.first_batch is null or p.last_batch is null"
        " or e.ingest_batch between p.first_batch and p.last_batch)"
        f" where p.is_gone = 1 and p.plan = {literal(plan)} and e.event_date in ({days})"
    )


def _write_plan(
    sql: Sql, project: str, plan: str, kept: Sequence[Held], gone: Sequence[Held]
) -> None:
    """Write down which files the ledger is to have, and which not any more, as a named plan."""
    rows = [
        f"({literal(plan)}, {is_gone}, {literal(file.path)}, {literal(file.app_id)},"
        f" {literal(file.day)}, {literal(file.first)}, {literal(file.last)}, {file.rows})"
        for is_gone, files in enumerate((kept, gone))
        for file in files
    ]
    statements = [
        f"insert into {table(project, PLAN)} (plan, is_gone, {_FILE_COLUMNS})"
        f" values {', '.join(rows[start : start + FILES_OF_A_STATEMENT])}"
        for start in range(0, len(rows), FILES_OF_A_STATEMENT)
    ]
    for start in range(0, len(statements), STATEMENTS_OF_A_PLAN):
        sql.transaction(statements[start : start + STATEMENTS_OF_A_PLAN])


def _note_files(project: str, plan: str, load_id: int) -> list[str]:
    """Bring the ledger up to a plan. Every other plan was made before this load, and is void."""
    files, plans = table(project, FILES), table(project, PLAN)
    named = f"{PLAN}.plan = {literal(plan)}"
    return [
        f"delete from {files} using {plans} where {FILES}.lake_file = {PLAN}.lake_file and {named}",
        f"insert into {files} (load_id, {_FILE_COLUMNS})"
        f" select {load_id}, {_FILE_COLUMNS} from {plans} where {named} and is_gone = 0",
        f"delete from {plans}",
    ]


def _live(lake: Lake) -> list[Held]:
    if not lake.has(EVENTS):
        return []
    return [as_held(file) for file in lake.files(EVENTS)]


def _held(sql: Sql, project: str) -> list[Held]:
    rows = sql.query(
        "select lake_file, app_id, cast(event_date as varchar(10)), first_batch, last_batch,"
        f" event_rows from {table(project, FILES)}"
    )
    return [
        Held(
            str(path),
            str(app_id),
            date.fromisoformat(str(day)),
            _text(first),
            _text(last),
            int(str(rows)),
        )
        for path, app_id, day, first, last, rows in rows
    ]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _last_load(sql: Sql, project: str) -> int:
    ((last,),) = sql.query(f"select coalesce(max(load_id), 0) from {table(project, LOADS)}")
    return int(str(last))


def _expired_before(sql: Sql, project: str) -> date | None:
    ((before,),) = sql.query(
        f"select cast(max(before) as varchar(10)) from {table(project, EXPIRY)}"
    )
    return None if before is None else date.fromisoformat(str(before))


def _write_manifest(lake: Lake, copy: CopySettings, files: Sequence[Held]) -> str:
    """Write the list of files that COPY reads: each must be there, with the size that it has."""
    entries = [
        {"url": file.path, "mandatory": True, "meta": {"content_length": file.bytes}}
        for file in files
    ]
    address = f"{copy.manifests.rstrip('/')}/{lake.project_id}-{uuid.uuid4().hex}.manifest"
    lake.storage.write(address, json.dumps({"entries": entries}).encode())
    return address
