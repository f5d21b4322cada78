"""Brings Redshift's events up to the lake's: what the lake holds now is what Redshift holds.

COPY does not say which file a row came from, so rows are known by app, day and batch, which the
lake knows of each file. What is new is copied. What is gone takes its app, day and batches out, and
what the lake holds of those now is copied in its place. What compaction has put into another file
is noted, and not copied again.

One load is one transaction, and the ledger is part of it: a load that failed has not happened, and
the next one does it.
"""

import json
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from os.path import basename

from clickstream_dagster.processing.compaction import former_files
from clickstream_dagster.processing.lake import Lake, LakeFile
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
    definitions,
    event_columns,
    lake_columns,
    table,
)

FILES_OF_A_LOAD = 200
"""A load takes whole days of apps until it has so many files."""

FILES_OF_A_STATEMENT = 100
"""Of the 100 kB that the Data API takes, for paths of 400 characters and batches of as many."""


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
class Held:
    """A file: rows of one app and day, of batches from `first` to `last`.

    The ledger does not keep how many `bytes` it has.
    """

    path: str
    app_id: str
    day: date
    first: str | None
    last: str | None
    rows: int
    bytes: int = 0

    def meets(self, other: "Held") -> bool:
        """Whether both may have rows of one batch."""
        if (self.app_id, self.day) != (other.app_id, other.day):
            return False
        if None in (self.first, self.last, other.first, other.last):
            return True
        return self.first <= other.last and other.first <= self.last  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Changes:
    """What a load does: `copied` files, `gone` ones whose rows go, `moved` ones that are noted.

    `forgotten` are the paths that the ledger loses for the moved ones.
    """

    copied: list[Held] = field(default_factory=list)
    gone: list[Held] = field(default_factory=list)
    moved: list[Held] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether Redshift has what the lake has."""
        return not (self.copied or self.gone or self.moved)


@dataclass(frozen=True, slots=True)
class Load:
    """A load that was done: its number, its files and rows, and how many files went."""

    load_id: int
    files: int
    rows: int
    gone_files: int


def load(sql: Sql, lake: Lake, copy: CopySettings) -> list[Load]:
    """Load everything that the lake has and Redshift has not. Raises RedshiftError.

    What was loaded before an error stays; the rest is done the next time.
    """
    done = []
    while True:
        before = _expired_before(sql, lake.project_id)
        found = find_changes(_live(lake), _held(sql, lake.project_id), lake, before)
        changes = _first_days(found)
        if changes.nothing:
            return done
        finished = _load_once(sql, lake, copy, changes)
        if finished is not None:
            done.append(finished)


def find_changes(
    live: Collection[Held], held: Collection[Held], lake: Lake, before: date | None = None
) -> Changes:
    """Compare the lake's files with the ledger's; days before `before` have expired."""
    if before is not None:
        live = [file for file in live if file.day >= before]
        held = [file for file in held if file.day >= before]
    known = {basename(file.path): file.path for file in held}
    present = {file.path for file in live}
    ledger = {file.path for file in held}
    new, moved, forgotten = [], [], set()
    for file in live:
        if file.path in ledger:
            continue
        former = former_files(lake.storage, file.path, known)
        if former:
            moved.append(file)
            forgotten.update(former)
        else:
            new.append(file)
    gone = [file for file in held if file.path not in present and file.path not in forgotten]
    fresh = {file.path for file in new}
    days = {(file.app_id, file.day) for file in gone}
    again = [
        file
        for file in live
        if file.path not in fresh
        and (file.app_id, file.day) in days
        and any(file.meets(other) for other in gone)
    ]
    return Changes([*new, *again], gone, moved, sorted(forgotten))


def _first_days(changes: Changes) -> Changes:
    """Take whole days of apps, the oldest first, until a load is full."""
    by_day: dict[tuple[date, str], list[Held]] = {}
    for file in (*changes.copied, *changes.gone):
        by_day.setdefault((file.day, file.app_id), []).append(file)
    taken: set[tuple[date, str]] = set()
    count = 0
    for day in sorted(by_day):
        if taken and count + len(by_day[day]) > FILES_OF_A_LOAD:
            break
        taken.add(day)
        count += len(by_day[day])
    return Changes(
        [file for file in changes.copied if (file.day, file.app_id) in taken],
        [file for file in changes.gone if (file.day, file.app_id) in taken],
        changes.moved,
        changes.forgotten,
    )


def _load_once(sql: Sql, lake: Lake, copy: CopySettings, changes: Changes) -> Load | None:
    project = lake.project_id
    last = _last_load(sql, project)
    if changes.moved:
        # Before anything else: what the ledger knows by its old file would be taken for gone.
        for start in range(0, len(changes.forgotten), FILES_OF_A_LOAD):
            part = slice(start, start + FILES_OF_A_LOAD)
            sql.transaction(
                [
                    *_only_after(project, last),
                    *_forget_files(project, changes.forgotten[part]),
                    *_insert_files(project, changes.moved[part], last),
                ]
            )
        return None
    load_id = last + 1
    manifest = _write_manifest(lake, copy, changes.copied) if changes.copied else None
    try:
        sql.transaction(
            load_statements(project, load_id, changes, manifest=manifest, role=copy.role)
        )
    finally:
        if manifest is not None:
            lake.storage.remove([manifest])
    rows = sum(file.rows for file in changes.copied)
    return Load(load_id, len(changes.copied), rows, len(changes.gone))


def load_statements(
    project: str, load_id: int, changes: Changes, *, manifest: str | None, role: str | None
) -> list[str]:
    """Give the statements of a load, in their order, for one transaction."""
    rows = sum(file.rows for file in changes.copied)
    events, gone = table(project, EVENTS), table(project, GONE)
    key = ", ".join(KEY)
    statements = _only_after(project, load_id - 1)
    if manifest is not None:
        statements += [*_copy_statements(manifest, role, rows), _arrived(load_id)]
    if changes.gone:
        statements += [
            f"insert into {gone} (load_id, {key}) select {load_id}, {key} from {events}"
            f" where {_slices(changes.gone)}",
            f"delete from {events} where {_slices(changes.gone)}",
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
    statements += _forget_files(project, [file.path for file in (*changes.gone, *changes.copied)])
    statements += _insert_files(project, changes.copied, load_id)
    return [
        *statements,
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


def _slices(files: Iterable[Held]) -> str:
    """A condition on EVENTS: the app, day and batches of files."""
    found = sorted(
        f"(app_id = {literal(app_id)} and event_date = {literal(day)}"
        + (
            ")"
            if first is None or last is None
            else f" and ingest_batch between {literal(first)} and {literal(last)})"
        )
        for app_id, day, first, last in {
            (file.app_id, file.day, file.first, file.last) for file in files
        }
    )
    return f"({' or '.join(found)})"


def _forget_files(project: str, paths: Sequence[str]) -> list[str]:
    return [
        f"delete from {table(project, FILES)} where lake_file in"
        f" ({literals(paths[start : start + FILES_OF_A_STATEMENT])})"
        for start in range(0, len(paths), FILES_OF_A_STATEMENT)
    ]


def _insert_files(project: str, files: Sequence[Held], load_id: int) -> list[str]:
    rows = [
        f"({literal(file.path)}, {load_id}, {literal(file.app_id)}, {literal(file.day)},"
        f" {literal(file.first)}, {literal(file.last)}, {file.rows})"
        for file in files
    ]
    return [
        f"insert into {table(project, FILES)} (lake_file, load_id, app_id, event_date, first_batch,"
        f" last_batch, event_rows) values {', '.join(rows[start : start + FILES_OF_A_STATEMENT])}"
        for start in range(0, len(rows), FILES_OF_A_STATEMENT)
    ]


def _live(lake: Lake) -> list[Held]:
    if not lake.has(EVENTS):
        return []
    return [_as_held(file) for file in lake.files(EVENTS)]


def _as_held(file: LakeFile) -> Held:
    app_id, day = file.partition
    if isinstance(day, int):
        day = date(1970, 1, 1) + timedelta(days=day)
    assert isinstance(day, date)
    return Held(
        file.path, str(app_id), day, file.first_batch, file.last_batch, file.rows, file.bytes
    )


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
