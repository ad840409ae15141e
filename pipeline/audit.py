"""Audit: who acts, why, and the row that says so for whoever asks later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection

from pipeline.listing import numbered, streamed
from pipeline.store import audits, connections
from pipeline.store.audits import Audit, AuditRow
from pipeline.store.session import now
from pipeline.wiring import App

_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Operator:
    """The person who acts: the name they go by, and why they do it (None where they did not say)."""

    who: str
    why: str | None = None

    def did(
        self, tx: Connection, action: str, *, outcome: str, connection_id: int | None = None, target: str | None = None
    ) -> None:
        """Write down what this person did, in the transaction that does it.

        `action` is the command in words ("parked retry"), `target` what it was done to, `outcome` what came of it.
        """
        why = self.why[:_LONGEST] if self.why else None
        audits.write(tx, AuditRow(now(tx), self.who[:_LONGEST], action, connection_id, target, why, outcome))


NOBODY = Operator("unknown")
"""Stands where a caller does not say who acts."""


def list_audits(
    app: App, *, connection: str | None = None, limit: int | None = None, after: int | None = None
) -> Iterator[dict[str, Any]]:
    """What people did, the oldest first: at most `limit` actions beyond number `after`. Raises `Unknown`."""
    number = numbered(app, connection)
    with app.store.read() as tx:
        names = connections.names(tx)

    def page(tx: Connection, place: int, size: int) -> Iterator[Audit]:
        return audits.listed(tx, connection_id=number, after=place, limit=size)

    for audit in streamed(app.store, page, attrgetter("id"), after=after or 0, limit=limit):
        yield _shown(audit, names)


def latest_audits(
    app: App, *, connection: str | None = None, limit: int = 100, before: int | None = None
) -> list[dict[str, Any]]:
    """What people did, the newest first: at most `limit` actions of those before number `before`. Raises `Unknown`."""
    number = numbered(app, connection)
    with app.store.read() as tx:
        names = connections.names(tx)
        return [_shown(one, names) for one in audits.latest(tx, connection_id=number, before=before, limit=limit)]


def _shown(audit: Audit, names: Mapping[int, str]) -> dict[str, Any]:
    row = audit.row
    return {
        "id": audit.id,
        "at": row.at,
        "who": row.who,
        "action": row.action,
        "connection": names.get(row.connection_id) if row.connection_id is not None else None,
        "target": row.target,
        "reason": row.reason,
        "outcome": row.outcome,
    }
