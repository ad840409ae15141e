"""Whole rows: where LeadLex's list leaves out keys that a single read shows, the row is read by itself (section 3)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Any

from connectors.faults import Unintelligible
from connectors.leadlex.cursor import State
from connectors.leadlex.lists import Listed, Lists
from connectors.leadlex.windows import seconds
from connectors.single_reads import SingleReads
from connectors.source import Found, Page, Record, Spoiled
from connectors.times import instant, shifted
from connectors.whole_rows import THIN, WholeRows, fields_of, keys_of, value_of
from deals.identity import digest
from mappings.vocabulary import slug

_LOOKED_AT = 100
_SAMPLES = 3
_A_MOMENT = timedelta(seconds=1)
_PAGES = 5
_ENDED = (b'"won"', b'"lost"')
_SAME_STATUS = {"active": "open"}
"""Lists say the one, single reads the other (section 6)."""


class Wholeness:
    """Finds out once which of the claimed keys the list leaves out, and completes the rows that lack them.

    See `connectors.whole_rows` for what that costs.
    """

    def __init__(self, lists: Lists, state: State) -> None:
        self._lists = lists
        self._name = digest(",".join(sorted(lists.claimed)).encode()).hex()[:16]
        known = not lists.options.get_one_fallback or not lists.claimed or state.judged == self._name
        self._missing = frozenset(state.missing) & lists.claimed if lists.options.get_one_fallback else frozenset()
        self._judged = known
        self._singles = SingleReads(lists.one)
        self._rows = WholeRows(self._singles, lists.known, lists.claimed, meant=_meant)

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
        """The page with each of its records whole; see `connectors.whole_rows`."""
        records, missing = listed.rows.records, self._missing
        if not self._judged and records:
            found = left_out(self._singles, self._lists.claimed, records)
            self._judged, self._missing = found is not None, found or frozenset()
            # Where the samples went away meanwhile, the list may leave out whatever a row of this page lacks.
            lacking = (self._lists.claimed - keys_of(record.raw) for record in records)
            missing = self._missing if self._judged else frozenset[str]().union(*lacking)
        rows = yield from self._rows.complete(listed.rows, missing, listed.requested_at)
        return listed._replace(rows=rows)


def left_out(singles: SingleReads, claimed: frozenset[str], records: Sequence[Record]) -> frozenset[str] | None:
    """The claimed keys that the list leaves out of its rows; None where that could not be found out.

    A key that is absent everywhere proves nothing: `currency` is absent where none was given. So a few of the fullest
    rows are read by themselves and compared; won and lost ones first, since those have the most to show. Raises
    `Unintelligible` when none of them can be read: rows must not be taken for whole because of that.
    """
    lacking = []
    for record in records[:_LOOKED_AT]:
        if absent := claimed - keys_of(record.raw):
            lacking.append((not _ended(record.raw), len(absent), absent, record))
    lacking.sort(key=lambda one: one[:2])
    compared, missing, why = 0, frozenset[str](), ""
    for _, _, absent, record in lacking[:_SAMPLES]:
        answer = singles.read(record)
        if isinstance(answer, Found):
            compared += 1
            missing |= absent & keys_of(answer.record.raw)
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
    shown = lists.claimed & keys_of(found.record.raw)
    known = lists.known([found.record.source_id]).get(found.record.source_id)
    if known is not None and shown <= keys_of(known.raw):
        return found
    created = instant(value_of(fields_of(found.record.raw).get("created_date")))
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


def _ended(raw: bytes) -> bool:
    return bytes(fields_of(raw).get("status", b"")) in _ENDED


def _meant(value: Any) -> Any:
    """Lists and single reads spell words in their own ways."""
    if not isinstance(value, str):
        return value
    word = slug(value)
    return _SAME_STATUS.get(word, word)
