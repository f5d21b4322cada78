"""Compaction: the small data files of a partition become few of a good size, with the same rows.

A compacted file holds exactly the rows of the files it is made from, sorted for the models, and
names those files in its footer. So it can be committed in their place on top of any state of the
table that still has all of them, and who has read them needs not read it.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clickstream_dagster.processing.lake import LakeFile
from clickstream_dagster.processing.merging import (
    FILE_ORDER,
    ROW_GROUP_ROWS,
    open_data_file,
    with_columns,
)
from clickstream_dagster.processing.storage import Storage

COMPACTED = "-compacted-"
"""What the names of compacted files have."""

MANY = 8
"""So many small files of a partition are compacted even while batches still write to it."""

ORDER: Mapping[str, Sequence[str]] = {
    "ods_event": tuple(name for name, _ in FILE_ORDER),
    "bad_event": ("app_id", "ingest_timestamp", "request_id"),
}
"""Columns that the rows of a compacted file are sorted by: the first two over the whole file, the
others in each row group."""

_SOURCES = "clickstream.sources"
_ROW_GROUP_BYTES = 512 << 20
_LZ4 = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)

Partition = tuple[object, ...]
Sources = Mapping[str, "Sources | None"]
"""Names of the files that a file is made from; each with its own sources, if it was compacted."""


@dataclass(frozen=True, slots=True)
class Group:
    """Small files of one partition that become one file."""

    partition: Partition
    files: tuple[LakeFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def plan(
    files: Iterable[LakeFile], busy: frozenset[Partition], target_bytes: int, most_bytes: int
) -> list[Group]:
    """Choose what to compact: partitions with the most small files first, older ones before newer.

    A file is small below half of `target_bytes`. A partition is left alone until no batch writes to
    it any more, or until it has MANY small files: so no file is written again for each batch.
    Groups of at most `target_bytes` are given until `most_bytes` are reached, one at least.
    """
    small: dict[Partition, list[LakeFile]] = {}
    for file in files:
        if 2 * file.bytes < target_bytes:
            small.setdefault(file.partition, []).append(file)
    due = [
        (partition, found)
        for partition, found in small.items()
        if len(found) >= (MANY if partition in busy else 2)
    ]
    due.sort(key=lambda item: (-len(item[1]), str(item[0][-1]), str(item[0])))
    chosen: list[Group] = []
    left = most_bytes
    for partition, found in due:
        for group in _groups(partition, found, target_bytes):
            if chosen and group.bytes > left:
                return chosen
            chosen.append(group)
            left -= group.bytes
    return chosen


def _groups(partition: Partition, files: Iterable[LakeFile], target_bytes: int) -> Iterator[Group]:
    """Pack files by the order of their batches, so that few batches share a file."""
    packed: list[LakeFile] = []
    size = 0
    for file in sorted(files, key=lambda file: (file.first_batch or "", file.path)):
        if packed and size + file.bytes > target_bytes:
            if len(packed) > 1:
                yield Group(partition, tuple(packed))
            packed, size = [], 0
        packed.append(file)
        size += file.bytes
    if len(packed) > 1:
        yield Group(partition, tuple(packed))


def compact(
    storage: Storage,
    paths: Sequence[str],
    target: str,
    schema: pa.Schema,
    order: Sequence[str],
    scratch: str,
) -> int:
    """Write the rows of data files into one, sorted by columns; the first two decide its layout.

    Memory is that of a row group and of two columns, however large the files are: the rows are
    laid out by row groups of the result in the file `scratch` first. Gives the bytes of the file.
    """
    sources = [_read_source(storage, path, order[:2]) for path in paths]
    group_of, groups = _target_groups(sources)
    places: list[list[int]] = [[] for _ in range(groups)]
    with storage.scratch(scratch) as laid_out:
        with pa.ipc.new_file(laid_out, schema, options=_LZ4) as out:
            _lay_out(storage, sources, schema, group_of, places, out)
        with pa.memory_map(laid_out) as opened, storage.writing(target) as local:
            spool = pa.ipc.open_file(opened)
            with open_data_file(local, schema) as writer:
                writer.add_key_value_metadata({_SOURCES: json.dumps(_tree(sources))})
                for batches in places:
                    rows = pa.Table.from_batches(map(spool.get_batch, batches), schema)
                    rows = rows.take(pc.sort_indices(rows, [(name, "ascending") for name in order]))
                    writer.write_table(rows, row_group_size=max(1, rows.num_rows))
            return os.path.getsize(local)


def sources_of(storage: Storage, path: str) -> Sources | None:
    """Give what a file is made from by compaction; None if it was not."""
    if COMPACTED not in os.path.basename(path):
        return None
    with storage.open(path) as opened:
        return _sources_in(pq.read_metadata(opened))


def former_files(storage: Storage, path: str, known: Mapping[str, str]) -> list[str] | None:
    """Give the known files that together have the rows of a compacted file; None if none have.

    `known` are paths of files by their name.
    """
    sources = sources_of(storage, path)
    return _cover(sources, known) if sources else None


def _cover(sources: Sources, known: Mapping[str, str]) -> list[str] | None:
    found: list[str] = []
    for name, own in sources.items():
        part = [known[name]] if name in known else _cover(own, known) if own else None
        if part is None:
            return None
        found += part
    return found


@dataclass(frozen=True, slots=True)
class _Source:
    """A file to compact: its path, its footer, and the columns that decide where a row goes."""

    path: str
    metadata: pq.FileMetaData
    keys: pa.Table


def _read_source(storage: Storage, path: str, columns: Sequence[str]) -> _Source:
    with storage.open(path) as opened:
        file = pq.ParquetFile(opened, pre_buffer=True)
        # Schemas differ in their metadata only.
        keys = file.read(columns=list(columns)).replace_schema_metadata()
        return _Source(path, file.metadata, keys)


def _tree(sources: Sequence[_Source]) -> Sources:
    return {os.path.basename(source.path): _sources_in(source.metadata) for source in sources}


def _sources_in(footer: pq.FileMetaData) -> Sources | None:
    text = (footer.metadata or {}).get(_SOURCES.encode())
    return json.loads(text) if text else None


def _target_groups(sources: Sequence[_Source]) -> tuple[np.ndarray, int]:
    """Give the row group of the result for every row of the sources, and how many there are."""
    rows = sum(source.metadata.num_rows for source in sources)
    size = sum(
        source.metadata.row_group(number).total_byte_size
        for source in sources
        for number in range(source.metadata.num_row_groups)
    )
    # Rows with long texts are kept in smaller row groups.
    groups = max(-(-rows // ROW_GROUP_ROWS), -(-size // _ROW_GROUP_BYTES))
    per_group = max(1, -(-rows // max(1, groups)))
    keys = pa.concat_tables([source.keys for source in sources], promote_options="permissive")
    codes = [_codes(column) for column in keys.columns]
    group_of = np.empty(rows, np.int64)
    group_of[np.lexsort(codes[::-1])] = np.arange(rows) // per_group
    return group_of, -(-rows // per_group)


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Give numbers that are ordered as the values, nulls last."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    order = np.asarray(pc.sort_indices(encoded.dictionary))
    rank = np.empty(len(order) + 1, np.int64)
    rank[order] = np.arange(len(order))
    rank[-1] = len(order)
    return rank[np.asarray(encoded.indices.fill_null(len(order)))]


def _lay_out(
    storage: Storage,
    sources: Sequence[_Source],
    schema: pa.Schema,
    group_of: np.ndarray,
    places: list[list[int]],
    out: pa.ipc.RecordBatchFileWriter,
) -> None:
    """Write the rows of the sources, cut by row groups of the result; note the batches of each."""
    first = written = 0
    for source in sources:
        with storage.open(source.path) as opened:
            file = pq.ParquetFile(opened, metadata=source.metadata, pre_buffer=True)
            for number in range(file.num_row_groups):
                rows = with_columns(file.read_row_group(number), schema)
                groups = group_of[first : first + rows.num_rows]
                first += rows.num_rows
                order = np.argsort(groups, kind="stable")
                rows = rows.take(pa.array(order)).combine_chunks()
                borders = np.flatnonzero(np.diff(groups[order], prepend=-1))
                for start, stop in zip(borders, [*borders[1:], rows.num_rows], strict=True):
                    for batch in rows.slice(start, stop - start).to_batches():
                        out.write_batch(batch)
                        places[groups[order[start]]].append(written)
                        written += 1
