"""Ids: the names the ledger gives to deals and events (contracts/openquota.md section 5)."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32, as the ULID specification asks
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_COUNTER = 30  # bits
_MAX_BATCH = 1 << (_COUNTER - 1)


def deal_id(org: str, external_id: str) -> str:
    """The one id a deal can have in an org: the same external id always gives the same one."""
    return f"deal_api_{org}_{hashlib.sha256(external_id.encode()).hexdigest()[:32]}"


def ulids(at: str, count: int, after: str = "") -> list[str]:
    """`count` ULIDs of one moment (`at`: ISO 8601 with a zone), each greater than the one before and than `after`.

    Only the first is drawn, or follows `after` when that is of the same millisecond; the others count up from it, as
    the specification's monotonic mode has it, which costs three look-ups each. Raises `ValueError` for more than half
    a thousand million at once.
    """
    if count > _MAX_BATCH:
        raise ValueError(f"at most {_MAX_BATCH} ids can be made at once")
    milliseconds = round(datetime.fromisoformat(at).timestamp() * 1000)
    first = milliseconds << 80 | secrets.randbits(80)
    if after:
        last = _number(after)
        first = last + 1 if last >> 80 >= milliseconds else first
    room = (1 << _COUNTER) - count
    if first & ((1 << _COUNTER) - 1) > room:  # counting up would run into the part that all of them share
        first = (first >> _COUNTER) + 1 << _COUNTER
    head = "".join(_ALPHABET[first >> shift & 31] for shift in range(125, _COUNTER - 1, -5))
    start = first & ((1 << _COUNTER) - 1)
    pairs = _PAIRS
    return [
        f"{head}{pairs[number >> 20]}{pairs[number >> 10 & 1023]}{pairs[number & 1023]}"
        for number in range(start, start + count)
    ]


def _number(ulid: str) -> int:
    number = 0
    for letter in ulid:
        number = number << 5 | _ALPHABET.index(letter)
    return number
