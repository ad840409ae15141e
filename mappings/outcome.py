"""Outcome: what reading one record came to, and how a value that cannot be read is spoken of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from deals.state import DealState

SHOWN = 64
"""So many characters of a found value enter a message at most."""


class Absent:
    """The type of `ABSENT`."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
"""The record does not bear the key: not the same as a null."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a record cannot be mapped.

    `field` is the state's field or custom key (`record` for the whole), `reason` an UPPER_SNAKE code, `message` names
    the key, what was found (at most 64 characters of it) and what would be right.
    """

    field: str
    reason: str
    message: str


class Hop(msgspec.Struct, frozen=True, gc=False):
    """One stage move that the source kept in the record: `stage` is where it led to, in the ledger's word.

    `entry` is the identity of the source's own entry, 32 bytes. Entries that say the very same are told apart by which
    of them it is, so an identity occurs once in a record and stays while the source only adds entries at the end.
    """

    entry: bytes
    stage: str


class Mapped(msgspec.Struct, frozen=True, gc=False):
    """A record as a canonical deal. A struct and not a dataclass: a first load makes one for every record.

    `flags` name what a person should know (`amount_rounded`, `currency_defaulted`, ...); `drift` the record's keys
    that the mapping neither claims nor ignores; `hops` the stage moves the source kept in it, oldest first where
    `hops_ordered`.
    """

    state: DealState
    flags: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    hops: tuple[Hop, ...] = ()
    hops_ordered: bool = True


@dataclass(frozen=True, slots=True)
class Unmappable:
    """Everything that is wrong with a record, all at once; never empty."""

    problems: tuple[Problem, ...]


class Unreadable(ValueError):
    """A value is not what the mapping says it is. `reason` is the code it parks under, where its rule has no own."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


def shown(value: Any) -> str:
    """A found value in a few printable characters: safe in a log, a page and a database."""
    kind = type(value)
    if kind is str:
        text = value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"
        return _printable(ascii(text) if _odd(text) else repr(text))
    if kind is bool or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    if kind is dict:
        return f"an object of {len(value)} keys"
    if kind is list:
        return f"a list of {len(value)} items"
    try:
        return _printable(str(value))
    except ValueError:
        return "an integer of thousands of digits"


def _odd(text: str) -> bool:
    return not text.isprintable()


def _printable(text: str) -> str:
    return text if len(text) <= SHOWN + 2 else text[: SHOWN - 1] + "…"
