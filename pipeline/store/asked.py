"""Asked: the runs that a person wants now, whatever the schedule says."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from ledger import bulk
from pipeline.store.operator_tables import asked
from pipeline.store.tables import runs


def want(tx: Connection, connection_id: int, verb: str, at: str) -> None:
    """Ask for a run that begins after `at`; however often it is asked for, one run answers it."""
    bulk.upsert(tx, asked, [(connection_id, verb, at)])


def unanswered(tx: Connection) -> set[tuple[int, str]]:
    """Connection and verb of what was asked for and has not begun since, as the latest run of each says."""
    same = runs.c.connection_id == asked.c.connection_id, runs.c.kind == asked.c.verb
    latest = select(runs.c.started_at).where(*same).order_by(runs.c.id.desc()).limit(1).scalar_subquery()
    waiting = func.coalesce(latest, "") <= asked.c.asked_at
    return {(row[0], row[1]) for row in tx.execute(select(asked.c.connection_id, asked.c.verb).where(waiting))}
