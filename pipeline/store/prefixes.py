"""Prefixes: what the ids begin with by which the ledger was told of a connection's deals."""

from __future__ import annotations

from sqlalchemy import Connection, exists, literal, select

from pipeline.store.tables import events


def told_otherwise(tx: Connection, connection_id: int, prefix: str) -> str | None:
    """An id by which the ledger was told of a deal of this connection, when it was told of none under this prefix."""
    column = events.c
    first = select(column.external_id, column.source_id).where(column.connection_id == connection_id)
    told = tx.execute(first.order_by(column.source_id, column.revision).limit(1)).one_or_none()
    if told is None or told.external_id == f"{prefix}:{told.source_id}":
        return None
    mine = column.connection_id == connection_id, column.external_id == literal(f"{prefix}:") + column.source_id
    return None if tx.execute(select(exists().where(*mine))).scalar_one() else str(told.external_id)
