"""Hints on file: the records that deliveries asked us to look at, one row a record however often it was asked."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Connection, and_, delete, func, select, tuple_, update
from sqlalchemy.sql.elements import ColumnElement

from connectors.hints import Hint
from ledger import bulk
from pipeline.store.session import later
from pipeline.store.tables import hints

PULL = ""
"""In the place of a source id: a pull is asked for."""

HELD = timedelta(seconds=120)
"""How long a record that somebody went to look at is left to them."""


class Wanted(NamedTuple):
    """A record to look at. `number` is that of the latest hint; `behind_since` is set once the source lagged.

    `crashes` says how often somebody went to look and was not heard of again.
    """

    source_id: str
    version: str | None
    deleted: bool
    number: int
    hinted_at: str
    attempts: int
    behind_since: str | None
    crashes: int


def want(tx: Connection, connection_id: int, asked: Iterable[Hint], at: str, *, due_at: str | None = None) -> None:
    """Ask for records to be looked at, now or from `due_at` on; what was asked of them before is not forgotten."""
    merged: dict[str, Hint] = {}
    for hint in asked:
        known = merged.get(hint.source_id, hint)
        version = max(filter(None, (known.version, hint.version)), default=None)
        merged[hint.source_id] = Hint(hint.source_id, version, known.deleted or hint.deleted)
    number = secrets.randbits(62)
    rows = [
        (connection_id, one.source_id, one.version, one.deleted, number, at, due_at or at, 0, None, 0)
        for _, one in sorted(merged.items())
    ]
    told = "coalesce(excluded.version, hints.version)"
    newer = f"CASE WHEN hints.version > excluded.version THEN hints.version ELSE {told} END"
    sooner = "CASE WHEN hints.due_at < excluded.due_at THEN hints.due_at ELSE excluded.due_at END"
    mark = "%s" if tx.dialect.name == "postgresql" else "?"
    marks = ", ".join([mark] * len(hints.columns))
    if rows:
        tx.exec_driver_sql(
            f"INSERT INTO hints ({', '.join(hints.columns.keys())}) VALUES ({marks}) "  # noqa: S608
            f"ON CONFLICT (connection_id, source_id) DO UPDATE SET version = {newer}, "
            f"deleted = hints.deleted OR excluded.deleted, number = excluded.number, hinted_at = excluded.hinted_at, "
            f"due_at = {sooner}, attempts = 0, behind_since = NULL",
            rows,
        )


def take(tx: Connection, connection_id: int, at: str, limit: int, *, pulls: bool) -> list[Wanted]:
    """Records that are due (or with `pulls`: the pull that is), the longest waiting first.

    Nobody else is given them for a while. Two may come to look at one record all the same, when one of them is slow:
    that costs a request and nothing else. A record that may have crashed whoever looked is given out by itself, after
    all others: so that nothing is blamed for its neighbour.
    """
    due = (
        select(*_COLUMNS)
        .where(hints.c.connection_id == connection_id, hints.c.due_at <= at, (hints.c.source_id == PULL) == pulls)
        .order_by(hints.c.crashes > 0, hints.c.due_at, hints.c.source_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = [Wanted(*row) for row in tx.execute(due)]
    taken = [one for one in taken if not one.crashes] or taken[:1]
    keys = [(connection_id, one.source_id) for one in taken]
    bulk.change(tx, hints, "attempts = attempts + 1, crashes = crashes + 1, due_at = ?", (later(at, HELD),), keys)
    return taken


def settle(tx: Connection, connection_id: int, answered: Sequence[Wanted]) -> None:
    """These were looked at. One that was hinted at again meanwhile stays, and is due as it was."""
    if answered:
        pairs = [(one.source_id, one.number) for one in answered]
        same = tuple_(hints.c.source_id, hints.c.number).in_(pairs)
        tx.execute(delete(hints).where(hints.c.connection_id == connection_id, same))
        again = hints.c.source_id.in_([one.source_id for one in answered])
        tx.execute(update(hints).where(hints.c.connection_id == connection_id, again).values(crashes=0))


def put_off(tx: Connection, connection_id: int, one: Wanted, until: str, *, behind_since: str | None) -> None:
    """Look again later: whoever looked came back. One that was hinted at again meanwhile is due as that hint says."""
    tx.execute(update(hints).where(_is_of(connection_id, one)).values(crashes=0))
    change = update(hints).where(_is(connection_id, one))
    tx.execute(change.values(due_at=until, behind_since=behind_since))


def put_off_crashed(tx: Connection, connection_id: int, one: Wanted, until: str) -> None:
    """Look again later, and remember that looking crashed."""
    tx.execute(update(hints).where(_is_of(connection_id, one)).values(due_at=until))


def give_back(tx: Connection, connection_id: int, taken: Sequence[Wanted], at: str) -> None:
    """Nobody looks at these after all: they are due as they were, and have crashed nobody."""
    keys = [(connection_id, one.source_id) for one in taken]
    less = "attempts = CASE attempts WHEN 0 THEN 0 ELSE attempts - 1 END"  # a hint that came meanwhile has none
    fewer = "crashes = CASE crashes WHEN 0 THEN 0 ELSE crashes - 1 END"
    bulk.change(tx, hints, f"{less}, {fewer}, due_at = ?", (at,), keys)


def drop(tx: Connection, connection_id: int, one: Wanted) -> None:
    """Do not look at this record any more, however often it was hinted at."""
    tx.execute(delete(hints).where(_is_of(connection_id, one)))


def due(tx: Connection, at: str) -> set[int]:
    """The connections that have records to look at now."""
    return set(tx.execute(select(hints.c.connection_id).distinct().where(hints.c.due_at <= at)).scalars())


def number_due(tx: Connection, connection_id: int, at: str) -> int:
    """How many records of a connection are to be looked at now."""
    of_it = hints.c.connection_id == connection_id, hints.c.due_at <= at, hints.c.source_id != PULL
    found = select(func.count()).where(*of_it)
    return int(tx.execute(found).scalar_one())


def tally(tx: Connection) -> dict[int, int]:
    """How many records of each connection are to be looked at, now or later."""
    return {
        row[0]: row[1]
        for row in tx.execute(select(hints.c.connection_id, func.count()).group_by(hints.c.connection_id))
    }


def _is_of(connection_id: int, one: Wanted) -> ColumnElement[bool]:
    return and_(hints.c.connection_id == connection_id, hints.c.source_id == one.source_id)


def _is(connection_id: int, one: Wanted) -> ColumnElement[bool]:
    same = hints.c.source_id == one.source_id, hints.c.number == one.number
    return and_(hints.c.connection_id == connection_id, *same)


_COLUMNS = [hints.c[name] for name in Wanted._fields]
