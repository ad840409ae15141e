"""Levels: how much waits where, since when, and what stands still, for monitors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import Connection

from pipeline import schedule
from pipeline.store import (
    ages,
    backfills,
    connections,
    held,
    hints,
    inbox,
    incidents,
    outbox,
    parking,
    pauses,
    references,
)
from pipeline.store.session import now
from pipeline.wiring import App

LEVELS = {
    "waiting": "Deliveries that nobody has read yet.",
    "unknown": "Deliveries of events that need no looking at, of the last 30 days.",
    "unreadable": "Deliveries that were proven but cannot be read, of the last 30 days.",
    "hinted": "Deals that deliveries ask to look at.",
    "unpublished": "Events that are not in the ledger yet.",
    "oldest_delivery_seconds": "For how long the oldest delivery has waited that nobody has read yet.",
    "oldest_hint_seconds": "For how long the deal has waited to be looked at that was announced first.",
    "oldest_event_seconds": "How old the oldest event is that could be in the ledger and is not.",
    "last_pull_timestamp_seconds": "When the latest successful pull ended, in Unix time; 0 before the first.",
    "pull_interval_seconds": "How far pulls lie apart, as the settings and the source's quota have it.",
    "parked": "Records and events that need a person.",
    "held": "Events of runs that deleted too much, which a person must release or discard.",
    "paused": "1 while a person has paused the connection.",
    "lacking": "Kinds of reference data that the source refuses to show, although it shows the deals.",
    "stopped": "1 while the connection is left alone because its source refuses us.",
    "backfills_running": "Backfills that are not through.",
    "backfill_chunks_failed": "Chunks that failed, of backfills that were not cancelled.",
}
"""What is told of each connection, and what it means."""

BUDGET_LEFT = "budget_left"
"""Of each account: how many requests may be sent at this moment, by the limit that leaves the fewest."""

INCIDENTS = "incidents"
"""Events that the ledger held before they were first sent, or holds otherwise, and that nobody has acknowledged; of all
connections."""

Numbers: TypeAlias = Mapping[int, float]


def levels(app: App) -> list[tuple[str, str, float]]:
    """What there is, as (level, connection or account, number). Every connection has every level of `LEVELS`."""
    with app.store.read() as tx:
        rows = {row.name: row for row in connections.all_of_them(tx)}
        found = _numbers(tx, datetime.fromisoformat(now(tx)).timestamp())
        met = incidents.events(tx)
    stopped = {row.id: 1.0 for row in rows.values() if row.state == "refused"}
    told: list[tuple[str, str, float]] = [(INCIDENTS, "", met)]
    for name, chosen in app.settings.connections.items():
        number = rows[name].id if name in rows else 0
        interval = schedule.least_interval(chosen).total_seconds()
        numbers = {level: of.get(number, 0) for level, of in found.items()}
        numbers |= {"stopped": stopped.get(number, 0), "pull_interval_seconds": interval}
        told += [(level, name, numbers[level]) for level in LEVELS]
    told += [(BUDGET_LEFT, account, left) for account, left in app.budgets_left().items()]
    return told


def _numbers(tx: Connection, instant: float) -> dict[str, Numbers]:
    """Each level that the store tells of, by the numbers of connections; most are counted in an index of their own."""
    deliveries = inbox.tally(tx)
    found: dict[str, Numbers] = {
        state: {number: many for (number, one), many in deliveries.items() if one == state}
        for state in ("waiting", "unknown", "unreadable")
    }

    def age(since: Callable[[Connection], Mapping[int, str]]) -> Numbers:
        return {number: max(0.0, instant - _moment(at)) for number, at in since(tx).items()}

    return found | {
        "hinted": hints.tally(tx),
        "unpublished": outbox.waiting(tx),
        "oldest_delivery_seconds": age(ages.deliveries),
        "oldest_hint_seconds": age(ages.hinted),
        "last_pull_timestamp_seconds": {number: _moment(at) for number, at in ages.pulled(tx).items()},
        "parked": parking.counts(tx),
        "held": held.counts(tx),
        "lacking": {number: len(refused) for number, refused in references.refusals(tx).items()},
        "paused": dict.fromkeys(pauses.all_of_them(tx), 1.0),
        "backfills_running": backfills.running(tx),
        "backfill_chunks_failed": backfills.chunks_failed(tx),
        "oldest_event_seconds": age(ages.unpublished),
    }


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
