"""Bodies are read under a cap that counts decompressed bytes."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator

import httpx
import pytest

from connectors.body import TooLarge, drain, read_body
from tests.connectors.wire import Streamed

MEGABYTE = 1024 * 1024


def response(*pieces: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, headers=named, stream=Streamed(lambda: iter(pieces)))


def never() -> bool:
    return False


def test_pieces_are_joined():
    assert read_body(response(b"[1,", b"2]"), 100, never) == b"[1,2]"


def test_gzip_is_decompressed_whatever_its_pieces():
    packed = gzip.compress(b"[" + b"1," * 50_000 + b"1]")
    pieces = [packed[start : start + 7] for start in range(0, len(packed), 7)]
    assert read_body(response(*pieces, content_encoding="gzip"), MEGABYTE, never).endswith(b",1]")


def test_a_body_that_was_read_already_is_taken_as_it_is():
    assert read_body(httpx.Response(200, content=b"[]"), 100, never) == b"[]"
    with pytest.raises(TooLarge):
        read_body(httpx.Response(200, content=b"[1,2,3]"), 3, never)


def test_a_gzip_bomb_ends_at_the_cap():
    bomb = gzip.compress(b"\0" * 64 * MEGABYTE)
    assert len(bomb) < MEGABYTE
    tracemalloc.start()
    with pytest.raises(TooLarge):
        read_body(response(bomb, content_encoding="gzip"), MEGABYTE, never)
    assert tracemalloc.get_traced_memory()[1] < 8 * MEGABYTE
    tracemalloc.stop()


def test_an_endless_body_ends_at_the_cap():
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"[" * 1024

    with pytest.raises(TooLarge):
        read_body(httpx.Response(200, stream=Streamed(pieces)), MEGABYTE, never)
    assert taken == 1025


@pytest.mark.parametrize("length", ["104857600", "9" * 400])
def test_a_length_beyond_the_cap_is_believed_at_once(length: str):
    with pytest.raises(TooLarge):
        read_body(response(b"[]", content_length=length), MEGABYTE, never)


def test_a_body_that_comes_too_slowly_ends():
    with pytest.raises(httpx.ReadTimeout):
        read_body(response(b"[", b"]"), 100, lambda: True)


@pytest.mark.parametrize("cut", [1, 5, -1])
def test_a_gzip_that_breaks_off_is_no_whole_answer(cut: int):
    packed = gzip.compress(b"[1,2,3]")[:cut]
    with pytest.raises(httpx.RemoteProtocolError):
        read_body(response(packed, content_encoding="gzip"), 100, never)


@pytest.mark.parametrize(
    ("encoding", "data"), [("gzip", b"<html>"), ("br", b"x"), ("zstd", b"x"), ("gzip, gzip", b"x")]
)
def test_an_encoding_that_was_not_asked_for_or_is_not_there_is_refused(encoding: str, data: bytes):
    with pytest.raises(httpx.RemoteProtocolError):
        read_body(response(data, content_encoding=encoding), 100, never)


def test_draining_stops_at_a_bound_and_minds_no_error():
    def pieces() -> Iterator[bytes]:
        yield b"x" * 1024
        raise httpx.ReadError("gone")

    drain(httpx.Response(500, stream=Streamed(pieces)))
    drain(httpx.Response(500, stream=Streamed(lambda: iter(lambda: b"x" * 1024, None))))
    drain(httpx.Response(500, content=b"read already"))
