"""Checkpoints: how far a stream of a connection has been read, moved only with the page it belongs to."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select

from ledger import bulk
from pipeline.store.tables import checkpoints


class Checkpoint(NamedTuple):
    """How far a stream has been read: `text` is its cursor as JSON."""

    stream: str
    text: str
    run_id: int
    moved_at: str

    @property
    def cursor(self) -> dict[str, Any]:
        """The committed cursor."""
        found: dict[str, Any] = json.loads(self.text)
        return found


def listed(tx: Connection, connection_id: int) -> list[Checkpoint]:
    """The checkpoints of a connection, by stream."""
    found = select(checkpoints.c.stream, checkpoints.c.cursor, checkpoints.c.run_id, checkpoints.c.moved_at)
    found = found.where(checkpoints.c.connection_id == connection_id).order_by(checkpoints.c.stream)
    return [Checkpoint._make(row) for row in tx.execute(found)]


def read(tx: Connection, connection_id: int, stream: str) -> dict[str, Any] | None:
    """The committed cursor of a stream."""
    found = select(checkpoints.c.cursor).where(
        checkpoints.c.connection_id == connection_id, checkpoints.c.stream == stream
    )
    cursor = tx.execute(found).scalar_one_or_none()
    return None if cursor is None else json.loads(cursor)


def moved_at(tx: Connection, connection_id: int, stream: str) -> str | None:
    """When the last page that moved the cursor was asked for; None when the stream was never read."""
    found = select(checkpoints.c.moved_at).where(
        checkpoints.c.connection_id == connection_id, checkpoints.c.stream == stream
    )
    return tx.execute(found).scalar_one_or_none()


def move(tx: Connection, place: tuple[int, str], cursor: dict[str, Any], *, run_id: int, at: str) -> None:
    """Commit a cursor together with what this transaction landed; `place` is (connection id, stream)."""
    row = (*place, json.dumps(cursor, separators=(",", ":"), sort_keys=True), run_id, at)
    bulk.upsert(tx, checkpoints, [row])


def forget(tx: Connection, connection_id: int, stream: str) -> None:
    """The stream is read from its beginning next time."""
    tx.execute(delete(checkpoints).where(checkpoints.c.connection_id == connection_id, checkpoints.c.stream == stream))
