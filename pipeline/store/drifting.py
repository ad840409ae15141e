"""Drift: what the sources say that the mappings do not claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, select

from ledger import bulk
from pipeline.store.tables import drift


def add(tx: Connection, connection_id: int, counts: Mapping[str, int], at: str) -> None:
    """Count records that bore unclaimed keys."""
    rows = [(connection_id, path, records, at, at) for path, records in counts.items()]
    bulk.upsert(tx, drift, rows, add=("records",), keep=("first_seen",))


def forget(tx: Connection, connection_id: int, before: str) -> None:
    """Keys that no record has borne unclaimed since a time drift no more: a table claims or ignores them by now."""
    tx.execute(delete(drift).where(drift.c.connection_id == connection_id, drift.c.last_seen < before))


def listed(tx: Connection, connection_id: int, limit: int | None = None) -> list[dict[str, Any]]:
    """The unclaimed keys of a connection, the most frequent first: how many records bore each, from when to when."""
    found = select(drift.c.path.label("key"), drift.c.records, drift.c.first_seen, drift.c.last_seen)
    found = found.where(drift.c.connection_id == connection_id).order_by(drift.c.records.desc(), drift.c.path)
    return [dict(row) for row in tx.execute(found.limit(limit)).mappings()]


def counts(tx: Connection) -> dict[int, int]:
    """How many unclaimed keys the records of each connection have."""
    return {
        row[0]: row[1]
        for row in tx.execute(select(drift.c.connection_id, func.count()).group_by(drift.c.connection_id))
    }
