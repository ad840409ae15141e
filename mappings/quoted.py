"""Quoted: JSON that a source wrote into a text, read as strictly as a record itself."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NoReturn

from mappings.outcome import Unreadable, shown


def unquoted(text: str) -> Any:
    """The JSON value that a text spells, numbers as int or Decimal; None for a blank text.

    Raises `Unreadable` where it is no JSON, or bears an object with a key twice: readers differ in which they take.
    """
    if not text.strip():
        return None
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_once)
    except Unreadable:
        raise
    except (ValueError, ArithmeticError, RecursionError):
        raise Unreadable(f"found {shown(text)}; JSON would be right in this text") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("found a text of JSON that bears a key twice; readers differ in which of the two they take")
    return found


def _no_number(name: str) -> NoReturn:
    raise Unreadable(f"found {name} in a text of JSON; JSON has no such number")
