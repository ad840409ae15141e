"""The ledger in memory: the fake for tests, held to the same kit as the real ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from deals.events import Event
from deals.identity import decode_json
from ledger.admission import Admitted, Batch, same_payload
from ledger.ids import deal_id, ulids
from ledger.port import Answer, LedgerDeal, Receipt


class MemoryLedger:
    """A ledger that is gone with the process. `events` is its history, in the order of acceptance."""

    def __init__(self, *, org: str = "org_default", now: Callable[[], str]) -> None:
        self.events: list[Admitted] = []
        self._org = org
        self._now = now
        self._taken: dict[str, tuple[Receipt, bytes]] = {}
        self._deals: dict[str, LedgerDeal] = {}
        self._alone = threading.Lock()

    def append(self, events: Sequence[Event]) -> list[Answer]:
        """Append events; see `ledger.port.Ledger.append`."""
        batch = Batch(events)
        with self._alone:
            return batch.answers([self._take(event) for event in batch.admitted])

    def deals(self) -> Iterator[LedgerDeal]:
        """Every deal, as it was when asked."""
        with self._alone:
            listed = sorted(self._deals.values(), key=lambda deal: deal.id)
        return iter(listed)

    def check(self) -> str:
        """One line that says which ledger this is."""
        return f"ledger in memory, {self._org}, {len(self.events)} events"

    def close(self) -> None:
        """Nothing to give back."""

    def _take(self, event: Admitted) -> Receipt:
        if held := self._taken.get(event.dedup_key):
            first, raw = held
            return Receipt(
                outcome="already_there",
                source_event_id=first.source_event_id,
                domain_event_id=first.domain_event_id,
                deal_id=first.deal_id,
                conflict=not same_payload(raw, event.raw),
            )
        at = self._now()
        [ulid] = ulids(at, 1)
        deal = deal_id(self._org, event.external_id)
        receipt = Receipt(
            outcome="appended", source_event_id=f"src_api_{ulid}", domain_event_id=f"dom_api_{ulid}", deal_id=deal
        )
        self._taken[event.dedup_key] = receipt, event.raw
        self._deals[deal] = LedgerDeal(
            id=deal, external_id=event.external_id, state=decode_json(event.state), last_event_at=at, updated_at=at
        )
        self.events.append(event)
        return receipt
