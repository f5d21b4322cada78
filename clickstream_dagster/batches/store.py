"""Where a ledger keeps its small files: a directory or an S3 prefix, with one atomic create."""

import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

from clickstream_dagster.batches.objects import S3_SCHEME, split_s3
from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.durable_files import make_folders, sync_folder
from clickstream_dagster.errors import LakeError

_CREATE_ATTEMPTS = 8


class Store(Protocol):
    """Small files by key. Reads see every write that has returned."""

    def read(self, key: str) -> bytes | None:
        """Give a file's bytes, None if there is none."""

    def exists(self, key: str) -> bool:
        """Whether there is a file."""

    def create(self, key: str, body: bytes) -> bool:
        """Write a file unless there is one already: True for at most one of many callers.

        False means that there is a file, perhaps this very one: an answer that was lost on its
        way is asked for again.
        """

    def write(self, key: str, body: bytes) -> None:
        """Write or replace a file; readers see the old or the new bytes, never a mixture."""

    def delete(self, key: str) -> None:
        """Take a file away, if it is there."""

    def names(self, folder: str) -> list[str]:
        """Give the names of the files in a folder, sorted; none if there is no such folder."""

    def address(self, key: str) -> str:
        """Give the path or the `s3://` address of a file."""


def open_store(address: str, s3: S3Access | None = None) -> Store:
    """Give the store of a directory or an `s3://bucket/prefix`."""
    if address.startswith(S3_SCHEME):
        return S3Store(address, s3 or S3Access())
    return DirectoryStore(address)


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
            sync_folder((self.root / key).parent)
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
        sync_folder((self.root / key).parent)

    def delete(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(
                name for name in os.listdir(self.root / folder) if not name.startswith(".")
            )
        except FileNotFoundError:
            return []

    def address(self, key: str) -> str:
        return str(self.root / key)

    def _complete(self, key: str, body: bytes) -> str:
        folder = (self.root / key).parent
        try:
            make_folders(folder)
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
    """Objects below an S3 prefix; create is S3's own conditional write (`If-None-Match: *`).

    The credentials need s3:GetObject, s3:PutObject, s3:DeleteObject below the prefix, s3:ListBucket
    on the bucket, and with a KMS key kms:GenerateDataKey and kms:Decrypt. Every call raises
    LakeError when S3 refuses or can't be reached.
    """

    def __init__(self, address: str, s3: S3Access) -> None:
        self.bucket, self.prefix = split_s3(address)
        self._s3 = s3.client()
        self._encryption = s3.encryption()

    def read(self, key: str) -> bytes | None:
        # Without s3:ListBucket a missing object is a 403, which must not pass for an empty ledger.
        with self._errors("s3:GetObject and s3:ListBucket"):
            try:
                answer = self._s3.get_object(Bucket=self.bucket, Key=self.prefix + key)
            except self._s3.exceptions.NoSuchKey:
                return None
            return answer["Body"].read()

    def exists(self, key: str) -> bool:
        # A listing tells a missing object from a missing right; HEAD does not.
        with self._errors("s3:ListBucket"):
            answer = self._s3.list_objects_v2(
                Bucket=self.bucket, Prefix=self.prefix + key, MaxKeys=1
            )
        return any(item["Key"] == self.prefix + key for item in answer.get("Contents", ()))

    def create(self, key: str, body: bytes) -> bool:
        from botocore.exceptions import ClientError

        with self._errors("s3:PutObject"):
            for attempt in range(1, _CREATE_ATTEMPTS + 1):
                try:
                    self._put(key, body, IfNoneMatch="*")
                    return True
                except ClientError as error:
                    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                    if status == 412:
                        return False
                    # Another write of the same key is under way, and may still fail.
                    if status != 409 or attempt == _CREATE_ATTEMPTS:
                        raise
                    time.sleep(random.uniform(0, 0.05 * 2**attempt))
        raise AssertionError("the last attempt returns or raises")

    def write(self, key: str, body: bytes) -> None:
        with self._errors("s3:PutObject"):
            self._put(key, body)

    def delete(self, key: str) -> None:
        with self._errors("s3:DeleteObject"):
            self._s3.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def names(self, folder: str) -> list[str]:
        prefix = f"{self.prefix}{folder}/"
        with self._errors("s3:ListBucket"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix
            )
            return [
                item["Key"].removeprefix(prefix)
                for page in pages
                for item in page.get("Contents", ())
            ]

    def address(self, key: str) -> str:
        return f"{S3_SCHEME}{self.bucket}/{self.prefix}{key}"

    def _put(self, key: str, body: bytes, **condition: str) -> None:
        self._s3.put_object(
            Bucket=self.bucket,
            Key=self.prefix + key,
            Body=body,
            **self._encryption,
            **condition,
        )

    def _errors(self, right: str) -> Any:
        return clear_aws_errors(
            LakeError,
            f"the ledger s3://{self.bucket}/{self.prefix}",
            right,
            "create the bucket, or correct its name",
        )
