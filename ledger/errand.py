"""Errand: one call of `append` over HTTP: its answers, what is worth trying still, and events that travel together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deals.events import Event, body
from ledger.port import Answer, LedgerFault, LedgerRefused, LedgerUnavailable, Receipt, Rejected, Unsettled
from ledger.wire import Ids, Outcome, explained

_MOST_EVENTS, _MOST_BYTES = 500, 1 << 20
_NOT_TRIED = Unsettled("not tried: an earlier event of this deal is not settled", tried=False)


class Errand:
    """One call of `append`: its answers, and whether the rest of it is still worth trying."""

    def __init__(self, events: Sequence[Event], patience: int) -> None:
        self.events = events
        self.answers: list[Answer] = [Unsettled("not tried", tried=False)] * len(events)
        self.halted: Unsettled | None = None
        self.fault: LedgerFault | None = None
        self._patience = patience
        self._failures = 0

    def put(self, places: Sequence[int], answer: Answer) -> None:
        """Give the same answer for several events."""
        for place in places:
            self.answers[place] = answer

    def stops_after(self, places: Sequence[int]) -> bool:
        """Whether a later event is of a deal that has stopped at one of these."""
        stopped = {self.events[place].external_id for place in places if not isinstance(self.answers[place], Receipt)}
        return any(event.external_id in stopped for event in self.events[places[-1] + 1 :]) if stopped else False

    def went_well(self) -> None:
        """The ledger works: failures are those of single events."""
        self._failures = 0

    def failed(self, fault: LedgerUnavailable, retry_after_s: float = 0.0) -> Unsettled:
        """One event failed. When nothing else works either, the ledger is away, and it is left in peace."""
        answer = Unsettled(str(fault), retry_after_s)
        self._failures += 1
        if self._failures >= self._patience:
            self.halted = Unsettled(f"not tried: {fault}", retry_after_s, tried=False)
            self.fault = fault
        return answer

    def refused(self, fault: LedgerRefused) -> Unsettled:
        """The ledger refuses us: nothing else is worth trying."""
        self.fault = fault
        self.halted = Unsettled(f"not tried: {fault}", tried=False)
        return self.halted


def receipt(ids: Ids, status: int) -> Receipt:
    """What the ids of an answer say of the event."""
    return Receipt(
        outcome="already_there" if status in (200, 409) else "appended",
        source_event_id=ids.source_event_id,
        domain_event_id=ids.domain_event_id,
        deal_id=ids.deal_id,
        conflict=ids.conflict or status == 409,
    )


def together(events: Sequence[Event]) -> Iterator[tuple[list[int], bytes]]:
    """Batches of events in their order, as the places of each batch's events and the body that carries them."""
    places: list[int] = []
    parts: list[bytes] = []
    size = 0
    for place, event in enumerate(events):
        part = body(event)
        if places and (len(places) == _MOST_EVENTS or size + len(part) > _MOST_BYTES):
            yield places, b'{"events":[%b]}' % b",".join(parts)
            places, parts, size = [], [], 0
        places.append(place)
        parts.append(part)
        size += len(part)
    if places:
        yield places, b'{"events":[%b]}' % b",".join(parts)


def outcome(said: Outcome, secret: str) -> Answer:
    """What became of one event of a batch. One without ids, or of a status no batch has, is of unknown fate.

    Whatever the ledger says of it, `secret`, our key, is told to nobody.
    """
    ids = Ids(said.source_event_id, said.domain_event_id, said.deal_id, said.conflict)
    if said.status in (200, 201, 409) and ids.source_event_id and ids.domain_event_id and ids.deal_id:
        return receipt(ids, said.status)
    if said.status in (400, 413, 422):
        return Rejected(f"http_{said.status}", explained(said.error, said.reason, said.status, secret))
    if said.status == 424:
        return _NOT_TRIED
    return Unsettled(f"the ledger answered {said.status} for an event of a batch")
