"""Rebuilding: the store believes of a connection's deals what the ledger holds, and can use no old key again."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, delete, func, insert, literal, select, update

from deals.events import Cause, EventType
from deals.identity import dedup_key, digest, external_id
from ledger import bulk
from pipeline.batch import Scope
from pipeline.compare import sound
from pipeline.store import projection, vault
from pipeline.store.connections import FROM_LEDGER
from pipeline.store.operator_tables import held_events, held_sets
from pipeline.store.outbox import EventRow
from pipeline.store.projection import DealRow
from pipeline.store.session import now
from pipeline.store.sides import Listed
from pipeline.store.tables import events, outbox, parked, receipts

WITHDRAWN = "withdrawn"
"""The receipt of an event that was never sent from here, since the ledger itself was asked what it holds."""


def withdraw(tx: Connection, connection_id: int) -> int:
    """Take back every event of the connection that waits; how many there were.

    A restored store may hold events that were sent long ago. What they had to say is decided anew.
    """
    at = now(tx)
    of_connection = outbox.c.connection_id == connection_id
    place = (outbox.c.connection_id, outbox.c.source_id, outbox.c.revision)
    nothing = literal("")
    columns = ["connection_id", "source_id", "revision", "outcome", "source_event_id", "domain_event_id", "deal_id"]
    taken = select(*place, literal(WITHDRAWN), nothing, nothing, nothing, literal(at)).where(of_connection)
    tx.execute(insert(receipts).from_select([*columns, "settled_at"], taken))
    refused = and_(parked.c.connection_id == connection_id, parked.c.stage == "event", parked.c.state == "open")
    note = "the store was rebuilt from the ledger"
    tx.execute(update(parked).where(refused).values(state="superseded", closed_at=at, closing_note=note))
    waiting = and_(held_sets.c.connection_id == connection_id, held_sets.c.state == "held")
    decided = {"state": "discarded", "decided_at": at, "decided_by": "recover", "note": note}
    tx.execute(update(held_sets).where(waiting).values(**decided))
    tx.execute(delete(held_events).where(held_events.c.connection_id == connection_id))
    return int(tx.execute(delete(outbox).where(of_connection)).rowcount)


def adopt(tx: Connection, scope: Scope, kind: str, listed: Sequence[Listed]) -> int:
    """Give each deal the state that the ledger holds, as a revision the ledger has already; how many needed one.

    The revision's key is never sent. It stands in the chain of keys, so no later key can be one that was used before.
    `kind` is that of a deal never seen before, until a record of it lands.
    """
    known = projection.lookup(tx, scope.connection_id, [deal.source_id for deal in listed])
    sound_ones = (deal._replace(state=sound(deal.state)) for deal in listed)
    fresh = [deal for deal in sound_ones if not _agrees(known.get(deal.source_id), deal)]
    if not fresh:
        return 0
    at = now(tx)
    block = vault.keep(tx, [deal.state.encode() for deal in fresh], at)
    rows, told, settled = [], [], []
    for place, deal in enumerate(fresh):
        row = _adopted(scope, known.get(deal.source_id), deal, kind)._replace(raw_block=block, raw_position=place)
        rows.append(row)
        told.append(_event(scope, row, deal, at))
        settled.append((scope.connection_id, row.source_id, row.revision, "already_there", "", "", deal.deal_id, at))
    projection.save(tx, scope.connection_id, rows, new={row.source_id for row in rows if row.source_id not in known})
    bulk.insert(tx, events, told)
    bulk.insert(tx, receipts, settled)
    return len(fresh)


def deals_told(tx: Connection, connection_id: int) -> bool:
    """Whether the ledger ever answered for an event of this connection."""
    found = select(func.count()).select_from(
        select(receipts.c.revision).where(receipts.c.connection_id == connection_id).limit(1).subquery()
    )
    return bool(tx.execute(found).scalar_one())


def _agrees(row: DealRow | None, deal: Listed) -> bool:
    return row is not None and row.state_digest == digest(deal.state.encode()) and row.deleted != deal.alive


def _adopted(scope: Scope, row: DealRow | None, deal: Listed, kind: str) -> DealRow:
    """The deal's next revision: nothing of the source was observed, so whatever it shows next counts."""
    raw = deal.state.encode()
    revision = row.revision + 1 if row is not None else 1
    key = dedup_key(
        epoch=scope.epoch,
        connection=scope.connection,
        source_id=deal.source_id,
        revision=revision,
        previous=row.head_key if row is not None else "",
        change=(_type(deal), digest(raw)),
    )
    return DealRow(
        deal.source_id, row.kind if row is not None else kind, revision, key, digest(raw), not deal.alive, digest(raw),
        0, 0, None, "", FROM_LEDGER,
    )  # fmt: skip


def _event(scope: Scope, row: DealRow, deal: Listed, at: str) -> EventRow:
    return EventRow(
        scope.connection_id, row.source_id, row.revision, row.head_key, external_id(scope.prefix, row.source_id),
        _type(deal), deal.state, Cause.REPAIR, row.raw_digest, row.raw_block, row.raw_position, None, FROM_LEDGER,
        scope.run_id, at,
    )  # fmt: skip


def _type(deal: Listed) -> EventType:
    return EventType.UPSERT if deal.alive else EventType.DELETE
