"""Audit: the deletions that LeadLex's audit log names, each confirmed before it is believed (section 14)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import msgspec

from connectors.faults import Fault
from connectors.leadlex.cursor import Log
from connectors.leadlex.lists import KIND, Lists
from connectors.leadlex.windows import seconds
from connectors.single_reads import SingleReads
from connectors.source import Absent, Found, Record
from deals.identity import digest

NO_ADMIN = "the audit log takes an admin key, so deletions are found by webhooks and sweeps alone; see use_audit_log"
ENDLESS = (
    "the audit log shows the same page whatever page is asked for, so what was deleted before its oldest entry is "
    "found by sweeps alone"
)

UNCONFIRMED = (
    "the audit log names a deal whose single read cannot be had, so whether it is gone is found by sweeps alone"
)

_Answered: TypeAlias = tuple[Record | None, str]
"""What a single read says of a deal that the log names, nothing where it proves nothing; and when it was sent."""

_TOGETHER = 10
_REMEMBERED = 500


class Dealt(NamedTuple):
    """What became of some of the deals that the log names.

    `requested_at` is the time just before the first of them was asked for, by the database's clock.
    """

    records: list[Record]
    requested_at: str


class Deletions:
    """What the audit log says was deleted since `floor` (an instant), read on from `log`, which moves with the reading.

    `known` are entries that were dealt with before. `notes` tell in the end why the log was not read, or not whole.
    """

    def __init__(self, lists: Lists, floor: str, log: Log, *, known: Iterable[str] = ()) -> None:
        self._lists = lists
        self._singles = SingleReads(lists.one)
        self._since = seconds(floor)
        self._known = frozenset(known)
        self.log = log
        self.notes: tuple[str, ...] = ()

    def confirmed(self) -> Iterator[Dealt]:
        """A tombstone for each deal whose end the log names and a single read confirms; the deal itself if it is back.

        The log is read to its end, and what ten single reads brought is handed on at once: somebody who tidies up may
        delete more deals than a day has requests. The newest entries come first and none ever goes away, so what is
        written meanwhile moves rows to later pages, where they are asked about again, and never hides one.

        The entry is the tombstone's raw form. It has no version: a proof of absence outranks whatever was seen before.
        """
        before = b""
        while entries := self._lists.deletions(self._since, self.log.page):
            here = digest(msgspec.json.encode(entries))
            if here == before:
                self.notes = (*self.notes, ENDLESS)
                return
            before = here
            yield from self._page(entries)
        if entries is None:
            self.notes = (*self.notes, NO_ADMIN)

    def _page(self, entries: list[dict[str, Any]]) -> Iterator[Dealt]:
        """The rest of a page, ten single reads at a time; what was confirmed stays so when the next one fails.

        One that cannot be had holds back no other. The log moves past it together with the next: in an outage it is
        asked about again.
        """
        part: list[_Answered] = []
        for row, entry in enumerate(entries[self.log.row :], self.log.row):
            if (named := _deleted(entry)) is None:
                continue
            name, deal_id = named
            if name not in self._known and name not in self.log.names:
                try:
                    answer = self._singles.answer(deal_id)
                except Fault:
                    if part:
                        yield _dealt(part)
                    raise
                if isinstance(answer, Fault):
                    self.notes = (UNCONFIRMED,)
                    continue
                part.append((_confirmed(answer, deal_id, entry), answer.requested_at))
            self._remember(row + 1, name)
            if len(part) == _TOGETHER:
                yield _dealt(part)
                part = []
        self.log = Log(self.log.page + 1, 0, self.log.names)
        if part:
            yield _dealt(part)

    def _remember(self, row: int, name: str) -> None:
        names = self.log.names
        if name not in names and len(names) < _REMEMBERED:
            names = (*names, name)
        self.log = Log(self.log.page, row, names)


def _deleted(entry: dict[str, Any]) -> tuple[str, str] | None:
    """The entry's own name and the deal that was deleted; None for an entry that says something else."""
    name, deal_id = entry.get("id"), entry.get("resource_id")
    if entry.get("action") == "delete" and isinstance(name, str) and isinstance(deal_id, str) and deal_id:
        return name, deal_id
    return None


def _confirmed(answer: Found | Absent, deal_id: str, entry: dict[str, Any]) -> Record | None:
    if isinstance(answer, Found):
        return answer.record
    return Record(deal_id, None, msgspec.json.encode(entry), KIND, deleted=True) if answer.proof else None


def _dealt(part: list[_Answered]) -> Dealt:
    return Dealt([record for record, _ in part if record is not None], min(at for _, at in part))
