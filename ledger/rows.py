"""Rows: the ledger's three tables as tuples, and the deal that follows from an event."""

from __future__ import annotations

from typing import NamedTuple

from deals.events import EventType

SOURCE = "api"
"""The ledger's `source` of everything pushed over its API (contracts/openquota.md section 4)."""


class Source(NamedTuple):
    """A row of `ledger_source_events`, in the order of its columns: the event as it came in."""

    id: str
    org_id: str
    source: str
    external_id: str
    dedup_key: str
    raw_body: bytes
    received_at: str


class Domain(NamedTuple):
    """A row of `ledger_domain_events`, in the order of its columns: the event as it counts."""

    org_id: str
    sequence: int
    id: str
    source_event_id: str
    deal_id: str
    event_type: str
    state: str
    occurred_at: str
    source_hash: bytes
    prev_hash: bytes
    hash: bytes


class Deal(NamedTuple):
    """A row of `ledger_deals`, in the order of its columns: the fold of the deal's events."""

    id: str
    org_id: str
    source: str
    external_id: str
    state: str
    last_event_at: str
    updated_at: str
    deleted_at: str | None
    last_sequence: int


def projected(event: Domain, external_id: str) -> Deal:
    """The deal after an event, whatever it was before.

    The snapshot replaces the state; a `delete` keeps the row and marks it, any later event revives it
    (contracts/openquota.md sections 3.1 and 3.5).
    """
    at = event.occurred_at
    deleted_at = at if event.event_type == EventType.DELETE else None
    return Deal(event.deal_id, event.org_id, SOURCE, external_id, event.state, at, at, deleted_at, event.sequence)
