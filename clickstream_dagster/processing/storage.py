"""Where the lake's files are: a directory or an S3 prefix, through one interface.

A path is a local path or an `s3://` address, made longer with `/`. Storages are small and
picklable: a task takes its storage along, to another machine, too.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from clickstream_dagster.batches.objects import S3_SCHEME, split_object, split_s3
from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.durable_files import make_folders, sync_file, sync_folder
from clickstream_dagster.errors import LakeError
from clickstream_dagster.processing.locks import FileLock, Lease, Lock

_DELETED_AT_ONCE = 1_000
_SYNCED_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file: its path, size in bytes and the time it was written, in seconds since 1970."""

    path: str
    bytes: int
    written: float


class Storage(Protocol):
    """Files by path. On S3 every call raises LakeError when S3 refuses or can't be reached."""

    def open(self, path: str) -> pa.NativeFile:
        """Open a file for reading parts of it."""

    def writing(self, path: str) -> AbstractContextManager[str]:
        """Give the local path to write a file to; it is in place when the block has ended well."""

    def read(self, path: str) -> bytes:
        """Give the bytes of a small file."""

    def write(self, path: str, body: bytes) -> None:
        """Write a small file, with the folders above it: whole, or not at all."""

    def settle(self, paths: Sequence[str], root: str) -> None:
        """Make written files below `root` last through a loss of power, before they are named."""

    def names(self, folder: str, start: str = "") -> list[str]:
        """Give the names directly in a folder, of files and folders, that begin with `start`."""

    def files(self, folder: str) -> Iterator[StoredFile]:
        """Give all files below a folder; those that vanish meanwhile may be left out."""

    def scratch(self, path: str) -> AbstractContextManager[str]:
        """Give the local path of a file that is gone when the block has ended.

        It is at `path` where that is local, and in the system's temporary directory otherwise.
        """

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files; those that are not there are no mistake."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and all below it."""

    def lock(self, path: str, what: str) -> Lock:
        """Lock `what` by a file; raises HeldError while another process has it."""


def storage_of(address: str, s3: S3Access) -> Storage:
    """Give the storage of a local path or an `s3://` address."""
    return S3Storage(s3) if address.startswith(S3_SCHEME) else LocalStorage()


def lake_root(sink: str) -> str:
    """Give the path of a lake: absolute, or `s3://bucket/prefix` without a slash at its end."""
    if sink.startswith(S3_SCHEME):
        bucket, prefix = split_s3(sink)
        return f"{S3_SCHEME}{bucket}/{prefix}".rstrip("/")
    return os.path.abspath(sink.removeprefix("file://"))


@dataclass(frozen=True, slots=True)
class LocalStorage:
    """Files on this machine, or on a file system that all machines share. Raises OSError."""

    def open(self, path: str) -> pa.NativeFile:
        return pa.memory_map(path)

    @contextmanager
    def writing(self, path: str) -> Iterator[str]:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        yield path

    def read(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def write(self, path: str, body: bytes) -> None:
        folder, name = os.path.split(path)
        make_folders(folder)
        part = os.path.join(folder, f".{name}.{uuid.uuid4().hex}")
        with open(part, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(folder)

    def settle(self, paths: Sequence[str], root: str) -> None:
        folders = {root}
        for path in paths:
            # Those above it may be new, too: a partition has a folder for each column.
            while (path := os.path.dirname(path)) not in folders:
                folders.add(path)
        with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
            list(pool.map(sync_file, paths))
            list(pool.map(sync_folder, folders))

    def names(self, folder: str, start: str = "") -> list[str]:
        try:
            return sorted(name for name in os.listdir(folder) if name.startswith(start))
        except FileNotFoundError:
            return []

    def files(self, folder: str) -> Iterator[StoredFile]:
        for directory, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(directory, name)
                try:
                    status = os.stat(path)
                except FileNotFoundError:
                    continue
                yield StoredFile(path, status.st_size, status.st_mtime)

    @contextmanager
    def scratch(self, path: str) -> Iterator[str]:
        with self.writing(path) as local:
            try:
                yield local
            finally:
                self.remove([local])

    def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            try:
                os.remove(path)
            except FileNotFoundError:
                continue

    def remove_folder(self, folder: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def lock(self, path: str, what: str) -> Lock:
        return FileLock(path, what)


@dataclass(frozen=True, slots=True)
class S3Storage:
    """Objects on S3. What is written is made in the system's temporary directory first.

    Then it is sent in parts, so that memory does not grow with it, and encrypted as `s3` says.
    """

    s3: S3Access

    def open(self, path: str) -> pa.NativeFile:
        with self._errors(path, "s3:GetObject"):
            return self.s3.filesystem().open_input_file(path.removeprefix(S3_SCHEME))

    @contextmanager
    def writing(self, path: str) -> Iterator[str]:
        with self.scratch(path) as local:
            yield local
            bucket, key = split_object(path)
            with open(local, "rb") as file, self._errors(path, "s3:PutObject"):
                self._client.upload_fileobj(file, bucket, key, ExtraArgs=self.s3.encryption())

    def settle(self, paths: Sequence[str], root: str) -> None:
        pass  # an object is durable when S3 has answered

    @contextmanager
    def scratch(self, path: str) -> Iterator[str]:
        handle, local = tempfile.mkstemp(prefix="clickstream-")
        os.close(handle)
        try:
            yield local
        finally:
            os.remove(local)

    def read(self, path: str) -> bytes:
        bucket, key = split_object(path)
        with self._errors(path, "s3:GetObject"):
            return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def write(self, path: str, body: bytes) -> None:
        bucket, key = split_object(path)
        with self._errors(path, "s3:PutObject"):
            self._client.put_object(Bucket=bucket, Key=key, Body=body, **self.s3.encryption())

    def names(self, folder: str, start: str = "") -> list[str]:
        bucket, key = split_object(folder)
        prefix = f"{key}/"
        found: list[str] = []
        with self._errors(folder, "s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix + start, Delimiter="/"
            )
            for page in pages:
                found += [item["Key"] for item in page.get("Contents", ())]
                found += [item["Prefix"].rstrip("/") for item in page.get("CommonPrefixes", ())]
        return sorted(name for key in found if (name := key.removeprefix(prefix)))

    def files(self, folder: str) -> Iterator[StoredFile]:
        bucket, key = split_object(folder)
        with self._errors(folder, "s3:ListBucket"):
            for item in self._below(bucket, key):
                yield StoredFile(
                    path=f"{S3_SCHEME}{bucket}/{item['Key']}",
                    bytes=item["Size"],
                    written=item["LastModified"].timestamp(),
                )

    def remove(self, paths: Iterable[str]) -> None:
        by_bucket: dict[str, list[str]] = {}
        for path in paths:
            bucket, key = split_object(path)
            by_bucket.setdefault(bucket, []).append(key)
        for bucket, keys in by_bucket.items():
            self._remove(bucket, keys)

    def remove_folder(self, folder: str) -> None:
        bucket, key = split_object(folder)
        with self._errors(folder, "s3:ListBucket"):
            self._remove(bucket, [item["Key"] for item in self._below(bucket, key)])

    def lock(self, path: str, what: str) -> Lock:
        return Lease(path, what, self.s3)

    def _below(self, bucket: str, key: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=f"{key}/"
        )
        for page in pages:
            yield from page.get("Contents", ())

    def _remove(self, bucket: str, keys: list[str]) -> None:
        for first in range(0, len(keys), _DELETED_AT_ONCE):
            part = keys[first : first + _DELETED_AT_ONCE]
            with self._errors(f"s3://{bucket}/{part[0]}", "s3:DeleteObject"):
                answer = self._client.delete_objects(
                    Bucket=bucket,
                    Delete={"Objects": [{"Key": key} for key in part], "Quiet": True},
                )
            for error in answer.get("Errors", ()):
                raise LakeError(
                    f"s3://{bucket}/{error['Key']} can't be removed ({error['Code']}):"
                    f" {error.get('Message', '')}; the credentials in use need s3:DeleteObject"
                )

    @property
    def _client(self) -> Any:
        return self.s3.shared_client()

    def _errors(self, path: str, right: str) -> AbstractContextManager[None]:
        return clear_aws_errors(LakeError, path, right, "create the bucket, or correct its name")
