"""The port: what the pipeline asks of a ledger, and the faults it may answer with.

Every implementation passes the same kit (tests/ledger/kit.py). Behaviour: contracts/openquota.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

from deals.events import Event


class LedgerFault(Exception):
    """The ledger could not be used."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__class__.__doc__)


class LedgerUnavailable(LedgerFault):
    """The ledger does not answer; the same events may be sent again later, under the same keys."""


class LedgerPaced(LedgerUnavailable):
    """The requests of our key are used up, and the ledger was not asked: in `wait_s` seconds it may be."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class LedgerRefused(LedgerFault):
    """The ledger refuses our key or our rights: nothing can be sent until a person has acted."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event is in the ledger. An event already there carries the ids of its first acceptance.

    `conflict` says that the ledger holds this key with another payload: an incident, never a retry.
    """

    outcome: Literal["appended", "already_there"]
    source_event_id: str
    domain_event_id: str
    deal_id: str
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """The ledger will never take this event as it is (400, 413, 422): its lane stops until a person has acted."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Nobody knows whether the event was taken: send the same bytes again, not before `retry_after_s` seconds.

    An event that was not `tried` never left us. When that is for want of requests, `retry_after_s` holds for all.
    """

    message: str
    retry_after_s: float = 0.0
    tried: bool = True


Answer = Receipt | Rejected | Unsettled


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerDeal:
    """A deal as the ledger lists it: `state` as sent, the custom keys under `custom`."""

    id: str
    external_id: str
    state: dict[str, Any]
    last_event_at: str
    updated_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEvent:
    """An event as the ledger keeps it: `sequence` is its place among all of its org, `state` what the deal was then."""

    sequence: int
    domain_event_id: str
    source_event_id: str
    event_type: str
    dedup_key: str
    state: dict[str, Any]
    occurred_at: str


class Ledger(Protocol):
    """Where events end up."""

    def append(self, events: Sequence[Event]) -> list[Answer]:
        """Append events and answer for each, in their order.

        Events of one deal are taken strictly in the order given; after one that is not settled, the later events of
        that deal are not tried and come back `Unsettled`. Raises `LedgerRefused` or `LedgerUnavailable` when none of
        them could be tried.
        """
        ...

    def deals(self) -> Iterator[LedgerDeal]:
        """Every deal, streamed."""
        ...

    def check(self) -> str:
        """One line that says which ledger this is and that it would take our events; raises a `LedgerFault`."""
        ...

    def close(self) -> None:
        """Give back the connections."""
        ...
