"""Single reads in the shape of the list: a key that a get-one leaves out is not a value that was cleared."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from connectors.faults import Unintelligible
from connectors.monaco.fields import Schemas
from connectors.monaco.lists import Lists, NotOffered, Which
from connectors.monaco.schema import CUSTOM
from connectors.source import Absent, Found, Known, Record
from connectors.whole_rows import fields_of, said_by

_NAMESAKES = 100


class Singles:
    """Reads one opportunity at a time.

    The published get-one shows fewer keys than the list does, and an open opportunity lacks some either way. So one
    that lacks a key the mapping reads is looked up in the list as well: by its id where the schema lets that be
    filtered, else by its name, else among the newest changes. It is not when every such key was in some single read
    before; that an open opportunity has no more in the list says nothing of a closed one.

    `known` gives the records as they were last landed: what one of them said and its single read does not is not
    believed to be cleared where the list does not show it. One that never landed is looked up among the newest
    opportunities too; where it is not there either, nobody can say what its single read left out: it waits for a pull.
    """

    def __init__(self, lists: Lists, schemas: Schemas, claimed: frozenset[str], known: Known) -> None:
        self._lists = lists
        self._schemas = schemas
        self._known = known
        self._claimed = {path.partition(".")[0] for path in claimed if not path.startswith(CUSTOM)}
        self._proven: frozenset[str] = frozenset()
        self._left_out = False

    def one(self, source_id: str, now: str) -> Found | Absent:
        """The record as the list shows it, with the custom fields it needs defined."""
        answer = self._lists.one(source_id)
        if isinstance(answer, Absent):
            return answer
        shown = said_by(answer.record.raw)
        self._proven |= shown
        if self._claimed - self._proven:
            answer = self._as_listed(answer, now)
        return Found(answer.record, answer.requested_at, self._schemas.defining((answer.record,), now))

    def _as_listed(self, single: Found, now: str) -> Found:
        for which in self._ways(single.record, now):
            if (found := self._looked_up(single, which)) is not None:
                return found
        before = self._known([single.record.source_id]).get(single.record.source_id)
        if before is None:
            if (found := self._looked_up(single, Which("-created_at"))) is not None:
                return found
            raise Unintelligible("a single read may show less than the list does, and the list does not show it yet")
        if self._left_out or self._claimed & (said_by(before.raw) - said_by(single.record.raw)):
            raise Unintelligible("a single read shows less than the list does, and the list does not show it yet")
        return single

    def _looked_up(self, single: Found, which: Which) -> Found | None:
        """The record as the list shows it, or the single read where that shows as much; None where the list, asked
        this way, does not show it."""
        try:
            listed = self._lists.page(which, 1, _NAMESAKES)
        except NotOffered:
            return None
        row = next((row for row in listed.rows.records if row.source_id == single.record.source_id), None)
        if row is None:
            return None
        if not self._claimed & (said_by(row.raw) - said_by(single.record.raw)):
            return single
        self._left_out = True
        return Found(row, listed.answer.requested_at)

    def _ways(self, record: Record, now: str) -> Iterator[Which]:
        """How the list may be asked for a record that has just changed, the surest way first."""
        schema = self._schemas.schema(now)
        for key in ("id", "name"):
            if schema.matches(key) and (value := text(record, key)):
                yield Which(filters=({"field": key, "condition": "is", "value": value},))
                break
        yield Which("-updated_at")


def text(record: Record, key: str) -> str | None:
    """The text under a key; None when there is none."""
    try:
        return msgspec.json.decode(fields_of(record.raw)[key], type=str)
    except (KeyError, msgspec.DecodeError):
        return None
