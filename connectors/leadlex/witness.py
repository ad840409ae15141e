"""Witness: holds the ids of an export against those that a complete read of the list shows."""

from __future__ import annotations

from connectors.faults import Unintelligible
from connectors.leadlex.exports import UNJOINED, Exports, Headline, NotNow
from connectors.leadlex.lists import Lists
from connectors.source import Found, Record

_ASKED = 50
_ALL = 200_000
"""An export is compared with the list where the workspace has at most so many deals: their ids are held in memory."""


class Witness:
    """The ids that an export names, struck out as the list shows them. What is left is asked for by itself.

    The ids join when the list shows one of them, or a single read knows the first ones. `notes` says why an export
    could not be used; then nothing is concluded from it.
    """

    def __init__(self, lists: Lists, exports: Exports) -> None:
        self._lists = lists
        self._exports = exports
        self._rows: list[Headline] = []
        self._left: dict[str, None] = {}
        self._named = 0
        self.notes: tuple[str, ...] = ()

    def begin(self, total: int | None) -> None:
        """Take the export, once the list has said how many deals there are."""
        if total is None or total > _ALL:
            self.notes = ("the workspace has too many deals for its export to be held against the list",)
            return
        try:
            self._rows = list(self._exports.between(None, None))
        except (NotNow, Unintelligible) as fault:
            self.notes = (f"no export was held against the list: {fault}",)
            return
        self._left = dict.fromkeys(row.id for row in self._rows)
        self._named = len(self._left)

    def saw(self, keys: list[str]) -> None:
        """The list showed these deals."""
        for key in keys:
            self._left.pop(key, None)

    def settle(self, counts: tuple[int, int]) -> tuple[list[Record], bool]:
        """The deals that the export names and the list did not show, and whether all deals were accounted for.

        `counts` are the list's own totals, before and after.
        """
        if not self._named:
            return [], False
        if len(self._left) == self._named and not self._exports.verified(self._rows):
            self.notes = (UNJOINED,)
            return [], False
        if len(self._left) > _ASKED:
            self.notes = (f"the export names {len(self._left):,} deals that the list did not show",)
            return [], False
        answers = [self._lists.one(deal_id) for deal_id in self._left]
        found = [answer.record for answer in answers if isinstance(answer, Found)]
        return found, min(counts) <= self._named <= max(counts)
