"""Sealed segments for the tests of sinks, and what is read back from raw objects."""

import gzip
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from clickstream_dagster.collector.segments import (
    SealedSegment,
    checksum_start,
    framed,
    new_segment_path,
    seal,
)

SEALED_AT = 1_795_622_399  # 2026-11-25T15:59:59Z


def record(number: int, data: str = "[]") -> bytes:
    """Give a sink record as a line, with some of its fields."""
    rid = uuid.UUID(int=number).hex
    fields = {"rid": rid, "appId": "shop_web", "ingest_time": SEALED_AT * 1000, "data": data}
    return json.dumps(fields).encode() + b"\n"


def sealed_segment(
    folder: Path, frames: Sequence[Sequence[bytes]], sealed_at: int = SEALED_AT
) -> SealedSegment:
    """Write a segment whose frames hold these lines, and seal it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = new_segment_path(folder)
    with path.open("wb") as file:
        for lines in frames:
            joined = b"".join(lines)
            file.write(framed(joined, len(lines), checksum_start(path)) + joined)
        os.fsync(file.fileno())
    return seal(path, sealed_at)


def lines_of(body: bytes) -> list[bytes]:
    """Give the lines of gzip NDJSON, each with its end."""
    return gzip.decompress(body).splitlines(keepends=True)


def rids(lines: Sequence[bytes]) -> list[str]:
    return [json.loads(line)["rid"] for line in lines]
