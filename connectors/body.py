"""Bodies: an answer is read under a cap that counts decompressed bytes, so that a bomb ends where it begins."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import httpx

_DRAINED = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS


class TooLarge(Exception):
    """The answer has more bytes than are allowed."""


def read_body(response: httpx.Response, cap: int, late: Callable[[], bool]) -> bytes:
    """The whole body, decompressed; `late` says that it has taken too long.

    Raises `TooLarge` as soon as the cap is passed, and an `httpx.TransportError` when the body breaks off, is not
    what its headers say, or comes too slowly.
    """
    if response.is_stream_consumed:
        if len(response.content) > cap:
            raise TooLarge
        return response.content
    length = response.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 15 or int(length) > cap):
        raise TooLarge
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    chunks: Iterable[bytes] = response.iter_raw()
    if encoding in ("gzip", "x-gzip"):
        chunks = _unzipped(chunks, cap)
    elif encoding not in ("identity", ""):
        raise httpx.RemoteProtocolError(f"the answer is encoded as {encoding[:20]!r}, which was not asked for")
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > cap:
            raise TooLarge
        if late():
            raise httpx.ReadTimeout("the answer comes too slowly")
        parts.append(chunk)
    return b"".join(parts)


def _unzipped(chunks: Iterable[bytes], cap: int) -> Iterator[bytes]:
    """Never more than `cap` bytes and one at a time: decompressing is stopped, not judged afterwards."""
    inflate = zlib.decompressobj(_GZIP)
    try:
        for chunk in chunks:
            yield inflate.decompress(chunk, cap + 1)
            if inflate.unconsumed_tail:
                raise TooLarge
    except zlib.error:
        raise httpx.RemoteProtocolError("the answer is not the gzip it claims to be") from None
    if not inflate.eof or inflate.unused_data:
        raise httpx.RemoteProtocolError("the compressed answer breaks off")


def drain(response: httpx.Response) -> None:
    """Read what is left of a small body that nobody needs, so that its connection can be used again."""
    if response.is_stream_consumed:
        return
    size = 0
    with suppress(httpx.TransportError):
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > _DRAINED:
                return
