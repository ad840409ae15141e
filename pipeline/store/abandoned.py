"""Abandoned reads: complete reads for a comparison that nobody goes on with any more, and what they have laid down."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, literal, or_, select, tuple_

from pipeline.store.session import later, now
from pipeline.store.side_tables import source_sides
from pipeline.store.tables import checkpoints, connections, leases


def waiting(tx: Connection, stream: str, kept_for: timedelta) -> bool:
    """Whether there is anything to clear away."""
    over = tx.execute(select(connections.c.id).where(_over(tx, stream, kept_for))).scalars().all()
    rows = exists().where(source_sides.c.connection_id.in_(over))  # found in the primary key, however much others read
    places = exists().where(checkpoints.c.stream == stream, checkpoints.c.connection_id.in_(over))
    return bool(tx.execute(select(or_(rows, places))).scalar_one())


def clear(tx: Connection, stream: str, kept_for: timedelta, limit: int) -> int:
    """Forget the places of reads whose last page is older than `kept_for`, and take away at most `limit` of the rows
    that no read will ever go on with; how many those were.

    A connection whose lease somebody holds is left alone, whatever it is at. Several may do this at once: each takes
    rows of its own.
    """
    over = select(connections.c.id).where(_over(tx, stream, kept_for))
    tx.execute(delete(checkpoints).where(checkpoints.c.stream == stream, checkpoints.c.connection_id.in_(over)))
    key = (source_sides.c.connection_id, source_sides.c.source_id)
    some = select(*key).where(source_sides.c.connection_id.in_(over)).limit(limit).with_for_update(skip_locked=True)
    gone: Any = tx.execute(delete(source_sides).where(tuple_(*key).in_(some)))
    return int(gone.rowcount)


def _over(tx: Connection, stream: str, kept_for: timedelta) -> ColumnElement[bool]:
    """Whether nobody works on a connection, and nobody who will can go on from the place that its read has come to.

    Only what holds the lease may lay anything down, together with that place.
    """
    instant = now(tx)
    held = exists().where(leases.c.name == literal("connection ") + connections.c.name, leases.c.expires_at > instant)
    fresh = exists().where(
        checkpoints.c.connection_id == connections.c.id,
        checkpoints.c.stream == stream,
        checkpoints.c.moved_at >= later(instant, -kept_for),
    )
    return ~held & ~fresh
