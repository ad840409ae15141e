"""Ledgers of every kind, and what somebody may do to one behind our back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

from sqlalchemy import select, text

from deals.events import Event
from deals.identity import canonical
from ledger.memory import MemoryLedger
from ledger.port import Receipt
from pipeline.store.tables import events
from pipeline.wiring import App
from tests.ledger import subjects
from tests.pipeline.world import NAME, ledger_states

_numbers = count(1)


@contextmanager
def with_ledger(app: App, kind: str) -> Iterator[App]:
    """The same app over a ledger of that kind: embedded (its own), memory, or remote, served over loopback."""
    with ExitStack() as stack:
        if kind == "memory":
            app = replace(app, ledger=MemoryLedger(now=app.store.now))
        elif kind == "remote":
            app = replace(app, ledger=stack.enter_context(subjects.remote(app.store.engine, batches=True)).ledger)
        yield app


def named(source_id: str) -> str:
    return f"{NAME}:{source_id}"


def tamper(app: App, source_id: str, **changes: Any) -> int:
    """Somebody else writes another state of a deal to the ledger; returns the cents the ledger had before."""
    state = ledger_states(app).get(named(source_id), {"stage": None, "close_date": None, "owner_external_id": None})
    append(app, named(source_id), {**state, **changes})
    return state.get("amount_cents") or 0


def append(app: App, external_id: str, state: dict[str, Any]) -> None:
    [answer] = app.ledger.append([Event(external_id, "upsert", f"somebody-else-{next(_numbers)}", canonical(state))])
    assert isinstance(answer, Receipt), answer


def lose(app: App, source_id: str) -> None:
    """The embedded ledger loses a deal."""
    with app.store.write() as tx:
        tx.execute(text("DELETE FROM ledger_deals WHERE external_id = :name"), {"name": named(source_id)})


def causes(app: App) -> list[tuple[str, str, str]]:
    """Every event that is no ordinary change: the deal, its type, its cause."""
    found = select(events.c.source_id, events.c.event_type, events.c.cause).where(events.c.cause != "source_change")
    with app.store.read() as tx:
        return [tuple(row) for row in tx.execute(found.order_by(events.c.source_id))]
