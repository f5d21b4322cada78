"""What a load has to do: the files that the lake holds, beside those of Redshift's ledger."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, timedelta
from os.path import basename

from clickstream_dagster.processing.compaction import former_files
from clickstream_dagster.processing.lake import Lake, LakeFile

FILES_OF_A_LOAD = 200
"""A load takes whole days of apps until it has so many files."""


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

    `forgotten` are those that the ledger loses for the moved ones. `late` files of expired days are
    only noted, and `erased` ones only forgotten.
    """

    copied: list[Held] = field(default_factory=list)
    gone: list[Held] = field(default_factory=list)
    moved: list[Held] = field(default_factory=list)
    forgotten: list[Held] = field(default_factory=list)
    late: list[Held] = field(default_factory=list)
    erased: list[Held] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether Redshift has what the lake has."""
        return not (self.copied or self.gone or self.only_noted)

    @property
    def only_noted(self) -> bool:
        """Whether there are files that only the ledger has to do with."""
        return bool(self.moved or self.late or self.erased)


def find_changes(
    live: Collection[Held], held: Collection[Held], lake: Lake, before: date | None = None
) -> Changes:
    """Compare the lake's files with the ledger's; days before `before` have expired."""
    first = before or date.min
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
    return Changes(
        [file for file in (*new, *again) if file.day >= first],
        [file for file in gone if file.day >= first],
        moved,
        [file for file in held if file.path in forgotten],
        [file for file in new if file.day < first],
        [file for file in gone if file.day < first],
    )


def first_days(changes: Changes) -> Changes:
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
        changes.late,
        changes.erased,
    )


def as_held(file: LakeFile) -> Held:
    """Give a file of the lake as the ledger knows it."""
    app_id, day = file.partition
    if isinstance(day, int):
        day = date(1970, 1, 1) + timedelta(days=day)
    assert isinstance(day, date)
    return Held(
        file.path, str(app_id), day, file.first_batch, file.last_batch, file.rows, file.bytes
    )
