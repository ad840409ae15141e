"""Whole rows: where LeadLex's list leaves out keys that a single read shows, the row is read by itself (section 3)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec

from connectors.faults import Fault, Unintelligible
from connectors.leadlex.cursor import State
from connectors.leadlex.lists import Listed, Lists
from connectors.leadlex.windows import seconds
from connectors.single_reads import SingleReads
from connectors.source import Found, Page, Record, Spoiled
from connectors.times import instant, shifted
from deals.identity import digest
from mappings.vocabulary import slug

THIN = "the list leaves out keys that a single read shows, so a deal is read by itself when it is new or has changed"

_LOOKED_AT = 100
_SAMPLES = 3
_REMEMBERED = 5_000
_TOGETHER = 10
_A_MOMENT = timedelta(seconds=1)
_PAGES = 5
_ENDED = (b'"won"', b'"lost"')
_SAME_STATUS = {"active": "open"}
"""Lists say the one, single reads the other (section 6)."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder(float_hook=Decimal)


class Wholeness:
    """Finds out once which of the claimed keys the list leaves out, and completes the rows that lack them.

    For a row whose deal is known whole already, and has not changed since, what is known stands: so a deal costs a
    request when it is new and when it has changed, and a sweep costs what its pages do.
    """

    def __init__(self, lists: Lists, state: State) -> None:
        self._lists = lists
        self._name = digest(",".join(sorted(lists.claimed)).encode()).hex()[:16]
        known = not lists.options.get_one_fallback or not lists.claimed or state.judged == self._name
        self._missing = frozenset(state.missing) & lists.claimed if lists.options.get_one_fallback else frozenset()
        self._judged = known
        self._done: dict[str, bytes] = {}
        self._singles = SingleReads(lists.one)
        self._asked = 0

    @property
    def judged(self) -> str | None:
        """The name of the claimed keys, once it is known which of them lists leave out; to be kept in the cursor."""
        return self._name if self._judged else None

    @property
    def missing(self) -> tuple[str, ...]:
        """The claimed keys that lists leave out."""
        return tuple(sorted(self._missing))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the operator should know."""
        return (THIN,) if self._missing else ()

    def complete(self, listed: Listed) -> Generator[Page, None, Listed]:
        """The page with each of its records whole; those are left out that are gone meanwhile.

        A row that was completed just now and still looks the same is left out as well. What ten single reads brought is
        handed on at once, and so is what is whole when a fault comes: a page may take more of them than a day has, and
        is then read in the course of several.
        """
        records = listed.rows.records
        if not self._judged and records:
            found = left_out(self._singles, self._lists.claimed, records)
            self._judged, self._missing = found is not None, found or frozenset()
        if not self._missing:
            return listed
        thin = [record.source_id for record in records if not self._missing <= _keys(record.raw)]
        known = self._lists.known(thin) if thin else {}
        part: list[Record] = []
        spoiled = list(listed.rows.spoiled)
        begun = self._asked
        for record in records:
            try:
                whole = self._whole(record, known.get(record.source_id))
            except Fault:
                if part:
                    yield self._part(listed, part)
                raise
            if isinstance(whole, Spoiled):
                spoiled.append(whole)
            elif whole is not None:
                part.append(whole)
            if self._asked - begun >= _TOGETHER:
                yield self._part(listed, part)
                part, begun = [], self._asked
        return listed._replace(rows=listed.rows._replace(records=part, spoiled=spoiled))

    def _part(self, listed: Listed, records: list[Record]) -> Page:
        return Page(records=records, requested_at=listed.requested_at, notes=self.notes)

    def _whole(self, record: Record, known: Record | None) -> Record | Spoiled | None:
        keys = _keys(record.raw)
        if self._missing <= keys:
            return record
        name = digest(record.raw)
        if self._done.get(record.source_id) == name:
            return None
        if known is not None and self._stands_for(known, record):
            return known
        self._asked += 1
        answer = self._singles.read(record)
        if isinstance(answer, Spoiled):
            return answer
        if len(self._done) < _REMEMBERED:
            self._done[record.source_id] = name
        return answer.record if isinstance(answer, Found) else None

    def _stands_for(self, known: Record, row: Record) -> bool:
        """Whether a record that is known came from a single read, and is still what the row shows a part of."""
        if row.version is None or known.version != row.version or not self._missing & _keys(known.raw):
            return False
        shown, held = _fields(row.raw), _fields(known.raw)
        return all(key in held and _alike(shown[key], held[key]) for key in shown.keys() & self._lists.claimed)


def left_out(singles: SingleReads, claimed: frozenset[str], records: Sequence[Record]) -> frozenset[str] | None:
    """The claimed keys that the list leaves out of its rows; None where that could not be found out.

    A key that is absent everywhere proves nothing: `currency` is absent where none was given. So a few of the fullest
    rows are read by themselves and compared; won and lost ones first, since those have the most to show. Raises
    `Unintelligible` when none of them can be read: rows must not be taken for whole because of that.
    """
    lacking = []
    for record in records[:_LOOKED_AT]:
        if absent := claimed - _keys(record.raw):
            lacking.append((not _ended(record.raw), len(absent), absent, record))
    lacking.sort(key=lambda one: one[:2])
    compared, missing, why = 0, frozenset[str](), ""
    for _, _, absent, record in lacking[:_SAMPLES]:
        answer = singles.read(record)
        if isinstance(answer, Found):
            compared += 1
            missing |= absent & _keys(answer.record.raw)
        elif isinstance(answer, Spoiled):
            why = answer.message
    if why and not compared:
        raise Unintelligible(f"whether the list shows deals whole cannot be found out: {why}")
    return missing if compared or not lacking else None


def as_listed(lists: Lists, found: Found) -> Found:
    """A deal in the shape that lists have, for who goes without what they leave out: else a single read would bring a
    value, and the next list would take it away again.

    Raises `Unintelligible` where the list does not show the deal.
    """
    shown = lists.claimed & _keys(found.record.raw)
    known = lists.known([found.record.source_id]).get(found.record.source_id)
    if known is not None and shown <= _keys(known.raw):
        return found
    created = instant(_value(_fields(found.record.raw).get("created_date")))
    if created is not None:
        bounds = {"created_after": shifted(created, -_A_MOMENT), "created_before": shifted(created, _A_MOMENT)}
        around = {name: seconds(bound) for name, bound in bounds.items()}
        for number in range(1, _PAGES + 1):
            page = lists.page(around, number)
            for record in page.rows.records:
                if record.source_id == found.record.source_id:
                    return Found(record, page.requested_at)
            if not page.rows.keys:
                break
    raise Unintelligible("the list does not show it where its created_date says, and a single read shows more keys")


def _keys(raw: bytes) -> frozenset[str]:
    return frozenset(_fields(raw))


def _fields(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _object.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return {}


def _ended(raw: bytes) -> bool:
    return bytes(_fields(raw).get("status", b"")) in _ENDED


def _alike(one: msgspec.Raw, other: msgspec.Raw) -> bool:
    """Whether two values mean the same: lists and single reads spell words, and may write JSON, in their own ways."""
    return bytes(one) == bytes(other) or _meant(_value(one)) == _meant(_value(other))


def _meant(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    word = slug(value)
    return _SAME_STATUS.get(word, word)


def _value(raw: msgspec.Raw | None) -> Any:
    try:
        return None if raw is None else _any.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
