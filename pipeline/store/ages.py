"""Ages: since when what waits has waited, and when each connection was last pulled; by the numbers of connections."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, and_, func, select

from ledger import bulk
from pipeline.store.hints import PULL
from pipeline.store.tables import connections, events, hints, inbox, outbox, runs


def deliveries(tx: Connection) -> dict[int, str]:
    """When the oldest delivery came that nobody has read yet."""
    first = func.min(inbox.c.received_at)
    found = select(inbox.c.connection_id, first).where(inbox.c.state == "waiting").group_by(inbox.c.connection_id)
    return _by_number(tx, found)


def hinted(tx: Connection) -> dict[int, str]:
    """When that deal was announced, of those that were not looked at, which was announced before all others."""
    first = func.min(hints.c.hinted_at)
    found = select(hints.c.connection_id, first).where(hints.c.source_id != PULL).group_by(hints.c.connection_id)
    return _by_number(tx, found)


def unpublished(tx: Connection) -> dict[int, str]:
    """When the oldest event was decided that is not in the ledger; those that wait for a person are left out."""
    bulk.by_index(tx)
    same = and_(*(events.c[name] == outbox.c[name] for name in ("connection_id", "source_id", "revision")))
    found = select(outbox.c.connection_id, func.min(events.c.recorded_at)).join(events, same)
    return _by_number(tx, found.where(outbox.c.parked.is_(False)).group_by(outbox.c.connection_id))


def pulled(tx: Connection) -> dict[int, str]:
    """When the latest pull ended that came to its end, where there was one."""
    ended = select(runs.c.ended_at).where(
        runs.c.connection_id == connections.c.id, runs.c.kind == "pull", runs.c.state == "done"
    )
    last = ended.order_by(runs.c.id.desc()).limit(1).scalar_subquery()
    return _by_number(tx, select(connections.c.id, last))


def _by_number(tx: Connection, found: Select[Any]) -> dict[int, str]:
    return {row[0]: row[1] for row in tx.execute(found) if row[1] is not None}
