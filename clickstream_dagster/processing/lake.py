"""The lake: Iceberg tables `<project>.ods_event` and `<project>.bad_event`.

Embedded, the catalog is SQLite at `<sink>/catalog.db` and `<sink>/` is the warehouse. Tables are
changed by one overwrite snapshot at a time and never hold delete files, so that the data files
of the current snapshot are exactly the table.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from clickstream_dagster.errors import LakeError
from clickstream_dagster.processing.schema import BAD_EVENT, ODS_EVENT

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

_SCHEMA_TRIES = 5

TABLES: Mapping[str, tuple[pa.Schema, tuple[str, ...]]] = {
    "ods_event": (ODS_EVENT, ("app_id", "event_date")),
    "bad_event": (BAD_EVENT, ("ingest_date",)),
}

TABLE_PROPERTIES = {
    "write.parquet.compression-codec": "zstd",
    # A commit on top of another writer's must look at its rows first: see job.
    "commit.retry.num-retries": "0",
    # Statistics of nested columns serve no reader and make manifests large.
    "write.metadata.metrics.default": "counts",
    "write.metadata.metrics.column.ingest_batch": "full",
    "write.metadata.metrics.column.app_id": "full",
    "write.metadata.metrics.column.event_date": "full",
    "write.metadata.metrics.column.ingest_date": "full",
    "write.metadata.metrics.column.event_timestamp": "full",
    "write.metadata.metrics.column.ingest_timestamp": "full",
    "write.metadata.metrics.column.user_pseudo_id": "full",
    "write.metadata.previous-versions-max": "20",
    "write.metadata.delete-after-commit.enabled": "true",
}


MAINTAINED = "clickstream.maintain"
"""Property of the snapshots of maintenance: no row differs from the snapshot before."""

_MERGED_MANIFESTS = {
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "2",
}


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One live data file: its path, rows, size and the smallest and greatest batch name in it."""

    path: str
    rows: int
    bytes: int
    partition: tuple[object, ...]
    first_batch: str | None
    last_batch: str | None
    entry: "DataFile"

    def may_hold(self, batch: str) -> bool:
        """Whether rows of `batch` may be in the file."""
        if self.first_batch is None or self.last_batch is None:
            return True
        return self.first_batch <= batch <= self.last_batch

    def holds_only(self, batch: str) -> bool:
        """Whether every row of the file is of `batch`."""
        return self.first_batch == self.last_batch == batch


@dataclass(frozen=True, slots=True)
class SnapshotFiles:
    """Paths that snapshots need: of data files, and of manifests and their lists."""

    data: set[str]
    metadata: set[str]


class Lake:
    """The tables of one project under a sink directory.

    `sink` is a local path. Raises LakeError when it can't be used as a lake.
    """

    def __init__(self, sink: str, project_id: str) -> None:
        self.root = os.path.abspath(sink.removeprefix("file://"))
        self.project_id = project_id

    @cached_property
    def catalog(self) -> "Catalog":
        """The Iceberg catalog; made with its directory on first use."""
        from pyiceberg.catalog.sql import SqlCatalog
        from sqlalchemy.exc import OperationalError

        def connect() -> "Catalog":
            return SqlCatalog(
                "clickstream", uri=f"sqlite:///{self.root}/catalog.db", warehouse=self.root
            )

        try:
            Path(self.root).mkdir(parents=True, exist_ok=True)
            try:
                return connect()
            except OperationalError as error:
                if "already exists" not in str(error):
                    raise
                return connect()  # another process has made its tables at the same moment
        except (OSError, OperationalError) as error:
            raise LakeError(
                f"the sink {self.root} can't be used as a lake: {error}; name a directory that"
                " this user may write"
            ) from error

    def exists(self) -> bool:
        """Whether a catalog is there already. Makes nothing."""
        return Path(self.root, "catalog.db").exists()

    def table(self, name: str) -> "Table":
        """Load a table of the project, and make it when it is not there yet.

        A table of an earlier version gets the columns that have been added since, behind its own;
        they are null in the rows that it holds.
        """
        from pyiceberg.exceptions import (
            CommitFailedException,
            NoSuchTableError,
            TableAlreadyExistsError,
        )

        identifier = (self.project_id, name)
        try:
            return self._with_new_columns(self.catalog.load_table(identifier), name)
        except NoSuchTableError:
            pass
        try:
            return self._create(name)
        except (TableAlreadyExistsError, CommitFailedException):  # another batch was quicker
            return self.catalog.load_table(identifier)

    def _with_new_columns(self, table: "Table", name: str) -> "Table":
        from pyiceberg.exceptions import CommitFailedException

        schema, _ = TABLES[name]
        for _ in range(_SCHEMA_TRIES):
            held = {field.name for field in table.schema().fields}
            added = [field for field in schema if field.name not in held]
            if not added:
                return table
            try:
                with table.update_schema() as update:
                    update.union_by_name(pa.schema(added))
                return table
            except CommitFailedException:  # another process has written, or was quicker
                table = self.catalog.load_table((self.project_id, name))
        raise LakeError(
            f"the table {name} of {self.root} could not be given its new columns: other writers"
            f" changed it {_SCHEMA_TRIES} times meanwhile; run it again"
        )

    def _create(self, name: str) -> "Table":
        from pyiceberg.transforms import IdentityTransform

        schema, partition_columns = TABLES[name]
        self.catalog.create_namespace_if_not_exists(self.project_id)
        identifier = (self.project_id, name)
        with (
            self.catalog.create_table_transaction(
                identifier, schema=schema, properties=TABLE_PROPERTIES
            ) as transaction,
            transaction.update_spec() as spec,
        ):
            for column in partition_columns:
                spec.add_field(column, IdentityTransform(), column)
        return self.catalog.load_table(identifier)

    def has(self, name: str) -> bool:
        """Whether a table of the project is there. Makes nothing."""
        return self.exists() and self.catalog.table_exists((self.project_id, name))

    def files(self, name: str) -> list[LakeFile]:
        """Give the live data files of a table."""
        from pyiceberg.conversions import from_bytes
        from pyiceberg.types import StringType

        table = self.table(name)
        batch_id = table.schema().find_field("ingest_batch").field_id

        def bound(bounds: Mapping[int, bytes] | None) -> str | None:
            raw = (bounds or {}).get(batch_id)
            return None if raw is None else from_bytes(StringType(), raw)

        return [
            LakeFile(
                path=task.file.file_path.removeprefix("file://"),
                rows=task.file.record_count,
                bytes=task.file.file_size_in_bytes,
                partition=tuple(task.file.partition),
                first_batch=bound(task.file.lower_bounds),
                last_batch=bound(task.file.upper_bounds),
                entry=task.file,
            )
            for task in table.scan().plan_files()
        ]

    def data_files(self, name: str) -> list[str]:
        """Give the paths of the data files of the current snapshot, sorted."""
        if not self.has(name):
            return []
        return sorted(file.path for file in self.files(name))

    def snapshot(self, name: str) -> int | None:
        """Give the id of the current snapshot of a table, None before the first one."""
        return self.table(name).metadata.current_snapshot_id

    def only_maintained(self, name: str, since: int | None) -> bool:
        """Whether no batch has changed a table since a snapshot, only maintenance."""
        metadata = self.table(name).metadata
        found = metadata.current_snapshot_id
        while found is not None and found != since:
            snapshot = metadata.snapshot_by_id(found)
            if snapshot is None or not (snapshot.summary and snapshot.summary.get(MAINTAINED)):
                return False
            found = snapshot.parent_snapshot_id
        return found == since

    def kept_files(self, name: str) -> set[str]:
        """Give the paths of the data files that any snapshot has: readers may be at them."""
        if not self.has(name):
            return set()
        table = self.table(name)
        return files_of(table, table.metadata.snapshots).data

    def commit(
        self,
        table: "Table",
        *,
        remove: Iterable[LakeFile],
        add: Sequence[str],
        properties: Mapping[str, str],
        merge_manifests: bool = False,
    ) -> None:
        """Swap data files in one overwrite snapshot; nothing is visible before it is made.

        `table` is the state that the caller read: when another writer has committed since then,
        pyiceberg's CommitFailedException is raised and nothing has changed. `add` are paths of
        Parquet files with the table's field ids, each inside one partition. With
        `merge_manifests` the table's manifests become few and full, by an empty append that
        pyiceberg merges, in the same commit.
        """
        from pyiceberg.io.pyarrow import parquet_file_to_data_file

        with ThreadPoolExecutor(8) as pool:
            entries = list(
                pool.map(
                    lambda path: parquet_file_to_data_file(table.io, table.metadata, path), add
                )
            )
        with table.transaction() as transaction:
            snapshot = transaction.update_snapshot(snapshot_properties=dict(properties)).overwrite()
            with snapshot:
                for file in remove:
                    snapshot.delete_data_file(file.entry)
                for entry in entries:
                    snapshot.append_data_file(entry)
            if merge_manifests:
                transaction.set_properties(_MERGED_MANIFESTS)
                transaction.update_snapshot(
                    snapshot_properties=dict(properties)
                ).merge_append().commit()


def files_of(table: "Table", snapshots: Sequence["Snapshot"]) -> SnapshotFiles:
    """Give the files that snapshots of a table need; each manifest is read once."""
    with ThreadPoolExecutor(8) as pool:
        lists = list(pool.map(lambda snapshot: snapshot.manifests(table.io), snapshots))
        manifests = {manifest.manifest_path: manifest for list_ in lists for manifest in list_}
        entries = pool.map(
            lambda manifest: manifest.fetch_manifest_entry(table.io, discard_deleted=True),
            manifests.values(),
        )
        data = {
            entry.data_file.file_path.removeprefix("file://")
            for of_manifest in entries
            for entry in of_manifest
        }
    return SnapshotFiles(
        data=data,
        metadata={
            path.removeprefix("file://")
            for path in (*manifests, *(snapshot.manifest_list for snapshot in snapshots))
        },
    )


def file_schema(table: "Table") -> pa.Schema:
    """Give the Arrow schema of a table's data files: Iceberg's field ids on every level.

    Strings and lists have 32-bit offsets, as the processing writes them.
    """
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    return pa.schema([_with_small_offsets(field) for field in schema_to_pyarrow(table.schema())])


def _with_small_offsets(field: pa.Field) -> pa.Field:
    type_ = field.type
    if pa.types.is_large_string(type_):
        type_ = pa.string()
    elif pa.types.is_large_binary(type_):
        type_ = pa.binary()
    elif pa.types.is_large_list(type_) or pa.types.is_list(type_):
        type_ = pa.list_(_with_small_offsets(type_.value_field))
    elif pa.types.is_struct(type_):
        type_ = pa.struct([_with_small_offsets(child) for child in type_])
    return field.with_type(type_)
