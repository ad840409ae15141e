"""Poison: an event that crashes whoever sends it is told apart from those beside it, and parked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog

from deals.events import Event
from ledger.port import Answer, Ledger, LedgerDeal, Rejected, Unsettled

log = structlog.get_logger()

POISON = "POISON"
"""The reason for which what crashes whoever handles it is parked."""

TRIES = 3
"""So often an event crashes, alone, before it is held to be the cause."""

BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a bug raises. An outage raises something else, and blames no event."""


class Sieve:
    """A ledger that answers `POISON` for an event that it crashes over, instead of crashing over the whole batch.

    An event is only blamed where others went through, beside it or before it: what crashes over everything is no fault
    of the events, and is raised as it is. For processes that last; a command run by hand ends with the bug.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._works = False

    def append(self, events: Sequence[Event]) -> list[Answer]:
        """Append as the ledger does; see `ledger.port.Ledger.append`."""
        try:
            answers = self._ledger.append(events)
        except BUGS as bug:
            answers = self._sifted(events, bug)
        self._works = True
        return answers

    def deals(self) -> Iterator[LedgerDeal]:
        """Every deal, streamed."""
        return self._ledger.deals()

    def check(self) -> str:
        """One line that says which ledger this is; raises a `LedgerFault`."""
        return self._ledger.check()

    def close(self) -> None:
        """Give back the connections."""
        self._ledger.close()

    def _sifted(self, events: Sequence[Event], bug: Exception) -> list[Answer]:
        """Send the events one by one: a key that went through before the crash is answered as already there."""
        stopped: set[str] = set()
        answers: list[Answer] = []
        for event in events:
            if event.external_id in stopped:
                answers.append(Unsettled("an earlier event of the deal is not settled", tried=False))
                continue
            answer = self._alone(event)
            answers.append(answer)
            if not isinstance(answer, Rejected):
                self._works = True
            else:
                stopped.add(event.external_id)
        if not self._works:
            raise bug
        return answers

    def _alone(self, event: Event) -> Answer:
        last: Exception | None = None
        for _ in range(TRIES):
            try:
                return self._ledger.append([event])[0]
            except BUGS as bug:
                last = bug
        log.error("event.poison", deal=event.external_id, key=event.dedup_key, exc_info=last)
        message = (
            f"sending it crashed {TRIES} times ({type(last).__name__}) while others went through; the log says how"
        )
        return Rejected(POISON, message)
