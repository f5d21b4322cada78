"""Where a ledger keeps its small files: a directory or an S3 prefix, with one atomic create."""

import os
import tempfile
from pathlib import Path
from typing import Protocol

from clickstream_dagster.batches.objects import S3_SCHEME, split_s3
from clickstream_dagster.errors import LakeError


class Store(Protocol):
    """Small files by key. Reads see every write that has returned."""

    def read(self, key: str) -> bytes | None:
        """Give a file's bytes, None if there is none."""

    def exists(self, key: str) -> bool:
        """Whether there is a file."""

    def create(self, key: str, body: bytes) -> bool:
        """Write a file unless there is one already: True for exactly one of many callers."""

    def write(self, key: str, body: bytes) -> None:
        """Write or replace a file; readers see the old or the new bytes, never a mixture."""

    def names(self, folder: str) -> list[str]:
        """Give the names of the files in a folder, sorted; none if there is no such folder."""


def open_store(address: str) -> Store:
    """Give the store of a directory or an `s3://bucket/prefix`."""
    return S3Store(address) if address.startswith(S3_SCHEME) else DirectoryStore(address)


class DirectoryStore:
    """Files below a directory; a file appears under its name only when it is complete."""

    def __init__(self, root: str) -> None:
        self.root = Path(root.removeprefix("file://")).absolute()

    def read(self, key: str) -> bytes | None:
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError:
            return None

    def exists(self, key: str) -> bool:
        return (self.root / key).exists()

    def create(self, key: str, body: bytes) -> bool:
        complete = self._complete(key, body)
        try:
            # A hard link fails when the name is taken; a rename would replace.
            os.link(complete, self.root / key)
        except FileExistsError:
            return False
        except OSError as error:
            raise LakeError(
                f"the ledger {self.root} can't create {key} in one step: {error}; put the lake "
                "on a file system with hard links"
            ) from error
        finally:
            os.unlink(complete)
        return True

    def write(self, key: str, body: bytes) -> None:
        os.replace(self._complete(key, body), self.root / key)

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(
                name for name in os.listdir(self.root / folder) if not name.startswith(".")
            )
        except FileNotFoundError:
            return []

    def _complete(self, key: str, body: bytes) -> str:
        folder = (self.root / key).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(dir=folder, prefix=".")
            with os.fdopen(handle, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise LakeError(
                f"the ledger {self.root} can't be written: {error}; make room, or give this user "
                "the right to write there"
            ) from error
        return path


class S3Store:
    """Objects below an S3 prefix; create is S3's own conditional write."""

    def __init__(self, address: str) -> None:
        import boto3

        self.bucket, self.prefix = split_s3(address)
        self._s3 = boto3.client("s3")

    def read(self, key: str) -> bytes | None:
        try:
            answer = self._s3.get_object(Bucket=self.bucket, Key=self.prefix + key)
        except self._s3.exceptions.NoSuchKey:
            return None
        return answer["Body"].read()

    def exists(self, key: str) -> bool:
        # A listing tells a missing object from a missing right; HEAD does not.
        answer = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + key, MaxKeys=1)
        return any(item["Key"] == self.prefix + key for item in answer.get("Contents", ()))

    def create(self, key: str, body: bytes) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._s3.put_object(
                Bucket=self.bucket, Key=self.prefix + key, Body=body, IfNoneMatch="*"
            )
        except ClientError as error:
            # 409: another create of the same key is under way.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412):
                return False
            raise
        return True

    def write(self, key: str, body: bytes) -> None:
        self._s3.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=body)

    def names(self, folder: str) -> list[str]:
        prefix = f"{self.prefix}{folder}/"
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        return [
            item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", ())
        ]
