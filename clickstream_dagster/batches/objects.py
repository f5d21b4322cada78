"""Raw objects: the files that a collector's sink has written, in a directory or under an S3 prefix."""

from dataclasses import dataclass


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
