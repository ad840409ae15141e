"""Whole rows: where LeadLex's list leaves out keys that a single read shows, the row is read by itself (section 3)."""

from __future__ import annotations

import msgspec

from connectors.leadlex.cursor import State
from connectors.leadlex.lists import Listed, Lists
from connectors.source import Found, Record
from deals.identity import digest

THIN = "the list leaves out keys that a single read shows, so such deals were read by themselves, at a request each"

_LOOKED_AT = 100
_SAMPLES = 3
_REMEMBERED = 5_000
_ENDED = (b'"won"', b'"lost"')
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Wholeness:
    """Finds out once which of the claimed keys the list leaves out, and completes the rows that lack them.

    A key that is absent everywhere proves nothing: `currency` is absent where none was given. So a few rows that lack
    the most are read by themselves and compared; won and lost ones first, since those have the most to show.
    """

    def __init__(self, lists: Lists, state: State) -> None:
        self._lists = lists
        self._name = digest(",".join(sorted(lists.claimed)).encode()).hex()[:16]
        known = not lists.options.get_one_fallback or not lists.claimed or state.judged == self._name
        self._missing = frozenset(state.missing) & lists.claimed if lists.options.get_one_fallback else frozenset()
        self._judged = known
        self._done: dict[str, bytes] = {}

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

    def complete(self, listed: Listed) -> list[Record]:
        """The records of a page, each of them whole; those are left out that are gone meanwhile.

        A row that was completed just now and still looks the same is left out as well.
        """
        records = listed.rows.records
        if not self._judged and records:
            self._judge(records)
        if not self._missing:
            return records
        whole = (self._whole(record) for record in records)
        return [record for record in whole if record is not None]

    def _whole(self, record: Record) -> Record | None:
        if self._missing <= _keys(record.raw):
            return record
        name = digest(record.raw)
        if self._done.get(record.source_id) == name:
            return None
        answer = self._lists.one(record.source_id)
        if len(self._done) < _REMEMBERED:
            self._done[record.source_id] = name
        return answer.record if isinstance(answer, Found) else None

    def _judge(self, records: list[Record]) -> None:
        lacking = []
        for record in records[:_LOOKED_AT]:
            keys = _keys(record.raw)
            if absent := self._lists.claimed - keys:
                lacking.append((not _ended(record.raw), -len(absent), absent, record))
        lacking.sort(key=lambda one: one[:2])
        compared = 0
        for _, _, absent, record in lacking[:_SAMPLES]:
            answer = self._lists.one(record.source_id)
            if isinstance(answer, Found):
                compared += 1
                self._missing |= absent & _keys(answer.record.raw)
        self._judged = compared > 0 or not lacking


def _keys(raw: bytes) -> frozenset[str]:
    try:
        return frozenset(_object.decode(raw))
    except (msgspec.DecodeError, RecursionError):
        return frozenset()


def _ended(raw: bytes) -> bool:
    try:
        return bytes(_object.decode(raw).get("status", b"")) in _ENDED
    except (msgspec.DecodeError, RecursionError):
        return False
