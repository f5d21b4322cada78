"""Requests as raw files, as the collector's S3 sink writes them (seed 000, "Data sink - S3")."""

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import orjson
from isal import isal_zlib

from clickstream_dagster.sample.requests import RawRequest

FLUSH_SECONDS = 3600
"""Length of the time that one file covers; the sink's own default is 300 s."""

MAX_FILE_BYTES = 30_000_000
"""Uncompressed bytes from which on a new file is begun, as in the sink."""

_GZIP_WINDOW = 31
_CHUNK = 1 << 18


class OutputError(Exception):
    """The directory cannot be written to; the message says why."""


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """How much was written: number of files, and their compressed bytes."""

    files: int
    bytes: int


def write_files(
    requests: Iterable[RawRequest], directory: Path, flush_seconds: int = FLUSH_SECONDS
) -> WrittenFiles:
    """Write requests, which come in order of time, below a directory as gzip NDJSON.

    A file is `year=YYYY/month=MM/day=DD/hour=HH/<unix-seconds>-<uuid>.log.gz` with the UTC time of
    its last request and a UUID from the id of its first one: the same requests make the same files
    with the same bytes, and writing them again replaces them. A file appears when it is complete.

    Raises:
        OutputError: the directory is a file, or cannot be written.
    """
    if directory.exists() and not directory.is_dir():
        raise OutputError(f"{directory} is a file, a directory is needed")
    files = written = 0
    current: _File | None = None
    window_end = 0
    try:
        for request in requests:
            if current and (request.ingest_ms >= window_end or current.is_full):
                written += current.close()
                current = None
            if current is None:
                current = _File(directory, request)
                files += 1
                span = flush_seconds * 1000
                window_end = (request.ingest_ms // span + 1) * span
            current.write(request)
        if current:
            written += current.close()
            current = None
    except OSError as error:
        raise OutputError(f"cannot write to {directory}: {error}") from error
    finally:
        if current:
            current.discard()
    return WrittenFiles(files, written)


def sink_record(request: RawRequest) -> bytes:
    """A request as one line of a raw file, without its line feed."""
    second, ms = divmod(request.ingest_ms, 1000)
    clock = _clock(second)
    return orjson.dumps(
        {
            "date": f"{clock}.{ms:03}Z",
            "ip": request.address,
            "ua": request.user_agent,
            "uri": request.uri,
            "method": "POST",
            "rid": request.rid,
            "platform": request.platform,
            "appId": request.app_id,
            "compression": request.compression,
            "data": request.body,
            "ingest_time": request.ingest_ms,
            "server_ingest_time": request.ingest_ms,
            "path": "/collect",
            "source_type": "http_server",
            "timestamp": f"{clock}.{ms:03}000000Z",
            "client_timestamp": request.upload_ms,
        }
    )


@lru_cache(maxsize=4)
def _clock(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


class _File:
    """One raw file under way, under a hidden name until it is complete."""

    def __init__(self, directory: Path, first: RawRequest) -> None:
        moment = time.gmtime(first.ingest_ms // 1000)
        self._folder = directory / time.strftime("year=%Y/month=%m/day=%d/hour=%H", moment)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._uuid = uuid.UUID(hex=first.rid, version=4)
        self._part = self._folder / f".{self._uuid}.part"
        self._file = self._part.open("wb")
        self._gzip = isal_zlib.compressobj(1, isal_zlib.DEFLATED, _GZIP_WINDOW)
        self._lines = bytearray()
        self._plain_bytes = 0
        self._last_ms = first.ingest_ms

    @property
    def is_full(self) -> bool:
        return self._plain_bytes >= MAX_FILE_BYTES

    def write(self, request: RawRequest) -> None:
        line = sink_record(request)
        self._lines += line
        self._lines += b"\n"
        self._plain_bytes += len(line) + 1
        self._last_ms = request.ingest_ms
        if len(self._lines) >= _CHUNK:
            self._compress()

    def close(self) -> int:
        """Finish the file under its own name; gives its compressed bytes."""
        self._compress()
        self._file.write(self._gzip.flush())
        size = self._file.tell()
        self._file.close()
        self._part.replace(self._folder / f"{self._last_ms // 1000}-{self._uuid}.log.gz")
        return size

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _compress(self) -> None:
        self._file.write(self._gzip.compress(bytes(self._lines)))
        self._lines.clear()
