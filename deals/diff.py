"""Diff: what happened to a deal between two states, and the fold that undoes the question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from deals.events import EventType
from deals.identity import state_bytes
from deals.state import DealState

DELETED = "deleted"
"""The custom key of a tombstone: the ledger's `delete` is only a hint, so the state says it as well."""


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a deal's history: the type the ledger is told, and the complete state after it."""

    event_type: EventType
    state: DealState


def diff(before: DealState | None, after: DealState) -> Change | None:
    """What has to be told of a deal that was `before` (None: never seen) and is `after`; None when nothing changed.

    First sight, a return from deletion, or several fields at once are an `upsert`; only the stage a `stage_change`;
    only the amount an `amount_change`. 100 -> 200 -> 100 is three changes when seen one by one.
    """
    if before is None or DELETED in before.custom:
        return Change(EventType.UPSERT, after)
    if _same(before, after):
        return None
    if _same(replace(before, stage=after.stage), after):
        return Change(EventType.STAGE_CHANGE, after)
    if _same(replace(before, amount_cents=after.amount_cents), after):
        return Change(EventType.AMOUNT_CHANGE, after)
    return Change(EventType.UPSERT, after)


def tombstone(last: DealState) -> Change:
    """The deal is gone: its last state with no amount to pay on, marked as deleted."""
    gone = replace(last, amount_cents=0, custom={**last.custom, DELETED: True})
    return Change(EventType.DELETE, gone)


def fold(changes: Iterable[Change]) -> DealState | None:
    """The state after a history: each event carries a complete snapshot, so the last one is the state."""
    state = None
    for change in changes:
        state = change.state
    return state


def _same(one: DealState, other: DealState) -> bool:
    """Compared as sent: for Python `True` and `1` are equal, for a plan rule they are not."""
    return state_bytes(one) == state_bytes(other)
