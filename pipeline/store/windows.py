"""Windows: what reconciling each close month came to, and how far each connection is verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from ledger import bulk
from pipeline.store.tables import reconciliation_windows, verifications


class WindowRow(NamedTuple):
    """One window of one reconcile, in the order of the table's columns."""

    run_id: int
    month: str
    connection_id: int
    state: str
    deals_differing: int
    deals_pending: int
    delta_cents: str
    held: str
    checked_at: str


class Verification(NamedTuple):
    """How far a connection is verified, by which run and when."""

    connection_id: int
    verified_through: str | None
    run_id: int
    checked_at: str


def record(tx: Connection, rows: Sequence[WindowRow], verification: Verification) -> None:
    """Keep the windows of a reconcile and the mark it came to. Failed windows of earlier ones stay on record."""
    of_connection = reconciliation_windows.c.connection_id == verification.connection_id
    tx.execute(delete(reconciliation_windows).where(of_connection, reconciliation_windows.c.state != "failed"))
    bulk.insert(tx, reconciliation_windows, rows)
    bulk.upsert(tx, verifications, [verification])


def of_run(tx: Connection, run_id: int) -> list[WindowRow]:
    """Every window of one reconcile that is still kept."""
    found = select(reconciliation_windows).where(reconciliation_windows.c.run_id == run_id)
    return [WindowRow(*row) for row in tx.execute(found)]


def failed_before(tx: Connection, connection_id: int, run_id: int, limit: int) -> list[WindowRow]:
    """The latest windows that failed in a connection's reconciles before this one, the last one first."""
    found = select(reconciliation_windows).where(
        reconciliation_windows.c.connection_id == connection_id,
        reconciliation_windows.c.state == "failed",
        reconciliation_windows.c.run_id < run_id,
    )
    ordered = found.order_by(reconciliation_windows.c.run_id.desc(), reconciliation_windows.c.month)
    return [WindowRow(*row) for row in tx.execute(ordered.limit(limit))]


def differing(tx: Connection) -> dict[int, int]:
    """In how many months the latest reconcile of each connection found differences; those without are left out."""
    latest = reconciliation_windows.c.run_id == verifications.c.run_id
    found = select(verifications.c.connection_id, func.count()).join(reconciliation_windows, latest)
    failed = found.where(reconciliation_windows.c.state == "failed").group_by(verifications.c.connection_id)
    return {row[0]: row[1] for row in tx.execute(failed)}


def verified(tx: Connection) -> dict[int, Verification]:
    """How far each connection is verified, by its number."""
    return {row.connection_id: Verification(*row) for row in tx.execute(select(verifications))}
