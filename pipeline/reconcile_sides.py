"""Reconcile's reading of ledger and projection, laid beside what was read of the source, each streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, exists, select

from ledger import bulk
from pipeline.compare import flat, is_tombstone
from pipeline.run import Run
from pipeline.store import projection
from pipeline.store import sides as store_sides
from pipeline.store.connections import FROM_LEDGER
from pipeline.store.joins import same_deal
from pipeline.store.sides import Sides, row
from pipeline.store.tables import deals, events, hints, outbox, receipts
from pipeline.wiring import App

_CHUNK = 500


def read_ledger(app: App, run: Run, sides: Sides) -> None:
    """Lay down what the ledger lists under the connection's prefix."""
    currency, ours = app.settings.ledger.currency, f"{run.scope.prefix}:"
    listed = (deal for deal in app.ledger.deals() if deal.external_id.startswith(ours) and deal.external_id != ours)
    for chunk in bulk.in_chunks(listed, _CHUNK):
        rows = [
            (*row(deal.external_id[len(ours) :], flat(deal.state), not is_tombstone(deal.state), currency), deal.id)
            for deal in chunk
        ]
        sides.put(store_sides.ledger, rows)


def read_projection(run: Run, sides: Sides, currency: str, reading_ledger: str) -> None:
    """Lay down our latest states, as one snapshot. `reading_ledger` is when the ledger began to be read: what it
    has acknowledged since then, its list may not show."""
    with run.store.read() as tx:
        for chunk in bulk.in_chunks(_believed(tx, run, reading_ledger), _CHUNK):
            rows = [(*row(one[0], one[1], one[2], currency), *one[3:]) for one in chunk]
            sides.put(store_sides.projection, rows)


def _believed(tx: Connection, run: Run, reading_ledger: str) -> Iterator[tuple[Any, ...]]:
    """Every projected deal: id, state, alive, version, observed at, and the four reasons why it may be on its way."""
    waits, hinted = (exists().where(same_deal(table, deals)) for table in (outbox, hints))
    found = (
        select(
            deals.c.source_id, events.c.state, deals.c.deleted, deals.c.version, deals.c.observed_at, waits,
            receipts.c.settled_at, deals.c.mapping_id, hinted,
        )
        .join(events, projection.head())
        .outerjoin(receipts, projection.head(receipts))
        .where(deals.c.connection_id == run.scope.connection_id)
    )  # fmt: skip
    for one in tx.execute(found.execution_options(yield_per=_CHUNK)):
        source_id, state, deleted, version, observed_at, waiting, settled_at, mapping_id, hint = one
        moved = settled_at is not None and settled_at >= reading_ledger
        remap = mapping_id not in (run.scope.mapping_id, FROM_LEDGER)
        yield (source_id, state, not deleted, version, observed_at, bool(waiting), moved, remap, bool(hint))
