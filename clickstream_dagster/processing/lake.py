"""The lake: Iceberg tables `<project>.ods_event` and `<project>.bad_event`.

`<sink>/` is the warehouse. In a directory the catalog is SQLite at `<sink>/catalog.db`, on S3 it is
AWS Glue with a database named after the project. Tables are changed by one overwrite snapshot at a
time and never hold delete files, so that the data files of the current snapshot are exactly the
table.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.errors import LakeError, UnknownCommitError
from clickstream_dagster.processing.schema import BAD_EVENT, ODS_EVENT
from clickstream_dagster.processing.sqlite import clear_database_errors, has_catalog, sqlite_catalog
from clickstream_dagster.processing.storage import S3Storage, lake_root, storage_of

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

_SCHEMA_TRIES = 5
ATTEMPT = "clickstream.attempt"
"""Property of a snapshot: the attempt that has made it."""

TABLES: Mapping[str, tuple[pa.Schema, tuple[str, ...]]] = {
    "ods_event": (ODS_EVENT, ("app_id", "event_date")),
    "bad_event": (BAD_EVENT, ("ingest_date",)),
}

_BOUNDED = (
    *("ingest_batch", "app_id", "event_date", "ingest_date"),
    *("event_timestamp", "ingest_timestamp", "user_pseudo_id"),
)

# Data files have no statistics of values in structs and lists: see open_data_file.
_NO_METRICS = {"write.metadata.metrics.default": "none"}
_METRICS = {
    **_NO_METRICS,
    **{
        f"write.metadata.metrics.column.{field.name}": (
            "full" if field.name in _BOUNDED else "counts"
        )
        for schema, _ in TABLES.values()
        for field in schema
        if not pa.types.is_nested(field.type)
    },
}

TABLE_PROPERTIES = {
    "write.parquet.compression-codec": "zstd",
    # A commit on top of another writer's must look at its rows first: see merge_pass.
    "commit.retry.num-retries": "0",
    **_METRICS,
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

    @property
    def folder(self) -> str:
        """The folder of its partition."""
        return self.path.rpartition("/")[0]

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
    """The tables of one project under a sink.

    `sink` is a local path or `s3://bucket/prefix`, `s3` is how S3 and Glue are reached. Raises
    LakeError when it can't be used as a lake.
    """

    def __init__(self, sink: str, project_id: str, s3: S3Access | None = None) -> None:
        self.root = lake_root(sink)
        self.project_id = project_id
        self.s3 = s3 or S3Access()
        self.storage = storage_of(self.root, self.s3)

    @cached_property
    def catalog(self) -> "Catalog":
        """The Iceberg catalog; in a directory, made with it on first use."""
        if self.in_glue:
            from clickstream_dagster.processing.glue import glue_catalog

            with self._errors():
                return glue_catalog(self.root, self.storage)
        return sqlite_catalog(self.root, self.storage)

    @property
    def in_glue(self) -> bool:
        """Whether the catalog is Glue."""
        return isinstance(self.storage, S3Storage)

    def has_place(self) -> bool:
        """Whether the directory of the lake is there; on S3 there are none to be made."""
        return self.in_glue or Path(self.root).is_dir()

    def exists(self) -> bool:
        """Whether a catalog is there already. Makes nothing."""
        return self.in_glue or has_catalog(self.root)

    def table(self, name: str) -> "Table":
        """Load a table of the project, and make it when it is not there yet.

        A table of an earlier version gets the columns that have been added since, behind its own;
        they are null in the rows that it holds.
        """
        from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError

        with self._errors():
            found = self._load(name)
            if found is not None:
                return self._with_new_columns(found, name)
            try:
                return self._create(name)
            # Another batch was quicker.
            except (TableAlreadyExistsError, CommitFailedException):
                return self.catalog.load_table((self.project_id, name))

    def _load(self, name: str) -> "Table | None":
        from pyiceberg.exceptions import NoSuchTableError

        try:
            table = self.catalog.load_table((self.project_id, name))
        except NoSuchTableError:
            return None
        # An account has one Glue catalog, for all its lakes.
        if self.in_glue and not table.location().startswith(f"{self.root}/"):
            raise LakeError(
                f"the table {self.project_id}.{name} of the Glue catalog is at {table.location()},"
                f" not below {self.root}: name that lake, or give this one another project id"
            )
        return table

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
        if not self.catalog.namespace_exists(self.project_id):
            self.catalog.create_namespace_if_not_exists(self.project_id)
        identifier = (self.project_id, name)
        with (
            self.catalog.create_table_transaction(
                identifier,
                schema=schema,
                location=f"{self.root}/{self.project_id}/{name}",
                properties=TABLE_PROPERTIES,
            ) as transaction,
            transaction.update_spec() as spec,
        ):
            for column in partition_columns:
                spec.add_field(column, IdentityTransform(), column)
        return self.catalog.load_table(identifier)

    def has(self, name: str) -> bool:
        """Whether a table of the project is there. Makes nothing."""
        with self._errors():
            return self.exists() and self._load(name) is not None

    def has_snapshot_of(self, name: str, attempt: str) -> bool:
        """Whether a snapshot of a table has been made by an attempt at a batch."""
        return self.has(name) and any(
            snapshot.summary is not None and snapshot.summary.get(ATTEMPT) == attempt
            for snapshot in self.table(name).snapshots()
        )

    def files(self, name: str) -> list[LakeFile]:
        """Give the live data files of a table."""
        from pyiceberg.conversions import from_bytes
        from pyiceberg.types import StringType

        table = self.table(name)
        with self._errors():
            tasks = list(table.scan().plan_files())
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
            for task in tasks
        ]

    def data_files(self, name: str) -> list[str]:
        """Give the paths of the data files of the current snapshot, sorted."""
        if not self.has(name):
            return []
        return sorted(file.path for file in self.files(name))

    def newest_arrival(self, since: date) -> datetime | None:
        """Give when the newest of the events from a day on arrived, None if there is none.

        By the bounds in the manifests of those days: no data file is opened.
        """
        from pyiceberg.conversions import from_bytes
        from pyiceberg.expressions import GreaterThanOrEqual
        from pyiceberg.types import LongType

        if not self.has("ods_event"):
            return None
        table = self.table("ods_event")
        arrival_id = table.schema().find_field("ingest_timestamp").field_id
        with self._errors():
            scan = table.scan(row_filter=GreaterThanOrEqual("event_date", since.isoformat()))
            bounds = [(task.file.upper_bounds or {}).get(arrival_id) for task in scan.plan_files()]
        found = [from_bytes(LongType(), bound) for bound in bounds if bound is not None]
        return datetime.fromtimestamp(max(found) / 1000, UTC) if found else None

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
        pyiceberg merges, in the same commit. Raises UnknownCommitError when the answer of the
        catalog was lost and it can't be asked.
        """
        from pyiceberg.io.pyarrow import parquet_file_to_data_file

        self.storage.settle(add, self.root)
        # A table of an earlier version has another default; what its owner chose for columns stays.
        modes = _METRICS | table.properties | _NO_METRICS
        metadata = table.metadata.model_copy(update={"properties": modes})
        with self._errors(), ThreadPoolExecutor(8) as pool:
            entries = list(
                pool.map(lambda path: parquet_file_to_data_file(table.io, metadata, path), add)
            )
        try:
            with table.transaction() as transaction:
                snapshot = transaction.update_snapshot(
                    snapshot_properties=dict(properties)
                ).overwrite()
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
        except Exception as error:
            if not self.in_glue or not _is_lost_answer(error):
                with self._errors():
                    raise
            self._settle(table.name()[-1], properties[ATTEMPT], error)

    def expire(self, table: "Table", snapshots: Iterable[int]) -> None:
        """Take snapshots out of a table by their ids; their files stay.

        `table` is the state that the caller read: when another writer has committed since then,
        pyiceberg's CommitFailedException is raised and nothing has changed. After a LakeError
        they may be gone.
        """
        with self._errors():
            table.maintenance.expire_snapshots().by_ids(sorted(snapshots)).commit()

    def _settle(self, name: str, attempt: str, lost: Exception) -> None:
        """Return if the commit of an attempt, whose answer was lost, was made all the same.

        That it is not to be seen does not mean that it will not be made yet.
        """
        try:
            if self.has_snapshot_of(name, attempt):
                return
        except LakeError:
            pass
        raise UnknownCommitError(
            f"Glue has not answered the commit to {self.project_id}.{name}: {lost}; its files stay"
            " for now, run the batch again: it ends as if nothing had happened"
        ) from lost

    def _errors(self) -> AbstractContextManager[None]:
        if not self.in_glue:
            return clear_database_errors(self.root)
        return clear_aws_errors(
            LakeError,
            f"the Glue catalog of {self.root}",
            "glue:GetDatabase, glue:CreateDatabase, glue:GetTable, glue:CreateTable and"
            f" glue:UpdateTable on the database {self.project_id}, and what the lake needs on S3",
            "create the bucket, or correct its name",
        )


def _is_lost_answer(error: Exception) -> bool:
    """Whether the catalog may have done what it was asked, or may still do it."""
    from botocore.exceptions import ClientError, HTTPClientError

    if isinstance(error, ClientError):
        return error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    return isinstance(error, HTTPClientError)


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


def folder_of(table: "Table") -> str:
    """Give the path of a table's folder, as storages take it."""
    return table.location().removeprefix("file://")


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
