"""Second pass: drop duplicates and write the data files of the lake, one app and day at a time.

An event is one app, day and event_id; of its copies the one that arrived first stays, whichever
batch brings it. So the lake does not depend on the order in which batches are processed.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clickstream_dagster.processing.lake import LakeFile
from clickstream_dagster.processing.staging import (
    STAGED_EVENT,
    Piece,
    report_batch,
    whole_buckets,
)
from clickstream_dagster.processing.storage import Storage
from clickstream_dagster.processing.taking import take_rows

ROW_GROUP_ROWS = 131_072
FILE_BYTES = 480 << 20

GROUP_BYTES = 512 << 20
"""Rows in memory at once. Raw bytes don't tell what they unpack to: 2 MB may hold 3 GB, more text
than one array takes."""

_COUNTS = (
    *("written", "duplicate", "superseded"),
    *("bot", "late", "corrected", "geo_found", "ua_found"),
)
BAD_KEY = ("request_id", "request_position", "reason", "payload")
_BAD_ARRIVAL = ("ingest_timestamp", "source_object", "source_line")
_BAD_BATCH_ROWS = 2_048  # an envelope has up to 16 KB
_BAD_BATCH_BYTES = 16 << 20
_EPOCH = date(1970, 1, 1)
_HOUR_MS = 3_600_000
_UNIQUE = ("event_id", "request_id", "_value", "_micros", "timestamp", "timestamp_offset")
_ARRIVAL = ["ingest_timestamp", "request_id", "request_position"]
FILE_ORDER = [
    ("user_pseudo_id", "ascending"),
    ("event_timestamp", "ascending"),
    ("event_id", "ascending"),
]


@dataclass(frozen=True, slots=True)
class MergeUnit:
    """Staged pieces of one app and day that become the rows of one or more data files.

    `lake_files` are the live files of that app and day that hold rows of other batches; those
    in `shared_files` may hold rows of this batch, too, which are about to be replaced.
    """

    name: str
    pieces: tuple[Piece, ...]
    lake_files: tuple[str, ...] = ()
    shared_files: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """Staged rows, duplicates included."""
        return sum(piece.rows for piece in self.pieces)

    def folder(self, location: str) -> str:
        """Give the folder of its data files in the table at `location`."""
        first = self.pieces[0]
        return partition_folder(location, app_id=first.app_id, event_date=first.event_date)


@dataclass(frozen=True, slots=True)
class WriteRule:
    """Where and how data files are written."""

    storage: Storage
    location: str
    partition: tuple[str, ...]
    schema: pa.Schema
    batch: str
    attempt: str


@dataclass(slots=True)
class _LakeKeys:
    """Ids and arrivals of the events that the lake holds in one app and day."""

    table: pa.Table
    file: np.ndarray
    row: np.ndarray
    paths: tuple[str, ...]
    superseded: dict[str, list[int]] = field(default_factory=dict)


def merge_units(units: Sequence[MergeUnit], rule: WriteRule) -> Iterator[pa.RecordBatch]:
    """Merge units one after the other; give the files, counts and superseded rows of each."""
    for unit in units:
        keys = _lake_keys(unit, rule) if unit.lake_files else None
        counts = dict.fromkeys(_COUNTS, 0)
        paths: list[str] = []
        with _DataFiles(rule, unit.name, paths) as files:
            for pieces in whole_buckets(unit.pieces, ROW_GROUP_ROWS):
                for part, keep in _parts(pieces, keys, rule.storage):
                    files.write(_merged(part, keep, keys, rule.storage, counts))
        report: list[tuple[str, dict[str, object]]] = [("file", {"path": path}) for path in paths]
        if keys is not None:
            for path, places in keys.superseded.items():
                counts["superseded"] += len(places)
                report.append(("superseded", {"path": path, "rows": places}))
        yield report_batch([("tally", counts), *report])


def _parts(
    pieces: Sequence[Piece], keys: _LakeKeys | None, storage: Storage
) -> Iterator[tuple[Sequence[Piece], np.ndarray | None]]:
    """Cut a group that is larger than GROUP_BYTES, with the rows of each part that are to stay.

    Which copy of an event stays is decided for the whole group, by its ids and arrivals alone. A
    smaller group is one part, and nothing is decided yet.
    """
    if sum(piece.bytes for piece in pieces) <= GROUP_BYTES:
        yield pieces, None
        return
    pieces = sorted(pieces, key=lambda piece: piece.path)  # as they are read
    keep = _first_copies(read_pieces(pieces, storage, ("event_id", *_ARRIVAL)), keys)
    part: list[Piece] = []
    first = rows = size = 0
    for piece in pieces:
        if part and size + piece.bytes > GROUP_BYTES:
            yield part, keep[first : first + rows]
            part, first, rows, size = [], first + rows, 0, 0
        part.append(piece)
        rows += piece.rows
        size += piece.bytes
    yield part, keep[first:]


def _merged(
    pieces: Sequence[Piece],
    keep: np.ndarray | None,
    keys: _LakeKeys | None,
    storage: Storage,
    counts: dict[str, int],
) -> pa.Table:
    """Give the rows of pieces that are to be written, in the order of files, and count them."""
    rows = read_pieces(pieces, storage)
    if keep is None:
        keep = _first_copies(rows, keys)
    order = np.asarray(pc.sort_indices(rows, FILE_ORDER))
    order = order[keep[order]]
    counts["duplicate"] += rows.num_rows - len(order)
    (batch,) = rows.to_batches()  # GROUP_BYTES are less than a column can hold in one piece
    kept = pa.Table.from_batches([take_rows(batch, order)])
    _count_written(kept, counts)
    return kept


def read_pieces(
    pieces: Sequence[Piece], storage: Storage, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read staged rows back, file by file; only some columns if they are named."""
    by_path: dict[str, list[int]] = {}
    for piece in pieces:
        by_path.setdefault(piece.path, []).append(piece.index)
    fields = [STAGED_EVENT.get_field_index(name) for name in columns] if columns else None
    options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=fields)
    batches: list[pa.RecordBatch] = []
    for path, indexes in by_path.items():
        with storage.open(path) as source:
            reader = pa.ipc.open_file(source, options=options)
            batches += [reader.get_batch(index) for index in indexes]
    return pa.Table.from_batches(batches).combine_chunks()


def _lake_keys(unit: MergeUnit, rule: WriteRule) -> _LakeKeys:
    tables: list[pa.Table] = []
    files: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    for number, path in enumerate(unit.lake_files):
        shared = path in unit.shared_files
        columns = ["event_id", *_ARRIVAL, *(["ingest_batch"] if shared else [])]
        with rule.storage.open(path) as source:
            table = pq.ParquetFile(source, pre_buffer=True).read(columns=columns)
        row = np.arange(table.num_rows)
        if shared:
            of_others = pc.not_equal(table.column("ingest_batch"), rule.batch)
            row = row[np.asarray(of_others)]
            table = table.filter(of_others).drop_columns("ingest_batch")
        # Field ids differ from one read to the next only in metadata.
        tables.append(table.replace_schema_metadata())
        files.append(np.full(len(row), number))
        rows.append(row)
    table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    return _LakeKeys(table, np.concatenate(files), np.concatenate(rows), unit.lake_files)


def _first_copies(rows: pa.Table, keys: _LakeKeys | None) -> np.ndarray:
    """Mark the rows to write: the first copy of each event, unless the lake's came before."""
    keep = np.full(rows.num_rows, True)
    ids = rows.column("event_id").combine_chunks()
    codes = ids.dictionary_encode()
    if len(codes.dictionary) < len(ids):
        code = np.asarray(codes.indices)
        places = np.flatnonzero(np.bincount(code)[code] > 1)
        copies = rows.select(_ARRIVAL).take(pa.array(places))
        copies = copies.append_column("code", pa.array(code[places]))
        order = np.asarray(
            pc.sort_indices(copies, [(name, "ascending") for name in ("code", *_ARRIVAL)])
        )
        sorted_code = code[places][order]
        is_later = np.concatenate([[False], sorted_code[1:] == sorted_code[:-1]])
        keep[places[order[is_later]]] = False
    if keys is not None:
        found = pc.index_in(ids, keys.table.column("event_id").combine_chunks())
        places = np.flatnonzero(keep & np.asarray(found.is_valid()))
        if len(places):
            lake_places = np.asarray(found.take(pa.array(places)))
            earlier = _arrives_earlier(
                rows.take(pa.array(places)), keys.table.take(pa.array(lake_places))
            )
            keep[places[~earlier]] = False
            for place in lake_places[earlier]:
                path = keys.paths[keys.file[place]]
                keys.superseded.setdefault(path, []).append(int(keys.row[place]))
    return keep


def _arrives_earlier(ours: pa.Table, theirs: pa.Table) -> np.ndarray:
    """Mark the rows of `ours` that come before the row beside them by arrival."""
    earlier = np.full(ours.num_rows, False)
    equal = np.full(ours.num_rows, True)
    for name in _ARRIVAL:
        less = pc.fill_null(pc.less(ours.column(name), theirs.column(name)), False)
        same = pc.fill_null(pc.equal(ours.column(name), theirs.column(name)), False)
        earlier |= equal & np.asarray(less)
        equal &= np.asarray(same)
    return earlier


def _count_written(rows: pa.Table, counts: dict[str, int]) -> None:
    device, geo = rows.column("device"), rows.column("geo")
    offset = rows.column("event_server_timestamp_offset")
    counts["written"] += rows.num_rows
    counts["bot"] += pc.sum(rows.column("is_bot")).as_py() or 0
    counts["late"] += pc.sum(pc.greater(offset, _HOUR_MS)).as_py() or 0
    moved = pc.not_equal(rows.column("event_timestamp"), rows.column("event_timestamp_original"))
    counts["corrected"] += pc.sum(moved).as_py() or 0
    country = pc.struct_field(geo, "country")
    counts["geo_found"] += rows.num_rows - country.null_count
    found = pc.or_(
        pc.struct_field(device, "ua_browser").is_valid(),
        pc.struct_field(device, "ua_os").is_valid(),
    )
    counts["ua_found"] += pc.sum(found).as_py() or 0


class _DataFiles:
    """Parquet files of one partition, closed and followed by the next at FILE_BYTES.

    The path of each file is added to `paths`.
    """

    def __init__(self, rule: WriteRule, name: str, paths: list[str]) -> None:
        self._rule = rule
        self._name = name
        self._paths = paths
        self._stack = ExitStack()
        self._local = ""
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "_DataFiles":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)

    def write(self, rows: pa.Table) -> None:
        """Append sorted rows of the partition."""
        if rows.num_rows == 0:
            return
        if self._writer is not None and os.path.getsize(self._local) > FILE_BYTES:
            self._stack.close()
            self._writer = None
        if self._writer is None:
            directory = partition_folder(
                self._rule.location,
                **{name: rows.column(name)[0].as_py() for name in self._rule.partition},
            )
            number = len(self._paths)
            path = f"{directory}/{self._rule.attempt}-{self._name}-{number}.parquet"
            self._paths.append(path)
            self._local = self._stack.enter_context(self._rule.storage.writing(path))
            self._writer = self._stack.enter_context(open_data_file(self._local, self._rule.schema))
        self._writer.write_table(
            in_file_schema(rows, self._rule.schema, self._rule.batch),
            row_group_size=ROW_GROUP_ROWS,
        )


def partition_folder(location: str, **values: object) -> str:
    """Give the folder of a partition of the table at `location`: `…/data/column=value/…`."""
    parts = (f"{name}={quote(str(value), safe='')}" for name, value in values.items())
    return "/".join((location, "data", *parts))


def open_data_file(path: str, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a data file of the lake for writing.

    Values that hardly repeat get no dictionary: that saves a tenth of the bytes. Values in structs
    and lists get no statistics: rows are not ordered by any of them, so no query skips a row group
    for their sake, and they took a tenth of the time of writing.
    """
    leaves = [leaf for field in schema for leaf in _leaves(field.name, field.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        write_statistics=[leaf for leaf in leaves if "." not in leaf],
        use_dictionary=[leaf for leaf in leaves if not leaf.endswith(_UNIQUE)],
    )


def _leaves(path: str, type_: pa.DataType) -> list[str]:
    """Give the Parquet paths of the leaf columns under a field."""
    if pa.types.is_struct(type_):
        return [leaf for child in type_ for leaf in _leaves(f"{path}.{child.name}", child.type)]
    if pa.types.is_list(type_):
        return _leaves(f"{path}.list.element", type_.value_type)
    return [path]


def with_columns(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give the rows of a data file with all columns of the table.

    A file of an earlier version lacks the columns that have been added since: they are null.
    """
    columns = [
        rows.column(field.name)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def in_file_schema(rows: pa.Table, schema: pa.Schema, batch: str) -> pa.Table:
    """Give the rows with Iceberg's field ids, and with the batch if they have none of their own."""
    if "ingest_batch" not in rows.column_names:
        batches = pa.repeat(pa.scalar(batch, pa.string()), rows.num_rows)
        rows = rows.append_column("ingest_batch", batches)
    return pa.table([rows.column(field.name) for field in schema], schema=schema)


def write_bad_rows(
    paths: Sequence[str],
    lake_files: Mapping[str, date],
    rule: WriteRule,
    will_write: Callable[[list[str]], None],
) -> tuple[list[str], int]:
    """Write the staged bad rows, a file per day of arrival, day by day and batch by batch.

    `lake_files` are the files with rows of other batches and their days: a record that one of
    these rows has is not written again, and of one that came twice the copy that arrived first is
    written. `will_write` is told of each folder before its first file. Gives the files, and how
    many records were not written.
    """
    written: list[str] = []
    repeated = 0
    # Day by day: one file is open at a time, and the keys of one day are in memory.
    for day, places in sorted(_places_of_days(paths, rule.storage).items()):
        will_write([partition_folder(rule.location, ingest_date=day)])
        known = _bad_records(lake_files, day, rule)
        stays = _first_of_bad_copies(_staged_bad_rows(places, day, rule.storage), known)
        repeated += len(stays) - int(stays.sum())
        row = 0
        with _DataFiles(rule, f"bad-{day}", written) as files:
            for part in _staged_bad_rows(places, day, rule.storage):
                files.write(part.filter(pa.array(stays[row : row + part.num_rows])))
                row += part.num_rows
    return written, repeated


def _staged_bad_rows(
    places: Mapping[str, Sequence[int]], day: date, storage: Storage
) -> Iterator[pa.Table]:
    """Read the bad rows of a day of arrival from the batches of staged files, batch by batch."""
    for path, numbers in places.items():
        with storage.open(path) as source:
            reader = pa.ipc.open_file(source)
            for number in numbers:
                rows = pa.Table.from_batches([reader.get_batch(number)])
                yield rows.filter(pc.equal(rows.column("ingest_date"), day))


def _first_of_bad_copies(parts: Iterator[pa.Table], known: set[bytes]) -> np.ndarray:
    """Tell of each bad row whether it is the first copy of a record that is not known.

    Which task has read a copy, and when, depends on the engine and its cores.
    """
    rows = pa.concat_tables(
        part.select(_BAD_ARRIVAL).append_column("key", pa.array(bad_keys(part), pa.binary(16)))
        for part in parts
    )
    order = pc.sort_indices(rows, [(name, "ascending") for name in ("key", *_BAD_ARRIVAL)])
    keys = rows.column("key").take(order).to_pylist()
    stays = np.zeros(len(keys), dtype=bool)
    previous = None
    for place, key in zip(order.to_numpy(), keys, strict=True):
        stays[place] = key != previous and key not in known
        previous = key
    return stays


def _places_of_days(paths: Sequence[str], storage: Storage) -> dict[date, dict[str, list[int]]]:
    """Give, for each day of arrival, the staged files with its rows and which batches of them."""
    found: dict[date, dict[str, list[int]]] = {}
    for path in paths:
        with storage.open(path) as source:
            column = pa.ipc.open_file(source).schema.get_field_index("ingest_date")
            options = pa.ipc.IpcReadOptions(included_fields=[column])
            reader = pa.ipc.open_file(source, options=options)
            for number in range(reader.num_record_batches):
                for day in pc.unique(reader.get_batch(number).column(0)).to_pylist():
                    found.setdefault(day, {}).setdefault(path, []).append(number)
    return found


def _bad_records(lake_files: Mapping[str, date], day: date, rule: WriteRule) -> set[bytes]:
    """Give the keys of the bad records of other batches that files hold for a day."""
    return {
        key
        for path, file_day in lake_files.items()
        if file_day == day
        for rows in read_bad_rows(rule.storage, path, [*BAD_KEY, "ingest_batch"])
        for key in bad_keys(rows.filter(pc.not_equal(rows.column("ingest_batch"), rule.batch)))
    }


def arrival_day(file: LakeFile) -> date:
    """Give the day of arrival that a file of bad_event is of."""
    return _EPOCH + timedelta(days=int(file.partition[0]))


def staged_bad_keys(storage: Storage, paths: Sequence[str]) -> set[bytes]:
    """Give the keys of staged bad rows."""
    found: set[bytes] = set()
    for path in paths:
        with storage.open(path) as source:
            reader = pa.ipc.open_file(source)
            for place in range(reader.num_record_batches):
                found.update(bad_keys(reader.get_batch(place)))
    return found


def read_bad_rows(
    storage: Storage, path: str, columns: Sequence[str], row_groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read a file of bad_event, some megabytes at a time however long its records are."""
    with storage.open(path) as source:
        file = pq.ParquetFile(source)
        for number in range(file.num_row_groups) if row_groups is None else row_groups:
            group = file.metadata.row_group(number)
            mean = group.total_byte_size / max(1, group.num_rows)
            size = max(1, min(_BAD_BATCH_ROWS, int(_BAD_BATCH_BYTES / max(1.0, mean))))
            yield from file.iter_batches(size, row_groups=[number], columns=list(columns))


def bad_keys(rows: pa.Table | pa.RecordBatch) -> Iterator[bytes]:
    """Give a digest of what makes a bad record: its request, its place there, why and its bytes."""
    for values in zip(*(rows.column(name).to_pylist() for name in BAD_KEY), strict=True):
        yield hashlib.blake2b(repr(values).encode(), digest_size=16).digest()
