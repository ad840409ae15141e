"""Decode: one record's bytes as values, numbers exact, and nothing that two readers could read differently."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NoReturn

import msgspec

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class Undecodable(ValueError):
    """The record's bytes cannot be read. `reason` is the code it is parked under."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def decode(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`: integers as int, all other numbers as Decimal.

    Raises `Undecodable` for anything else, and for an object that bears a key twice: readers differ in which of the
    two they take, so none may be paid on.
    """
    try:
        record = _decoder.decode(raw)
    except RecursionError:
        raise Undecodable("TOO_DEEP", "the record is nested too deeply to be read") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise Undecodable("BAD_JSON", f"the record is not a JSON object: {error}") from None
    # Each key is followed by a colon: more colons than keys, and a key stood there twice - or a text looks like one.
    if raw.count(b'":') != _keys(record):
        _refuse_twins(raw)
    return record


def _keys(record: dict[str, Any]) -> int:
    """How many keys an object has, those of the objects inside it included."""
    found = len(record)
    for value in record.values():
        kind = type(value)
        if kind is dict:
            found += _keys(value)
        elif kind is list:
            found += _keys({str(place): item for place, item in enumerate(value)}) - len(value)
    return found


def _refuse_twins(raw: bytes) -> None:
    try:
        json.loads(raw, object_pairs_hook=_once, parse_constant=_no_constant, parse_int=len, parse_float=len)
    except RecursionError:
        raise Undecodable("TOO_DEEP", "the record is nested too deeply to be read") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twins = sorted({key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1})
        raise Undecodable("DUPLICATE_KEYS", f"the record bears the key {twins[0][:64]!r} more than once")
    return found


def _no_constant(name: str) -> NoReturn:
    raise Undecodable("BAD_JSON", f"{name} is not JSON")
