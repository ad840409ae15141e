"""Audits: what people did, who and why, one row an action."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, insert, select

from pipeline.store.operator_tables import audits


class AuditRow(NamedTuple):
    """One action of a person, in the order of the table's columns (its number left out).

    `target` names what was acted on, within the connection if there is one; `outcome` says what came of it.
    """

    at: str
    who: str
    action: str
    connection_id: int | None
    target: str | None
    reason: str | None
    outcome: str


class Audit(NamedTuple):
    """An action with its number."""

    id: int
    row: AuditRow


def write(tx: Connection, row: AuditRow) -> None:
    """Keep an action; it is committed together with what it did, or not at all."""
    tx.execute(insert(audits).values(**row._asdict()))


def listed(tx: Connection, *, connection_id: int | None, after: int, limit: int | None) -> Iterator[Audit]:
    """Actions in the order they were taken, those beyond number `after`, of one connection or of all."""
    found = select(audits).where(audits.c.id > after)
    if connection_id is not None:
        found = found.where(audits.c.connection_id == connection_id)
    for row in tx.execute(found.order_by(audits.c.id).limit(limit)):
        yield Audit(row[0], AuditRow._make(row[1:]))


def latest(tx: Connection, *, connection_id: int | None, before: int | None, limit: int) -> list[Audit]:
    """The latest actions, the last one first: those before number `before`, of one connection or of all."""
    found = select(audits).order_by(audits.c.id.desc()).limit(limit)
    if before is not None:
        found = found.where(audits.c.id < before)
    if connection_id is not None:
        found = found.where(audits.c.connection_id == connection_id)
    return [Audit(row[0], AuditRow._make(row[1:])) for row in tx.execute(found)]
