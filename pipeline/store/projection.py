"""The projection: our latest knowledge of each deal, looked up a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select, text
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause

from deals.identity import decode_json
from deals.state import DealState, from_wire
from ledger import bulk
from pipeline.store.connections import FROM_LEDGER
from pipeline.store.joins import same_event
from pipeline.store.tables import deals, events
from pipeline.store.vault import RawRef


class DealRow(NamedTuple):
    """One deal as projected, in the order of the table's columns (the connection left out)."""

    source_id: str
    kind: str
    revision: int
    head_key: str
    state_digest: bytes
    deleted: bool
    raw_digest: bytes
    raw_block: int
    raw_position: int
    version: str | None
    observed_at: str
    mapping_id: int

    @property
    def raw(self) -> RawRef:
        """Where the record last applied lies in the vault."""
        return RawRef(self.raw_digest, self.raw_block, self.raw_position)


_BETWEEN = "\x1f"
"""Stands between ids: no id that a source shows in print bears it (connectors/slicing.py spoils others)."""

_DIFFERING = text(
    "SELECT seen.place FROM unnest(string_to_array(:ids, chr(31))) WITH ORDINALITY AS seen (id, place) "
    "LEFT JOIN deals ON deals.connection_id = :connection AND deals.source_id = seen.id "
    "WHERE deals.raw_digest IS DISTINCT FROM substring(:digests FROM (seen.place::int - 1) * 32 + 1 FOR 32) "
    "OR deals.mapping_id <> :mapping OR deals.deleted ORDER BY seen.place"
)

_COLUMNS = [deals.c[name] for name in DealRow._fields]


def lock(tx: Connection, connection_id: int) -> None:
    """Let nobody else apply records of this connection until the transaction ends.

    SQLite has one writer anyway. PostgreSQL frees the lock with the transaction, whatever becomes of its owner.
    """
    if tx.dialect.name == "postgresql":
        tx.execute(text("SELECT pg_advisory_xact_lock(:what, :which)"), {"what": 0x6465616C, "which": connection_id})
        bulk.by_index(tx)


def differing(tx: Connection, connection_id: int, mapping_id: int, observed: Sequence[tuple[str, bytes]]) -> list[int]:
    """The positions among `observed` (source id, digest of the record) that are not just as they are projected.

    One statement for a page, and on PostgreSQL only what differs travels back: in a pass in which nothing changed that
    is nothing. Ids go as one text, since a list of them costs more to send than to look up.
    """
    if tx.dialect.name == "postgresql":
        values = {
            "connection": connection_id,
            "mapping": mapping_id,
            "ids": _BETWEEN.join(source_id for source_id, _ in observed),
            "digests": b"".join(name for _, name in observed),
        }
        return [place - 1 for place in tx.execute(_DIFFERING, values).scalars()]
    same = select(deals.c.source_id, deals.c.raw_digest).where(
        deals.c.connection_id == connection_id,
        deals.c.mapping_id == mapping_id,
        deals.c.deleted.is_(False),
        bulk.among(tx, deals.c.source_id, [source_id for source_id, _ in observed]),
    )
    known = {row[0]: row[1] for row in tx.execute(same)}
    return [place for place, (source_id, name) in enumerate(observed) if known.get(source_id) != name]


def lookup(tx: Connection, connection_id: int, source_ids: Sequence[str]) -> dict[str, DealRow]:
    """The projected deals among these ids: one statement, however many."""
    found = select(*_COLUMNS).where(
        deals.c.connection_id == connection_id, bulk.among(tx, deals.c.source_id, source_ids)
    )
    return {row[0]: DealRow._make(row) for row in tx.execute(found)}


def head(event: FromClause = events, deal: FromClause = deals) -> ColumnElement[bool]:
    """Whether an event, or its receipt, is that of a deal's present state."""
    return same_event(event, deal)


def states(tx: Connection, connection_id: int, source_ids: Sequence[str]) -> dict[str, DealState]:
    """The present canonical state of these deals."""
    found = select(deals.c.source_id, events.c.state).join(events, head())
    found = found.where(deals.c.connection_id == connection_id, bulk.among(tx, deals.c.source_id, source_ids))
    return {source_id: from_wire(decode_json(state)) for source_id, state in tx.execute(found)}


def save(tx: Connection, connection_id: int, rows: Sequence[DealRow], *, new: set[str]) -> None:
    """Write deals; which of them are `new` only the holder of `lock` can say."""
    added = [(connection_id, *row) for row in rows if row.source_id in new]
    changed = [(connection_id, *row) for row in rows if row.source_id not in new]
    bulk.insert(tx, deals, added, ("connection_id", *DealRow._fields))
    bulk.upsert(tx, deals, changed)


def read_with_other_mappings(
    tx: Connection, connection_id: int, mapping_id: int, *, after: tuple[int, str], limit: int
) -> list[DealRow]:
    """Living deals last mapped with another version, in the order of the vault, so that each block is opened once.

    Deals whose state was taken from the ledger have no record to map.
    """
    place = text("(raw_block, source_id) > (:block, :id)").bindparams(block=after[0], id=after[1])
    found = select(*_COLUMNS).where(
        deals.c.connection_id == connection_id,
        deals.c.mapping_id.not_in((mapping_id, FROM_LEDGER)),
        deals.c.deleted.is_(False),
        place,
    )
    ordered = found.order_by(deals.c.raw_block, deals.c.source_id).limit(limit)
    return [DealRow._make(row) for row in tx.execute(ordered)]


def counts(tx: Connection) -> dict[int, int]:
    """How many deals that are not deleted each connection has."""
    alive = select(deals.c.connection_id, func.count()).where(deals.c.deleted.is_(False))
    return {row[0]: row[1] for row in tx.execute(alive.group_by(deals.c.connection_id))}
