"""Days: how many deals of a connection were deleted since its day began, whatever runs did it."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, exists, select

from ledger import bulk
from pipeline.store import held
from pipeline.store.operator_tables import held_sets
from pipeline.store.session import later
from pipeline.store.tables import facts

_FACT = "deleted in a day of connection {}"
_LENGTH = timedelta(days=1)


class Day(NamedTuple):
    """A day of a connection, `since` its first delete. So many deals were `living` in it when they were last counted,
    those included that were deleted since it began.

    `number` is the change set that takes in the tombstones of the day, once they were too many.
    """

    since: str
    living: int
    deletes: int = 0
    number: int | None = None


def under_way(tx: Connection, connection_id: int, at: str) -> Day | None:
    """The day of a connection, unless it is over; one whose change set waits for a person lasts until the decision.

    Whatever a person decides about deletes of the connection ends its day: what comes then counts anew.
    """
    known = tx.execute(select(facts.c.value).where(facts.c.name == _FACT.format(connection_id))).scalar_one_or_none()
    if known is None:
        return None
    day = msgspec.json.decode(known, type=Day)
    if day.number is not None:
        return day if held.waits(tx, day.number) else None
    decided = exists().where(held_sets.c.connection_id == connection_id, held_sets.c.decided_at >= day.since)
    return day if at < later(day.since, _LENGTH) and not tx.execute(select(decided)).scalar_one() else None


def keep(tx: Connection, connection_id: int, day: Day) -> None:
    """Write a connection's day down; whoever does it holds the lock of its deals."""
    bulk.upsert(tx, facts, [(_FACT.format(connection_id), msgspec.json.encode(day).decode())])
