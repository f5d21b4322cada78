"""Raw objects: the files that a collector's sink has written, in a directory or under an S3 prefix.

Both stores are listed alike: in the order of their keys, which is the order of time for the
collector's hour folders, so that a listing can start at an hour and stop after one.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from clickstream_dagster.errors import SourceError

S3_SCHEME = "s3://"


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


def list_objects(
    source: str, start_after: str | None = None, limit: int | None = None
) -> Iterator[RawObject]:
    """Yield the raw objects under a directory or `s3://bucket/prefix`, in the order of their keys.

    `start_after` is a key relative to the source, as `relative_key` gives it: objects up to and
    including it are left out and, where the store can, never listed. At most `limit` objects are
    yielded. Names that start with `_` or `.` are no raw objects, at any depth: markers, temporary
    files, a lake beside its source.

    An empty directory or prefix yields nothing. Raises SourceError for a missing directory or
    bucket and for one that may not be read.
    """
    after = start_after or ""
    if source.startswith(S3_SCHEME):
        found = _list_bucket(source, after, limit)
    else:
        found = _list_directory(source, after)
    return islice(found, limit)


def relative_key(source: str, uri: str) -> str:
    """Give an object's key below the source, with `/` between folders."""
    return uri.removeprefix(_root(source))


def check_source(source: str) -> None:
    """Raise SourceError unless the source is there and may be listed; an empty one is fine."""
    next(list_objects(source, limit=1), None)


def split_s3(address: str) -> tuple[str, str]:
    """Split `s3://bucket/prefix` into bucket and prefix, the prefix with a closing `/` or empty."""
    bucket, _, prefix = address.removeprefix(S3_SCHEME).partition("/")
    prefix = prefix.strip("/")
    if not bucket:
        raise SourceError(f"{address} names no bucket; write s3://bucket/prefix")
    return bucket, f"{prefix}/" if prefix else ""


def _root(source: str) -> str:
    if source.startswith(S3_SCHEME):
        bucket, prefix = split_s3(source)
        return f"{S3_SCHEME}{bucket}/{prefix}"
    path = Path(source.removeprefix("file://"))
    return f"{path.absolute().as_posix().rstrip('/')}/"


def _is_hidden(key: str) -> bool:
    return any(part.startswith(("_", ".")) for part in key.split("/"))


def _list_directory(source: str, after: str) -> Iterator[RawObject]:
    root = _root(source)
    if not os.path.isdir(root):
        kind = (
            "is a file, not a directory" if os.path.exists(root.rstrip("/")) else "does not exist"
        )
        raise SourceError(
            f"the raw directory {root.rstrip('/')} {kind}; create it, or name the directory that "
            "the collector writes to"
        )
    yield from _walk(root, "", after)


def _walk(root: str, folder: str, after: str) -> Iterator[RawObject]:
    try:
        with os.scandir(root + folder) as listing:
            entries = [
                (folder + entry.name + ("/" if entry.is_dir() else ""), entry)
                for entry in listing
                if not entry.name.startswith(("_", "."))
            ]
    except FileNotFoundError:  # taken away since its parent was listed
        return
    except OSError as error:
        raise SourceError(
            f"the raw directory {root + folder} can't be listed: {error}; give this user the right "
            "to read it"
        ) from error
    for key, entry in sorted(entries, key=lambda pair: pair[0]):
        if key.endswith("/"):
            # A folder before `after` can hold nothing behind it, unless `after` lies in it.
            if key > after or after.startswith(key):
                yield from _walk(root, key, after)
        elif key > after:
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            yield RawObject(
                uri=root + key,
                size=status.st_size,
                arrival_ms=status.st_mtime_ns // 1_000_000,
                etag=f"{status.st_size:x}-{status.st_mtime_ns:x}",
            )


def _list_bucket(source: str, after: str, limit: int | None) -> Iterator[RawObject]:
    # boto3 takes a second to import; a local source never needs it.
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, prefix = split_s3(source)
    request: dict = {"Bucket": bucket, "Prefix": prefix}
    if after:
        request["StartAfter"] = prefix + after
    if limit is not None:
        request["MaxKeys"] = max(1, min(limit, 1000))
    try:
        for page in boto3.client("s3").get_paginator("list_objects_v2").paginate(**request):
            for item in page.get("Contents", ()):
                key = item["Key"]
                if key.endswith("/") or _is_hidden(key.removeprefix(prefix)):
                    continue
                yield RawObject(
                    uri=f"{S3_SCHEME}{bucket}/{key}",
                    size=item["Size"],
                    arrival_ms=int(item["LastModified"].timestamp() * 1000),
                    etag=item["ETag"].strip('"'),
                )
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code == "NoSuchBucket":
            raise SourceError(
                f"the bucket of {source} does not exist; create it, or correct its name"
            ) from error
        raise SourceError(
            f"{source} cannot be listed ({code}): {error}; the credentials in use need "
            f"s3:ListBucket on the bucket {bucket}"
        ) from error
    except BotoCoreError as error:
        raise SourceError(
            f"{source} cannot be listed: {error}; check the AWS credentials, the region and "
            "AWS_ENDPOINT_URL"
        ) from error
