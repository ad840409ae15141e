"""Whole rows: Planhat's lists may show less of a record than get-one does, and then get-one is asked."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Final

from connectors.paging import Fetched
from connectors.planhat.cursor import Kind
from connectors.planhat.lists import Lists
from connectors.single_reads import SingleReads
from connectors.slicing import Sliced
from connectors.source import Found, Page, Record
from connectors.whole_rows import THIN, WholeRows, said_by
from deals.identity import digest

_LOOKED_AT = 50
_SAMPLES = 3
_DERIVED: Final = frozenset({"mrr", "arr", "nrr", "total", "fees"})
"""What line items add up to: it may change while `updatedAt` stays (section 7)."""

_ONE_IN = 7
"""So many of the known deals are read anew each day, for what formulas change while `updatedAt` stays (section 8)."""


class Wholeness:
    """Decides once a read whether the list's rows can be trusted to be whole, and completes them if not.

    Absent fields prove nothing, since a deal without a close date has none either way. So where no row shows a claimed
    field, the fullest rows are read by themselves, and compared (section 4 of the contract): one that was begun and not
    filled in shows as little either way, whatever the list leaves out.
    """

    def __init__(self, lists: Lists, kind: Kind, known: str | None) -> None:
        self._lists = lists
        self._claimed = lists.claimed(kind)
        self._name = digest(",".join(sorted(self._claimed)).encode()).hex()[:16]
        self._singles = SingleReads(lambda source_id: lists.one(kind, source_id))
        self._rows = WholeRows(self._singles, self._still_known, self._claimed, null_is_said=False)
        trusted = known == self._name or not self._claimed or not lists.options.get_one_fallback
        self._missing: frozenset[str] | None = frozenset() if trusted else None
        self._today = ""

    @property
    def known(self) -> str | None:
        """The name of the fields that were found whole, to be kept in the cursor."""
        return self._name if self._missing == frozenset() else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the operator should know."""
        return (THIN,) if self._missing else ()

    def complete(self, fetched: Fetched, *, since: str = "") -> Generator[Page, None, Sliced]:
        """The rows of a page, each of them whole; see `connectors.whole_rows`.

        When rows have to be read one by one, those older than `since` are left out; so are those meanwhile gone.
        """
        rows, missing = fetched.rows, self._missing
        if missing is None:
            missing = self._judge(rows.records)
        if not missing:
            return rows
        wanted = [record for record in rows.records if record.version is None or record.version >= since]
        self._today = fetched.requested_at[:10]
        rows = rows._replace(records=wanted)
        return (yield from self._rows.complete(rows, missing, fetched.requested_at, self.notes))

    def _judge(self, records: list[Record]) -> frozenset[str]:
        """The claimed fields that no row shows, where a single read shows one of them; none where rows are whole. Where
        the samples changed or went away between the two looks at them, this page is completed and the next decides."""
        shown = [(record, said_by(record.raw)) for record in records[:_LOOKED_AT]]
        unseen = self._claimed.difference(*(keys for _, keys in shown))
        if not unseen:
            self._missing = unseen
            return unseen
        fullest = sorted(shown, key=lambda pair: len(self._claimed & pair[1]), reverse=True)
        for record, _ in fullest[:_SAMPLES]:
            answer = self._singles.read(record)
            if isinstance(answer, Found) and record.version in (None, answer.record.version):
                self._missing = frozenset()
                if unseen & said_by(answer.record.raw):
                    self._missing = unseen
                    break
        return unseen if self._missing is None else self._missing

    def _still_known(self, source_ids: Sequence[str]) -> Mapping[str, Record]:
        """What is known of deals and may stand for rows: nothing where derived amounts may be left out, and not those
        whose turn it is today."""
        if self._missing is None or self._missing & _DERIVED:
            return {}
        return self._lists.known([one for one in source_ids if digest(f"{self._today} {one}".encode())[0] % _ONE_IN])
