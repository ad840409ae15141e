"""Audit: the deletions that LeadLex's audit log names, each confirmed before it is believed (section 14)."""

from __future__ import annotations

from typing import Any

import msgspec

from connectors.leadlex.lists import KIND, Lists
from connectors.leadlex.windows import seconds
from connectors.source import Absent, Record

NO_ADMIN = "the audit log takes an admin key, so deletions are found by webhooks and sweeps alone; see use_audit_log"

_PAGES = 50
_REMEMBERED = 500


class Deletions:
    """What the audit log says was deleted since a time (an instant). `known` entries were dealt with before."""

    def __init__(self, lists: Lists, known: tuple[str, ...]) -> None:
        self._lists = lists
        self._known = frozenset(known)
        self.known = known
        self.notes: tuple[str, ...] = ()

    def since(self, floor: str) -> list[Record]:
        """A tombstone for each deal whose end the log names and a single read confirms; the deal itself if it is back.

        The entry is the tombstone's raw form. It has no version: a proof of absence outranks whatever was seen before.
        """
        records: list[Record] = []
        handled: list[str] = []
        for number in range(1, _PAGES + 1):
            entries = self._lists.deletions(seconds(floor), number)
            if entries is None:
                self.notes = (NO_ADMIN,)
                return []
            if not entries:
                break
            for entry in entries:
                name, deal_id = entry.get("id"), entry.get("resource_id")
                if entry.get("action") != "delete" or not isinstance(name, str) or not isinstance(deal_id, str):
                    continue
                if name not in self._known and name not in handled and deal_id:
                    records += self._confirmed(deal_id, entry)
                handled.append(name)
        self.known = tuple(dict.fromkeys(handled))[:_REMEMBERED]
        return records

    def _confirmed(self, deal_id: str, entry: dict[str, Any]) -> list[Record]:
        answer = self._lists.one(deal_id)
        if not isinstance(answer, Absent):
            return [answer.record]
        return [Record(deal_id, None, msgspec.json.encode(entry), KIND, deleted=True)] if answer.proof else []
