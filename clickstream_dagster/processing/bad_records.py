"""Bad records that are processed again: which those are, where they lie, and as which requests.

A row of `bad_event` without a place in its request holds the whole record of the sink; any other
one holds an event, and the envelope of its request.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clickstream_dagster.errors import SettingError
from clickstream_dagster.processing.bad_reasons import DISCARDED, BadReason
from clickstream_dagster.processing.json_values import JsonBatch
from clickstream_dagster.processing.lake import Lake, LakeFile
from clickstream_dagster.processing.merging import BAD_KEY, arrival_day, bad_keys, read_bad_rows
from clickstream_dagster.processing.requests import ReadTally, requests_of, single_events, texts_of
from clickstream_dagster.processing.storage import Storage

SLICE_ROWS = 250_000
SLICE_BYTES = 1 << 30

NOT_REPLAYED = DISCARDED | {BadReason.BROKEN_OBJECT}
"""Reasons whose rows are no event or request of their own, so their batches have to be run again.

The event of a discarded part is in the lake; of a broken object only the rest of a line is kept.
"""

_NOT_REPLAYED = pa.array(sorted(NOT_REPLAYED), pa.string())
_MARKS = ("reason", "ingest_timestamp", "request_position")
_PLACES = ("source_object", "ingest_batch")
_READ = (*BAD_KEY, "ingest_timestamp", "source_object", "source_line", "envelope")
_KEYS = pa.schema([("key", pa.binary(16)), ("reason", pa.string())])
_KEY_FILES = "replayed-"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which bad records: of some reasons (of all, when empty), arrived from `since` to `until`.

    Times are ms UTC; `until` itself is not in the span.
    """

    reasons: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    @classmethod
    def of(
        cls, reasons: Iterable[str] = (), since: str | None = None, until: str | None = None
    ) -> "Selection":
        """Read a selection from texts; times without a zone are UTC. Raises SettingError."""
        chosen = frozenset(reasons)
        for reason in sorted(chosen & NOT_REPLAYED):
            raise SettingError(
                f"records of reason {reason} can't be replayed from bad_event; mend what they"
                " came from and run their batches again, in a Dagster with `clickstream backfill`"
            )
        found = cls(chosen, _moment_ms("since", since), _moment_ms("until", until))
        if None not in (found.since_ms, found.until_ms) and found.since_ms >= found.until_ms:
            raise SettingError(f"since {since} is not before until {until}: nothing lies between")
        return found

    def days(self, day: date) -> bool:
        """Whether records that arrived on a day may be chosen."""
        first = _day_ms(day)
        return (self.until_ms is None or first < self.until_ms) and (
            self.since_ms is None or first + _DAY_MS > self.since_ms
        )

    def chooses(self, rows: pa.RecordBatch | pa.Table) -> pa.BooleanArray:
        """Mark the rows that are chosen, by `reason` and `ingest_timestamp`."""
        chosen = pa.repeat(True, rows.num_rows)
        arrival = rows.column("ingest_timestamp")
        if self.reasons:
            reasons = pa.array(sorted(self.reasons), pa.string())
            chosen = pc.is_in(rows.column("reason"), reasons)
        if self.since_ms is not None:
            chosen = pc.and_(chosen, pc.greater_equal(arrival, self.since_ms))
        if self.until_ms is not None:
            chosen = pc.and_(chosen, pc.less(arrival, self.until_ms))
        return chosen


_DAY_MS = 86_400_000


def _moment_ms(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingError(
            f"{name} {text!r} is no time: write 2026-11-01 or 2026-11-01T06:00 (UTC)"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _day_ms(day: date) -> int:
    return (day - date(1970, 1, 1)).days * _DAY_MS


@dataclass(frozen=True, slots=True)
class Part:
    """A row group of a file of `bad_event` with rows that are taken."""

    path: str
    row_group: int
    whole_requests: int
    events: int
    bytes: int

    def rows(self, whole: bool) -> int:
        """Give the number of whole requests, or of events apart."""
        return self.whole_requests if whole else self.events


@dataclass(slots=True)
class Slice:
    """Parts that are replayed and committed together, and the batches of their raw objects."""

    parts: list[Part] = field(default_factory=list)
    days: set[date] = field(default_factory=set)
    batches: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Found:
    """Bad records that a selection chooses: slices to replay, and records by reason."""

    slices: list[Slice] = field(default_factory=list)
    records: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    """Bytes of the records by reason, when they were asked for."""


def find_bad_records(lake: Lake, selection: Selection, *, sizes: bool = False) -> Found:
    """Look up what a selection chooses, without the bytes of the records unless `sizes` are asked.

    Only days and row groups that may hold something are read. Raises SettingError for a reason
    that neither the pipeline nor the lake knows.
    """
    found = Found()
    files = sorted(_files(lake), key=lambda file: (file.partition, file.path))
    _require_known(selection, files, lake.storage)
    current = Slice()
    for file in files:
        if not selection.days(arrival_day(file)):
            continue
        for part, batches in _parts(file, lake.storage, selection, found, sizes=sizes):
            current.parts.append(part)
            current.days.add(arrival_day(file))
            current.batches |= batches
            if _is_full(current):
                found.slices.append(current)
                current = Slice()
    if current.parts:
        found.slices.append(current)
    return found


def _files(lake: Lake) -> list[LakeFile]:
    return lake.files("bad_event") if lake.has("bad_event") else []


def _is_full(slice_: Slice) -> bool:
    return (
        sum(part.whole_requests + part.events for part in slice_.parts) >= SLICE_ROWS
        or sum(part.bytes for part in slice_.parts) >= SLICE_BYTES
    )


def _require_known(selection: Selection, files: Sequence[LakeFile], storage: Storage) -> None:
    unknown = selection.reasons - set(BadReason)
    if not unknown:
        return
    # Plug-ins may have reasons of their own.
    held = {
        reason
        for file in files
        for rows in read_bad_rows(storage, file.path, ["reason"])
        for reason in pc.unique(rows.column("reason")).to_pylist()
    }
    if unknown - held:
        known = sorted({*BadReason, *held} - NOT_REPLAYED)
        raise SettingError(
            f"reason {min(unknown - held)!r} is not known; write one of {', '.join(known)}"
        )


def _parts(
    file: LakeFile,
    storage: Storage,
    selection: Selection,
    found: Found,
    *,
    sizes: bool,
) -> Iterator[tuple[Part, dict[str, str]]]:
    """Give the parts of a file, each with the batches of its raw objects; `found` counts rows."""
    with storage.open(file.path) as source:
        metadata = pq.ParquetFile(source).metadata
    columns = [*_MARKS, *_PLACES, *(["payload"] if sizes else [])]
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if not _may_hold(group, selection):
            continue
        whole = apart = 0
        batches: dict[str, str] = {}
        for rows in read_bad_rows(storage, file.path, columns, [number]):
            rows = rows.filter(selection.chooses(rows))
            for reason, count in _counts(rows):
                found.records[reason] = found.records.get(reason, 0) + count
                if sizes:
                    of_reason = rows.filter(pc.equal(rows.column("reason"), reason))
                    size = pc.sum(pc.binary_length(of_reason.column("payload"))).as_py() or 0
                    found.bytes[reason] = found.bytes.get(reason, 0) + size
            rows = rows.filter(_is_replayed(rows))
            lacks_place = rows.column("request_position").null_count
            whole += lacks_place
            apart += rows.num_rows - lacks_place
            pairs = rows.select(_PLACES).filter(rows.column("source_object").is_valid())
            encoded = pairs.column(0).dictionary_encode()
            first = np.unique(np.asarray(encoded.indices), return_index=True)[1]
            for object_, batch in zip(
                *pairs.take(pa.array(first)).to_pydict().values(), strict=True
            ):
                # An object that several batches hold may be told of any of them.
                batches[object_] = batch
        if whole or apart:
            yield Part(file.path, number, whole, apart, group.total_byte_size), batches


def _may_hold(group: pq.RowGroupMetaData, selection: Selection) -> bool:
    """Whether a row group may hold chosen rows, by the bounds of its columns."""
    bounds = {
        column.path_in_schema: column.statistics
        for column in map(group.column, range(group.num_columns))
        if column.path_in_schema in ("reason", "ingest_timestamp")
    }
    arrival, reason = bounds.get("ingest_timestamp"), bounds.get("reason")
    if arrival is not None and arrival.has_min_max:
        if selection.since_ms is not None and arrival.max < selection.since_ms:
            return False
        if selection.until_ms is not None and arrival.min >= selection.until_ms:
            return False
    if selection.reasons and reason is not None and reason.has_min_max:
        return any(reason.min <= one <= reason.max for one in selection.reasons)
    return True


def _counts(rows: pa.RecordBatch) -> Iterator[tuple[str, int]]:
    for count in pc.value_counts(rows.column("reason")):
        yield count["values"].as_py(), count["counts"].as_py()


def _is_replayed(rows: pa.RecordBatch) -> pa.BooleanArray:
    return pc.invert(pc.is_in(rows.column("reason"), _NOT_REPLAYED))


@dataclass(frozen=True, slots=True)
class BadReader:
    """Reads parts of `bad_event` in tasks, and notes in a folder which records it has given.

    Either the whole requests of them, or the events apart.
    """

    storage: Storage
    directory: str
    selection: Selection
    whole_requests: bool

    def __call__(self, parts: Sequence[Part], tally: ReadTally) -> Iterator[pa.RecordBatch]:
        """Give REQUEST rows; what can't be read is not among them, and stays where it is."""
        keys: list[bytes] = []
        reasons: list[str] = []
        for part in parts:
            for rows in read_bad_rows(self.storage, part.path, _READ, [part.row_group]):
                rows = rows.filter(self._takes(rows))
                if rows.num_rows == 0:
                    continue
                keys += bad_keys(rows)
                reasons += rows.column("reason").to_pylist()
                tally.requests += rows.num_rows
                tally.bytes += rows.column("payload").nbytes
                yield from _whole(rows) if self.whole_requests else [_apart(rows)]
        noted = pa.table([pa.array(keys, pa.binary(16)), reasons], schema=_KEYS)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, _KEYS) as writer:
            writer.write_table(noted)
        name = f"{self.directory}/{_KEY_FILES}{uuid.uuid4().hex}"
        self.storage.write(name, sink.getvalue().to_pybytes())

    def _takes(self, rows: pa.RecordBatch) -> pa.BooleanArray:
        takes = pc.and_(self.selection.chooses(rows), _is_replayed(rows))
        position = rows.column("request_position")
        takes = pc.and_(takes, position.is_null() if self.whole_requests else position.is_valid())
        for name in ("payload", "source_object", "source_line"):
            takes = pc.and_(takes, rows.column(name).is_valid())
        takes = takes.fill_null(False)
        if self.whole_requests or not pc.any(takes).as_py():
            return takes
        places = np.flatnonzero(np.asarray(takes))
        places = places[_is_whole(rows.take(pa.array(places)))]
        return pa.array(np.isin(np.arange(rows.num_rows), places))


def _is_whole(rows: pa.RecordBatch) -> np.ndarray:
    """Mark the rows whose envelope was not cut, and whose payload is one value."""
    encoded = rows.column("envelope").dictionary_encode()
    envelopes = JsonBatch(encoded.dictionary)
    is_object = np.append(envelopes.is_object(envelopes.roots), False)
    bodies = JsonBatch(_bodies(rows))
    _, first = bodies.elements(bodies.roots)
    return is_object[np.asarray(encoded.indices.fill_null(-1))] & (np.diff(first) == 1)


def _bodies(rows: pa.RecordBatch) -> pa.StringArray:
    return pc.binary_join_element_wise("[", texts_of(rows.column("payload")), "]", "")


def _whole(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    return requests_of(
        rows.column("payload"),
        rows.column("source_object"),
        np.asarray(rows.column("source_line")),
        np.asarray(rows.column("ingest_timestamp")),
    )


def _apart(rows: pa.RecordBatch) -> pa.RecordBatch:
    return single_events(
        _bodies(rows),
        *(rows.column(name) for name in ("envelope", "request_id", "ingest_timestamp")),
        *(rows.column(name) for name in ("request_position", "source_object", "source_line")),
    )


def replayed_records(storage: Storage, directory: str) -> dict[bytes, str]:
    """Give key and reason of the records that readers have noted in a folder."""
    found: dict[bytes, str] = {}
    for name in storage.names(directory, _KEY_FILES):
        with storage.open(f"{directory}/{name}") as source:
            noted = pa.ipc.open_stream(source).read_all()
        found.update(zip(*(column.to_pylist() for column in noted.columns), strict=True))
    return found
