"""Decode: one record's bytes as values, numbers exact, and nothing that two readers could read differently."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NoReturn

import msgspec

MAX_DEPTH = 64
"""Values lie in one another no deeper than this; a fixed bound, whatever the interpreter could still bear."""

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)

_spaced = re.compile(rb'"[ \t\r\n]').search


class Undecodable(ValueError):
    """The record's bytes cannot be read. `reason` is the code it is parked under."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def decode(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`: integers as int, all other numbers as Decimal.

    Raises `Undecodable` for anything else, for values nested deeper than `MAX_DEPTH`, and for an object that bears a
    key twice: readers differ in which of the two they take, so none may be paid on.
    """
    try:
        record = _decoder.decode(raw)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, ValueError) as error:
        raise Undecodable("BAD_JSON", f"the record is not a JSON object: {error}") from None
    # Each key is followed by a colon: more colons than keys, and a key stood there twice - or a text looks like one.
    # That says nothing where blanks stand between the two.
    if raw.count(b'":') != _keys(record, MAX_DEPTH) or _spaced(raw):
        _refuse_twins(raw)
    return record


def _keys(value: dict[str, Any] | list[Any], room: int) -> int:
    """How many keys a value has, those of the values inside it included."""
    if room == 0:
        raise _too_deep()
    found = 0
    inner: Iterable[Any] = value
    if isinstance(value, dict):
        found, inner = len(value), value.values()
    for one in inner:
        kind = type(one)
        if kind is dict or kind is list:
            found += _keys(one, room - 1)
    return found


def _too_deep() -> Undecodable:
    message = f"the record is nested deeper than {MAX_DEPTH} levels; make it simpler at the source"
    return Undecodable("TOO_DEEP", message)


def _refuse_twins(raw: bytes) -> None:
    json.loads(raw, object_pairs_hook=_once, parse_constant=_no_constant, parse_int=len, parse_float=len)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twins = sorted({key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1})
        raise Undecodable("DUPLICATE_KEYS", f"the record bears the key {twins[0][:64]!r} more than once")
    return found


def _no_constant(name: str) -> NoReturn:
    raise Undecodable("BAD_JSON", f"{name} is not JSON")
