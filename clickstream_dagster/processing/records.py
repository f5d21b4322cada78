"""Raw objects to lines: gzip NDJSON as the collector's sink writes it, read as a stream."""

import io
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from isal import isal_zlib

from clickstream_dagster.batches.objects import S3_SCHEME, RawObject, file_etag, split_object
from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.errors import SourceError
from clickstream_dagster.processing.limits import MAX_RECORD_BYTES

_CHUNK = 1 << 20
_PART = 16 << 20
_READS = 4
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors write one in front
_SALVAGE_STEP = 4_096
_GZIP = 31  # zlib's window bits for the gzip container


class BrokenObjectError(Exception):
    """The object ends in the middle or is not what it claims to be; `rest` is what was left."""

    def __init__(self, message: str, rest: bytes) -> None:
        super().__init__(message)
        self.rest = rest


def open_object(raw: RawObject, s3: S3Access | None = None) -> BinaryIO:
    """Open a raw object for reading bytes.

    Raises SourceError when it is gone, unreadable, or no longer has the content that it was listed
    with: what is there then is an arrival of its own.
    """
    if raw.uri.startswith(S3_SCHEME):
        return _S3Object(raw, s3 or S3Access())
    path = raw.uri.removeprefix("file://")
    try:
        stream = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise SourceError(
            f"the raw object {raw.uri} can't be read: {error}; the batch's manifest names it, so"
            " put it back before the batch is run again"
        ) from error
    try:
        require_unchanged(raw, stream)
    except SourceError:
        stream.close()
        raise
    return stream


def require_unchanged(raw: RawObject, stream: BinaryIO) -> None:
    """Raise SourceError when an open file has been written to since it was listed.

    On S3 each part is asked for by its etag, so there is nothing to look at.
    """
    if raw.uri.startswith(S3_SCHEME) or not raw.etag:
        return
    if file_etag(os.fstat(stream.fileno())) != raw.etag:
        raise _changed(raw)


def _changed(raw: RawObject) -> SourceError:
    return SourceError(
        f"the raw object {raw.uri} has been written again since the batch's manifest was made. Its"
        " new content is taken by the window that is opened next; for this batch put the old"
        " content back (docs/batches.md, Objects that change)"
    )


class _S3Object(io.RawIOBase):
    """The bytes of an object on S3 in parts, each of exactly the listed content (`If-Match`).

    A part that breaks off on its way is asked for again.
    """

    def __init__(self, raw: RawObject, s3: S3Access) -> None:
        super().__init__()
        self._raw = raw
        self._client = s3.shared_client()
        self._bucket, self._key = split_object(raw.uri)
        self._part = b""
        self._next = 0
        self._fill()

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes, at most `size`; none at the end."""
        if not self._part:
            self._fill()
        given = self._part if size < 0 else self._part[:size]
        self._part = self._part[len(given) :]
        return given

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place from the beginning."""
        self._part, self._next = b"", place
        return place

    def _fill(self) -> None:
        if self._next < self._raw.size:
            self._part = self._bytes(self._next, min(self._next + _PART, self._raw.size))
            self._next += len(self._part)

    def _bytes(self, first: int, end: int) -> bytes:
        from botocore.exceptions import (
            ClientError,
            HTTPClientError,
            IncompleteReadError,
        )

        condition = {"IfMatch": f'"{self._raw.etag}"'} if self._raw.etag else {}
        with clear_aws_errors(
            SourceError,
            self._raw.uri,
            "s3:GetObject and s3:ListBucket, and kms:Decrypt for a KMS key",
            "the batch's manifest names it, so put it back before the batch is run again",
        ):
            for number in range(1, _READS + 1):
                try:
                    answer = self._client.get_object(
                        Bucket=self._bucket,
                        Key=self._key,
                        Range=f"bytes={first}-{end - 1}",
                        **condition,
                    )
                    return answer["Body"].read()
                except ClientError as error:
                    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                    if status == 412:
                        raise _changed(self._raw) from error
                    if status == 404:
                        raise SourceError(
                            f"the raw object {self._raw.uri} can't be read: it is gone; the batch's"
                            " manifest names it, so put it back before the batch is run again"
                        ) from error
                    raise
                except (HTTPClientError, IncompleteReadError):
                    if number == _READS:
                        raise
        raise AssertionError("the last try returns or raises")


def read_lines(stream: BinaryIO) -> Iterator[pa.BinaryArray]:
    """Give the lines of a raw object, gzip or plain, as arrays of some megabytes.

    A line keeps its end, and an empty one is a line; a byte order mark is none of the first one's.
    Memory stays bounded whatever the object holds: of a line longer than MAX_RECORD_BYTES only that
    many bytes are given. Raises BrokenObjectError behind the last whole line when the object is cut
    or damaged.
    """
    rest = b""
    skipping = begun = False
    source = _inflate(stream)
    while True:
        try:
            data = next(source, None)
        except BrokenObjectError as error:
            raise BrokenObjectError(str(error), rest + error.rest) from error
        if data is None:
            break
        if skipping:
            _, found, data = data.partition(b"\n")
            skipping = not found
        block = rest + data
        if not begun and len(block) >= len(_BYTE_ORDER_MARK):
            block, begun = block.removeprefix(_BYTE_ORDER_MARK), True
        end = block.rfind(b"\n") + 1
        if end:
            yield _lines(block[:end])
        rest = block[end:]
        if len(rest) > MAX_RECORD_BYTES:
            yield _lines(rest[:MAX_RECORD_BYTES])
            rest, skipping = b"", True
    if rest:
        yield _lines(rest)


def _lines(block: bytes) -> pa.BinaryArray:
    """Cut a block behind every line end, without a copy of the bytes."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    if len(ends) == 0 or ends[-1] != len(block):
        ends = np.append(ends, len(block))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(block)]
    )


def _inflate(stream: BinaryIO) -> Iterator[bytes]:
    data = stream.read(_CHUNK)
    if not data.startswith(_GZIP_MAGIC):
        while data:
            yield data
            data = stream.read(_CHUNK)
        return
    inflater = isal_zlib.decompressobj(wbits=_GZIP)
    given = 0
    while True:
        try:
            out = inflater.decompress(data, _CHUNK)
        except isal_zlib.error as error:
            yield from _salvaged(stream, given)
            raise BrokenObjectError(f"the gzip data is damaged: {error}", b"") from error
        if out:
            given += len(out)
            yield out
        if inflater.eof:
            # A gzip file may hold several members, one behind the other, and zeros at its end.
            data = inflater.unused_data.lstrip(b"\0")
            while len(data) < len(_GZIP_MAGIC) and (more := stream.read(_CHUNK)):
                data = (data + more).lstrip(b"\0")
            if not data:
                return
            if not data.startswith(_GZIP_MAGIC):
                raise BrokenObjectError("foreign bytes follow the gzip data", data)
            inflater = isal_zlib.decompressobj(wbits=_GZIP)
            continue
        data = inflater.unconsumed_tail
        # A full chunk may leave output behind that needs no further input.
        if not data and len(out) < _CHUNK:
            data = stream.read(_CHUNK)
            if not data:
                raise BrokenObjectError("the gzip data ends in the middle", b"")


def _salvaged(stream: BinaryIO, given: int) -> Iterator[bytes]:
    """Give what a damaged object holds behind the bytes already given, to the very last one.

    A wrong checksum is found behind intact data, and isal keeps back what it unpacked in the call
    that finds it. So the object is unpacked again, byte by byte around the damage.
    """
    stream.seek(0)
    inflater = zlib.decompressobj(_GZIP)
    data = b""
    while data := data or stream.read(_SALVAGE_STEP):
        before = inflater.copy()
        try:
            pieces, broken = [inflater.decompress(data)], False
        except zlib.error:
            pieces, broken = list(_until_error(before, data)), True
        for piece in pieces:
            yield piece[given:]
            given = max(0, given - len(piece))
        if broken:
            return
        data = b""
        if inflater.eof:
            data = inflater.unused_data.lstrip(b"\0")
            inflater = zlib.decompressobj(_GZIP)


def _until_error(inflater: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    try:
        for place in range(len(data)):
            yield inflater.decompress(data[place : place + 1])
    except zlib.error:
        return
