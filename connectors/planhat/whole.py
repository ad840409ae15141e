"""Whole rows: Planhat's lists may show less of a record than get-one does, and then get-one is asked."""

from __future__ import annotations

import msgspec

from connectors.paging import Fetched
from connectors.planhat.cursor import Kind
from connectors.planhat.lists import Lists
from connectors.single_reads import SingleReads
from connectors.slicing import Sliced
from connectors.source import Found, Record, Spoiled
from deals.identity import digest

THIN = "the list shows fewer fields than a single read does, so each deal was read by itself"

_LOOKED_AT = 50
_SAMPLES = 3

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Wholeness:
    """Decides once a read whether the list's rows can be trusted to be whole, and completes them if not.

    Absent fields prove nothing, since a deal without a close date has none either way. So where no row shows a claimed
    field, the fullest rows are read by themselves, and compared (section 4 of the contract): one that was begun and not
    filled in shows as little either way, whatever the list leaves out.
    """

    def __init__(self, lists: Lists, kind: Kind, known: str | None) -> None:
        self._lists = lists
        self._kind = kind
        self._claimed = lists.claimed(kind)
        self._name = digest(",".join(sorted(self._claimed)).encode()).hex()[:16]
        self._singles = SingleReads(lambda source_id: lists.one(kind, source_id))
        self._whole: bool | None = True if known == self._name or not self._claimed else None
        if not lists.options.get_one_fallback:
            self._whole = True

    @property
    def known(self) -> str | None:
        """The name of the fields that were found whole, to be kept in the cursor."""
        return self._name if self._whole else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the operator should know."""
        return (THIN,) if self._whole is False else ()

    def complete(self, fetched: Fetched, *, since: str = "") -> Sliced:
        """The rows of a page, each of them whole.

        When rows have to be read one by one, those older than `since` are left out; so are those meanwhile gone.
        """
        rows = fetched.rows
        if self._whole is None:
            self._whole = self._judge(rows.records)
        if self._whole or not rows.records:
            return rows
        wanted = [record for record in rows.records if record.version is None or record.version >= since]
        records, spoiled = [], list(rows.spoiled)
        for record in wanted:
            answer = self._singles.read(record)
            records += [answer.record] if isinstance(answer, Found) else []
            spoiled += [answer] if isinstance(answer, Spoiled) else []
        return Sliced(records, spoiled, rows.keys)

    def _judge(self, records: list[Record]) -> bool | None:
        """Whether rows are whole; None when the samples changed or went away between the two looks at them."""
        shown = [(record, _keys(record.raw)) for record in records[:_LOOKED_AT]]
        unseen = self._claimed.difference(*(keys for _, keys in shown))
        if not unseen:
            return True
        fullest = sorted(shown, key=lambda pair: len(self._claimed & pair[1]), reverse=True)
        compared = False
        for record, _ in fullest[:_SAMPLES]:
            answer = self._singles.read(record)
            if isinstance(answer, Found) and record.version in (None, answer.record.version):
                compared = True
                if unseen & _keys(answer.record.raw):
                    return False
        return True if compared else None


def _keys(raw: bytes) -> frozenset[str]:
    """The keys of a record that say something; null says as little as absence does."""
    try:
        fields = _object.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return frozenset()
    return frozenset(key for key, value in fields.items() if bytes(value) != b"null")
