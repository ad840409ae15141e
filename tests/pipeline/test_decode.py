"""Decode: numbers stay exact, and what two readers could read differently is not read at all."""

from __future__ import annotations

import sys
import threading
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decode import MAX_DEPTH, Undecodable, decode


def reason(raw: bytes) -> str:
    with pytest.raises(Undecodable) as told:
        decode(raw)
    return told.value.reason


def test_numbers_are_exact():
    raw = b'{"a":0.1,"b":12345678901234567890123456789012345678901,"c":1e999,"d":-0,"e":1.10}'
    read = decode(raw)
    assert read == {
        "a": Decimal("0.1"),
        "b": int("1234567890" * 4 + "1"),
        "c": Decimal("1E+999"),
        "d": 0,
        "e": Decimal("1.1"),
    }
    assert not any(isinstance(value, float) for value in read.values())


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"null", b"NaN", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1', b'{"a":1}x', b"<html>"]
)
def test_anything_but_an_object_of_json_is_refused(raw: bytes):
    assert reason(raw) == "BAD_JSON"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a" :2}',
        b'{"a" :1,"a":2}',
        b'{"a"\t:1,"a"\n:2}',
        b'{"x":{"a":1,"b":2,"a":3}}',
        b'{"x":[{"y":[{"a":1,"a":2}]}]}',
        b'{"a":"\\":","a":1}',
        b'{"a":1,"\\u0061":2}',
    ],
)
def test_a_key_that_stands_twice_is_refused_wherever_it_stands(raw: bytes):
    assert reason(raw) == "DUPLICATE_KEYS"


@pytest.mark.parametrize(
    "raw", [b'{"a":"\\":\\":","b":{"a":[{"a":1}]}}', b'{ "a" : 1 , "b" : "x" }', b'{"a":["\\": "]}']
)
def test_texts_that_look_like_keys_are_no_keys(raw: bytes):
    assert decode(raw)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
@pytest.mark.parametrize("depth", [65, 100, 500, 980, 985, 986, 987, 988, 989, 990, 995, 1000, 10_000])
def test_what_lies_too_deep_is_refused_whatever_the_interpreter_could_bear(opening: str, closing: str, depth: int):
    raw = f'{{"custom":{opening * depth}1{closing * depth}}}'.encode()
    assert reason(raw) == "TOO_DEEP"


def test_the_bound_is_the_stated_one_and_does_not_depend_on_the_stack():
    fits = b'{"x":%s1%s}' % (b"[" * (MAX_DEPTH - 1), b"]" * (MAX_DEPTH - 1))
    found: list[object] = []

    def far_down(frames: int) -> None:
        if frames:
            far_down(frames - 1)
        else:
            found.append(decode(fits))

    thread = threading.Thread(target=far_down, args=(sys.getrecursionlimit() // 2,))
    thread.start()
    thread.join()
    assert found
    assert reason(fits.replace(b"1", b"[1]")) == "TOO_DEEP"


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":, \\\n1e9aNu0', max_size=40).map(str.encode))
def test_no_bytes_raise_anything_else(raw: bytes):
    try:
        decode(raw)
    except Undecodable:
        return
