"""Pauses: the connections that a person has told us not to read by ourselves."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from ledger import bulk
from pipeline.store.operator_tables import pauses


class Pause(NamedTuple):
    """Since when a connection is paused, who said so and why."""

    since: str
    who: str
    reason: str | None


def begin(tx: Connection, connection_id: int, pause: Pause) -> None:
    """Pause a connection; one that is paused already keeps the time since when."""
    bulk.upsert(tx, pauses, [(connection_id, *pause)], keep=("since",))


def end(tx: Connection, connection_id: int) -> bool:
    """Let a connection be read again; whether it was paused."""
    return tx.execute(delete(pauses).where(pauses.c.connection_id == connection_id)).rowcount > 0


def all_of_them(tx: Connection) -> dict[int, Pause]:
    """Every pause by the number of its connection."""
    return {row[0]: Pause(*row[1:]) for row in tx.execute(select(pauses))}
