"""Whole rows: what a list shows in part is made whole by what is known of it, or by single reads, ten at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from decimal import Decimal
from typing import Any, Final

import msgspec

from connectors.faults import Fault
from connectors.single_reads import SingleReads
from connectors.slicing import Sliced
from connectors.source import Found, Known, Page, Record, Spoiled
from deals.identity import digest

THIN: Final = (
    "the list leaves out keys that a single read shows, so a deal is read by itself when it is new or has changed"
)
"""What pages note while rows are completed."""

_REMEMBERED = 5_000
_TOGETHER = 10

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder(float_hook=Decimal)


class WholeRows:
    """Completes the rows of one read.

    For a row whose deal is known whole already, and has not changed since, what is known stands: so a deal costs a
    request when it is new and when it has changed, and a sweep costs what its pages do. `claimed` are the keys that the
    mapping reads. `meant` gives what a decoded value means, where lists and single reads spell it in their own ways.
    With `null_is_said`, a list that shows a key as null does not leave it out.
    """

    def __init__(
        self,
        singles: SingleReads,
        known: Known,
        claimed: frozenset[str],
        *,
        meant: Callable[[Any], Any] = lambda value: value,
        null_is_said: bool = True,
    ) -> None:
        self._singles = singles
        self._known = known
        self._claimed = claimed
        self._meant = meant
        self._keys = keys_of if null_is_said else said_by
        self._done: dict[str, bytes] = {}
        self._asked = 0

    def complete(
        self, rows: Sliced, missing: frozenset[str], requested_at: str, notes: tuple[str, ...] = (THIN,)
    ) -> Generator[Page, None, Sliced]:
        """The rows of a page with each of its records whole, where the list leaves out the keys `missing`.

        Left out are rows that are gone meanwhile, and one that was completed just now and still looks the same. What
        ten single reads brought is handed on at once, and so is what is whole when a fault comes: a page may take more
        of them than a day has, and is then read in the course of several. Raises the faults of the source.
        """
        if not missing:
            return rows
        thin = [record.source_id for record in rows.records if not missing <= self._keys(record.raw)]
        known = self._known(thin) if thin else {}
        part: list[Record] = []
        spoiled = list(rows.spoiled)
        begun = self._asked
        for record in rows.records:
            try:
                whole = self._whole(record, missing, known.get(record.source_id))
            except Fault:
                if part:
                    yield Page(records=part, requested_at=requested_at, notes=notes)
                raise
            if isinstance(whole, Spoiled):
                spoiled.append(whole)
            elif whole is not None:
                part.append(whole)
            if self._asked - begun >= _TOGETHER:
                yield Page(records=part, requested_at=requested_at, notes=notes)
                part, begun = [], self._asked
        return rows._replace(records=part, spoiled=spoiled)

    def _whole(self, row: Record, missing: frozenset[str], known: Record | None) -> Record | Spoiled | None:
        if missing <= self._keys(row.raw):
            return row
        name = digest(row.raw)
        if self._done.get(row.source_id) == name:
            return None
        if known is not None and self._stands_for(known, row, missing):
            return known
        self._asked += 1
        answer = self._singles.read(row)
        if isinstance(answer, Spoiled):
            return answer
        if len(self._done) < _REMEMBERED:
            self._done[row.source_id] = name
        return answer.record if isinstance(answer, Found) else None

    def _stands_for(self, known: Record, row: Record, missing: frozenset[str]) -> bool:
        """Whether a record that is known came from a single read, and is still what the row shows a part of."""
        if row.version is None or known.version != row.version or not missing & self._keys(known.raw):
            return False
        shown, held = fields_of(row.raw), fields_of(known.raw)
        told = self._claimed & (shown.keys() - (missing - self._keys(row.raw)))
        return bool(shown) and all(self._alike(shown[key], held.get(key)) for key in told)

    def _alike(self, one: msgspec.Raw, other: msgspec.Raw | None) -> bool:
        """Whether two values mean the same: JSON may be written in many ways, and null is as good as nothing."""
        if other is not None and bytes(one) == bytes(other):
            return True
        return bool(self._meant(value_of(one)) == self._meant(value_of(other)))


def fields_of(raw: bytes) -> dict[str, msgspec.Raw]:
    """The fields of a record, undecoded; none where it is no JSON object."""
    try:
        return _object.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return {}


def keys_of(raw: bytes) -> frozenset[str]:
    """The keys that a record has."""
    return frozenset(fields_of(raw))


def said_by(raw: bytes) -> frozenset[str]:
    """The keys of a record that say something; null says as little as absence does."""
    return frozenset(key for key, value in fields_of(raw).items() if bytes(value) != b"null")


def value_of(raw: msgspec.Raw | None) -> Any:
    """A field decoded, its numbers as decimals; None where there is none, or where it cannot be read."""
    try:
        return None if raw is None else _any.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
