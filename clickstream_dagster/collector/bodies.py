"""Bodies of requests to text, undoing Content-Encoding within a bound."""

import zlib
from collections.abc import Callable

import pybase64

from clickstream_dagster.collector.refusal import RefusalError

MAX_DECODED_BYTES = 8 << 20
"""What a compressed body may grow to. The SDKs send at most 512 KB."""

_ZSTD_WINDOW_BITS = 23  # 8 MB, what every decoder has to support (RFC 8878, 3.1.1.1.2)


def decoded(body: bytes, content_encoding: str) -> bytes:
    """Undo the encodings of the header, the last one first (RFC 9110, 8.4).

    Raises RefusalError: 400 for an unknown encoding or damaged data, 413 for more than
    MAX_DECODED_BYTES.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    if len(names) > 2:
        raise RefusalError(400, "Content-Encoding names more than two encodings")
    for name in reversed(names):
        body = _undo(name, body)
    return body


def text_of(body: bytes) -> str:
    """Give a body as the text of a sink record; bytes that are no text as their base64.

    Processing unpacks base64 by itself, also of gzip: nothing of such a body is lost.
    """
    try:
        return body.decode()
    except UnicodeDecodeError:
        return pybase64.b64encode(body).decode()


def _undo(name: str, body: bytes) -> bytes:
    if name in ("", "identity"):
        return body
    decode = _DECODERS.get(name)
    if decode is None:
        raise RefusalError(
            400, f"Content-Encoding {name[:20]!r} is unknown; send gzip, deflate, br or zstd"
        )
    try:
        out = decode(body)
    except _DAMAGES as error:
        raise RefusalError(400, f"the body is no {name}: {error}") from error
    if len(out) > MAX_DECODED_BYTES:
        raise RefusalError(413, f"the body unpacks to more than {MAX_DECODED_BYTES >> 20} MB")
    return out


class _DamageError(Exception):
    pass


def _gzip(body: bytes) -> bytes:
    return _inflate(body, 31)


def _deflate(body: bytes) -> bytes:
    # The header names the zlib format; some clients send it without its frame.
    try:
        return _inflate(body, 15)
    except zlib.error:
        return _inflate(body, -15)


def _inflate(body: bytes, window_bits: int) -> bytes:
    inflater = zlib.decompressobj(window_bits)
    out = inflater.decompress(body, MAX_DECODED_BYTES + 1)
    if not inflater.eof and len(out) <= MAX_DECODED_BYTES:
        raise _DamageError("it ends in the middle")
    return out


def _brotli(body: bytes) -> bytes:
    import brotli

    decompressor = brotli.Decompressor()
    out = b""
    try:
        out = decompressor.process(body, output_buffer_limit=MAX_DECODED_BYTES + 1)
    except brotli.error as error:
        raise _DamageError(error) from error
    if not decompressor.is_finished() and len(out) <= MAX_DECODED_BYTES:
        raise _DamageError("it ends in the middle")
    return out


def _zstd(body: bytes) -> bytes:
    from backports import zstd

    out = b""
    while body and len(out) <= MAX_DECODED_BYTES:  # frames may follow each other (RFC 8878)
        decompressor = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_BITS}
        )
        try:
            out += decompressor.decompress(body, MAX_DECODED_BYTES + 1 - len(out))
        except zstd.ZstdError as error:
            raise _DamageError(error) from error
        if not decompressor.eof:
            if len(out) <= MAX_DECODED_BYTES:
                raise _DamageError("it ends in the middle")
            break
        body = decompressor.unused_data
    return out


_DAMAGES = (zlib.error, _DamageError)
_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
