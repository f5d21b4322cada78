"""Raw objects: the files that a collector's sink has written, in a directory or under an S3 prefix.

Both stores are listed alike: in the order of their keys, which is the order of time for the
collector's hour folders, so that a listing can start at an hour and stop after one.
"""

import heapq
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from clickstream_dagster.batches.s3 import CONNECTIONS, S3Access, clear_aws_errors
from clickstream_dagster.errors import SourceError

S3_SCHEME = "s3://"
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class RawObject:
    """One raw file: gzip NDJSON, a request a line (seed 000, "Data sink - S3").

    `uri` is a local path or an `s3://` address, `size` is bytes, `arrival_ms` is the time the
    store gave the object (ms UTC), `etag` tells one content from another at the same address.
    """

    uri: str
    size: int
    arrival_ms: int
    etag: str


class Source:
    """The raw objects under a directory or `s3://bucket/prefix`, by keys relative to it."""

    def __init__(self, address: str, s3: S3Access | None = None) -> None:
        self.address = address
        self._s3 = s3 or S3Access()
        self._root = _root(address)

    @cached_property
    def _client(self) -> Any:
        return self._s3.client()

    @property
    def is_s3(self) -> bool:
        return self.address.startswith(S3_SCHEME)

    def key(self, uri: str) -> str:
        """Give an object's key below the source, with `/` between folders."""
        return uri.removeprefix(self._root)

    def uri(self, key: str) -> str:
        """Give the address of a key."""
        return self._root + key

    def objects(self, after: str | None = None, limit: int | None = None) -> Iterator[RawObject]:
        """Yield the objects in the order of their keys; see `list_objects`."""
        listing = self._list_bucket if self.is_s3 else self._list_directory
        return islice(listing(after or "", limit), limit)

    def find(self, keys: Iterable[str]) -> dict[str, RawObject]:
        """Give those of the keys that are there now, as a listing would give them.

        Raises SourceError when the source may not be read.
        """
        look = self._look_in_bucket if self.is_s3 else self._look_in_directory
        wanted = list(keys)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            found = zip(wanted, pool.map(look, wanted), strict=True)
            return {key: object_ for key, object_ in found if object_}

    def _list_directory(self, after: str, limit: int | None) -> Iterator[RawObject]:
        if not os.path.isdir(self._root):
            place = self._root.rstrip("/")
            kind = "is a file, not a directory" if os.path.exists(place) else "does not exist"
            raise SourceError(
                f"the raw directory {place} {kind}; create it, or name the directory that the "
                "collector writes to"
            )
        yield from _walk(self._root, "", after, limit)

    def _look_in_directory(self, key: str) -> RawObject | None:
        try:
            status = os.stat(self._root + key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _file(self._root + key, status) if stat.S_ISREG(status.st_mode) else None

    def _list_bucket(self, after: str, limit: int | None) -> Iterator[RawObject]:
        bucket, prefix = split_s3(self.address)
        request: dict[str, Any] = {
            "Bucket": bucket,
            "Prefix": prefix,
            "MaxKeys": max(1, min(limit or _PAGE, _PAGE)),
        }
        if after:
            request["StartAfter"] = prefix + after
        with self._errors("s3:ListBucket"):
            for page in self._client.get_paginator("list_objects_v2").paginate(**request):
                for item in page.get("Contents", ()):
                    key = item["Key"]
                    if is_object(key.removeprefix(prefix)):
                        yield RawObject(
                            uri=f"{S3_SCHEME}{bucket}/{key}",
                            size=item["Size"],
                            arrival_ms=_whole_seconds(item["LastModified"]),
                            etag=item["ETag"].strip('"'),
                        )

    def _look_in_bucket(self, key: str) -> RawObject | None:
        from botocore.exceptions import ClientError

        bucket, prefix = split_s3(self.address)
        with self._errors("s3:GetObject and s3:ListBucket"):
            try:
                answer = self._client.head_object(Bucket=bucket, Key=prefix + key)
            except ClientError as error:
                # HEAD has no body, so that this is all that it tells.
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return None
                raise
        return RawObject(
            uri=self.uri(key),
            size=answer["ContentLength"],
            arrival_ms=_whole_seconds(answer["LastModified"]),
            etag=answer["ETag"].strip('"'),
        )

    def _errors(self, right: str) -> Any:
        bucket, _ = split_s3(self.address)
        return clear_aws_errors(
            SourceError,
            self.address,
            f"{right} on the bucket {bucket}",
            "create the bucket, or correct its name",
        )


def list_objects(
    source: str,
    start_after: str | None = None,
    limit: int | None = None,
    s3: S3Access | None = None,
) -> Iterator[RawObject]:
    """Yield the raw objects under a directory or `s3://bucket/prefix`, in the order of their keys.

    `start_after` is a key relative to the source, as `relative_key` gives it: objects up to and
    including it are left out and, where the store can, never listed. At most `limit` objects are
    yielded. Names that start with `_` or `.` are no raw objects, at any depth: markers, temporary
    files, a lake beside its source. In a directory, only regular files are raw objects, and a link
    to a folder above itself is not followed.

    An empty directory or prefix yields nothing. Raises SourceError for a missing directory or
    bucket and for one that may not be read.
    """
    return Source(source, s3).objects(start_after, limit)


def relative_key(source: str, uri: str) -> str:
    """Give an object's key below the source, with `/` between folders."""
    return uri.removeprefix(_root(source))


def would_list(source: str, folder: str) -> bool:
    """Whether files in a folder are taken for raw objects of a source: see `list_objects`.

    Both are local paths or `s3://` addresses, and need not be there.
    """
    root, place = _true_root(source), _true_root(folder)
    return place.startswith(root) and is_object(f"{place.removeprefix(root)}file")


def split_s3(address: str) -> tuple[str, str]:
    """Split `s3://bucket/prefix` into bucket and prefix, the prefix with a closing `/` or empty."""
    bucket, _, prefix = address.removeprefix(S3_SCHEME).partition("/")
    prefix = prefix.strip("/")
    if not bucket:
        raise SourceError(f"{address} names no bucket; write s3://bucket/prefix")
    return bucket, f"{prefix}/" if prefix else ""


def split_object(uri: str) -> tuple[str, str]:
    """Split the `s3://bucket/key` of one object into bucket and key."""
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    return bucket, key


def _root(source: str) -> str:
    if source.startswith(S3_SCHEME):
        bucket, prefix = split_s3(source)
        return f"{S3_SCHEME}{bucket}/{prefix}"
    path = Path(source.removeprefix("file://"))
    return f"{path.absolute().as_posix().rstrip('/')}/"


def _true_root(address: str) -> str:
    root = _root(address)
    return root if root.startswith(S3_SCHEME) else os.path.join(os.path.realpath(root), "")


def is_object(key: str) -> bool:
    """Whether a key, relative to its source, is one of a raw object: no folder, nothing hidden."""
    return not key.endswith("/") and not any(part.startswith(("_", ".")) for part in key.split("/"))


def _walk(root: str, folder: str, after: str, limit: int | None) -> Iterator[RawObject]:
    behind = ""
    while True:
        keys = _entries(root, folder, after, behind, limit)
        for key in keys:
            if key.endswith("/"):
                yield from _walk(root, key, after, limit)
                continue
            try:
                status = os.stat(root + key)
            except FileNotFoundError:  # taken away since it was listed
                continue
            # Nothing else ends when it is read: a pipe waits for who writes to it.
            if stat.S_ISREG(status.st_mode):
                yield _file(root + key, status)
        if limit is None or len(keys) < limit:
            return
        behind = keys[-1]  # some of them may have been empty folders


def _entries(root: str, folder: str, after: str, behind: str, limit: int | None) -> list[str]:
    # Only the first `limit` names are kept: a folder may hold a million.
    def keys() -> Iterator[str]:
        with os.scandir(root + folder) as listing:
            for entry in listing:
                if entry.name.startswith(("_", ".")):
                    continue
                if not entry.name.isascii():
                    _require_text(root + folder, entry.name)
                is_folder = entry.is_dir()
                if is_folder and entry.is_symlink() and _leads_back(root, folder, entry.path):
                    continue
                key = folder + entry.name + ("/" if is_folder else "")
                # A folder before `after` can hold nothing behind it, unless `after` lies in it.
                if key > behind and (key > after or (key[-1] == "/" and after.startswith(key))):
                    yield key

    try:
        return sorted(keys()) if limit is None else heapq.nsmallest(limit, keys())
    except FileNotFoundError:  # taken away since its parent was listed
        return []
    except OSError as error:
        raise SourceError(
            f"the raw directory {root + folder} can't be listed: {error}; give this user the right "
            "to read it"
        ) from error


def _require_text(folder: str, name: str) -> None:
    """Raise SourceError for a name that no manifest and no column can hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"the raw directory {folder} holds {os.fsencode(name)!r}, a name that is no UTF-8:"
            " rename it"
        ) from error


def _leads_back(root: str, folder: str, link: str) -> bool:
    """Whether a link in a folder leads to that one or to one above it, and so to itself again."""
    above = [root, *(root + folder[: n + 1] for n, letter in enumerate(folder) if letter == "/")]
    return any(os.path.samefile(link, one) for one in above)


def _file(path: str, status: os.stat_result) -> RawObject:
    return RawObject(
        uri=path,
        size=status.st_size,
        arrival_ms=status.st_mtime_ns // 1_000_000,
        etag=file_etag(status),
    )


def file_etag(status: os.stat_result) -> str:
    """Tell the content of a file from others at its path: by its size and time of change."""
    return f"{status.st_size:x}-{status.st_mtime_ns:x}"


def _whole_seconds(moment: Any) -> int:
    # A listing may tell milliseconds where HEAD tells seconds.
    return int(moment.timestamp()) * 1000
