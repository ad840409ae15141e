"""Reconcile's reading: source, ledger and projection laid side by side, each streamed, nothing landed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, exists, select

from connectors.source import Page
from deals.identity import digest, state_bytes
from ledger import bulk
from mappings.outcome import Mapped
from pipeline.ahead import ahead
from pipeline.batch import Seen
from pipeline.compare import flat, is_tombstone
from pipeline.run import Run
from pipeline.store import sides as store_sides
from pipeline.store.connections import FROM_LEDGER
from pipeline.store.sides import Sides, row
from pipeline.store.tables import deals, events, hints, outbox, receipts
from pipeline.wiring import App

_CHUNK = 500


def read_source(run: Run, sides: Sides, currency: str, *, keep_raw: bool) -> list[str]:
    """Read the source completely and map its records; what speaks against its witness of absence.

    `keep_raw` keeps the records themselves as well, for whoever wants to land them.
    """
    doubts: list[str] = []
    for page in ahead(run.reader.everything(run.checkpoint("pull"))):
        doubts += page.doubts
        if any(bad.source_id is None for bad in page.spoiled):
            doubts.append("a record without a readable id was among those read")
        sides.put(store_sides.source, list(_records(run, page, currency, keep_raw)))
    if sides.count(store_sides.source) == 0:
        doubts.append("the source showed no deals at all")
    return list(dict.fromkeys(doubts))


def read_ledger(app: App, run: Run, sides: Sides) -> None:
    """Lay down what the ledger lists under the connection's prefix."""
    currency, ours = app.settings.ledger.currency, f"{run.scope.prefix}:"
    prefixes = (one.external_id_prefix or name for name, one in app.settings.connections.items())
    narrower = tuple(f"{one}:" for one in prefixes if one.startswith(ours))
    listed = (deal for deal in app.ledger.deals() if deal.external_id.startswith(ours) and deal.external_id != ours)
    for chunk in bulk.in_chunks(listed, _CHUNK):
        rows = [
            (*row(deal.external_id[len(ours) :], flat(deal.state), not is_tombstone(deal.state), currency), deal.id)
            for deal in chunk
            if not deal.external_id.startswith(narrower)
        ]
        sides.put(store_sides.ledger, rows)


def read_projection(run: Run, sides: Sides, currency: str, reading_ledger: str) -> None:
    """Lay down our latest states, as one snapshot. `reading_ledger` is when the ledger began to be read: what it
    has acknowledged since then, its list may not show."""
    with run.store.read() as tx:
        for chunk in bulk.in_chunks(_believed(tx, run, reading_ledger), _CHUNK):
            rows = [(*row(one[0], one[1], one[2], currency), *one[3:]) for one in chunk]
            sides.put(store_sides.projection, rows)


def _records(run: Run, page: Page, currency: str, keep_raw: bool) -> Iterable[tuple[Any, ...]]:
    """The rows of a page: a state where the record can be mapped, none where it cannot or says that it is gone."""
    seen = [Seen(record, digest(record.raw)) for record in page.records]
    found = run.look_over(page, seen)
    for record, name in seen:
        reading = found.get(name)
        state = state_bytes(reading.state).decode() if isinstance(reading, Mapped) and not record.deleted else None
        readable = record.deleted or state is not None
        raw = record.raw if keep_raw else None
        told = (readable, record.deleted, record.kind, record.version, page.requested_at, name, raw)
        yield (*row(record.source_id, state, state is not None, currency), *told)
    for bad in page.spoiled:
        if bad.source_id is not None:
            told = (False, False, "", None, page.requested_at, digest(bad.raw), None)
            yield (*row(bad.source_id, None, False, currency), *told)


def _believed(tx: Connection, run: Run, reading_ledger: str) -> Iterator[tuple[Any, ...]]:
    """Every projected deal: id, state, alive, version, observed at, and the four reasons why it may be on its way."""
    same = (events, receipts)
    head, settled = (
        (table.c.connection_id == deals.c.connection_id)
        & (table.c.source_id == deals.c.source_id)
        & (table.c.revision == deals.c.revision)
        for table in same
    )
    waits, hinted = (
        exists().where(table.c.connection_id == deals.c.connection_id, table.c.source_id == deals.c.source_id)
        for table in (outbox, hints)
    )
    found = (
        select(
            deals.c.source_id, events.c.state, deals.c.deleted, deals.c.version, deals.c.observed_at, waits,
            receipts.c.settled_at, deals.c.mapping_id, hinted,
        )
        .join(events, head)
        .outerjoin(receipts, settled)
        .where(deals.c.connection_id == run.scope.connection_id)
    )  # fmt: skip
    for one in tx.execute(found.execution_options(yield_per=_CHUNK)):
        source_id, state, deleted, version, observed_at, waiting, settled_at, mapping_id, hint = one
        moved = settled_at is not None and settled_at >= reading_ledger
        remap = mapping_id not in (run.scope.mapping_id, FROM_LEDGER)
        yield (source_id, state, not deleted, version, observed_at, bool(waiting), moved, remap, bool(hint))
