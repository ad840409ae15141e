"""Runs: each execution with its counts, written in the transactions that made them true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Text, cast, func, insert, literal, select, true, union_all, update
from sqlalchemy.sql.elements import ColumnElement

from pipeline.faults import Interrupted
from pipeline.store.backfill_tables import backfills
from pipeline.store.session import later
from pipeline.store.tables import connections, runs
from pipeline.summary import Counts, Summary

LONGEST = timedelta(days=1)
"""No run that shares its connection with others takes longer."""

UNHAPPY = ("failed", "abandoned", "running")
"""States of a run that did not come to its end, or has not yet."""

OVER = ("done", "stopped", "failed", "abandoned")
"""States of a run that is over; only a backfill may be gone on with afterwards."""

INTERRUPTED = str(Interrupted())
"""Why a run failed whose process was told to stop: that says nothing of the other side."""

COUNTS = (*(count.name for count in fields(Counts) if count.name != "flags"), "published")


def start(tx: Connection, kind: str, connection_id: int | None, at: str, *, alone: bool = True) -> int:
    """A new run.

    Where runs of a kind are `alone`, those still marked as running are abandoned: the lease says that their process is
    gone. Of those that are not (fetches), only what has been marked so for a day is.
    """
    left = runs.c.state == "running", runs.c.kind == kind, runs.c.connection_id.is_not_distinct_from(connection_id)
    dead = left if alone else (*left, runs.c.started_at < later(at, -LONGEST))
    tx.execute(update(runs).where(*dead).values(state="abandoned", ended_at=at))
    row = {"kind": kind, "connection_id": connection_id, "state": "running", "started_at": at}
    return int(tx.execute(insert(runs).values(**row).returning(runs.c.id)).scalar_one())


def count(tx: Connection, summary: Summary) -> None:
    """Write the counts so far."""
    values = {name: getattr(summary, name) for name in COUNTS}
    tx.execute(update(runs).where(runs.c.id == summary.run).values(**values))


def end(
    tx: Connection, run_id: int, state: str, at: str, reason: str | None = None, resumes_at: str | None = None
) -> None:
    """The run is over: done, stopped or failed; before `resumes_at` nobody need try again."""
    values = {"state": state, "ended_at": at, "reason": reason, "resumes_at": resumes_at}
    tx.execute(update(runs).where(runs.c.id == run_id).values(**values))


def last(tx: Connection, kind: str, connection_id: int | None) -> dict[str, Any] | None:
    """The latest run of a kind."""
    return next(iter(latest(tx, kind, connection_id, 1)), None)


def latest(tx: Connection, kind: str, connection_id: int | None, limit: int) -> list[dict[str, Any]]:
    """The latest runs of a kind, the last one first."""
    of_connection = runs.c.connection_id.is_(None) if connection_id is None else runs.c.connection_id == connection_id
    found = select(runs).where(runs.c.kind == kind, of_connection).order_by(runs.c.id.desc()).limit(limit)
    return [dict(row) for row in tx.execute(found).mappings()]


def listed(
    tx: Connection, *, connection_id: int | None, kind: str | None, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """The latest runs of any kind or of one, of one connection or of all, the last one first: those before `before`."""
    found = select(runs).order_by(runs.c.id.desc()).limit(limit)
    for column, value in ((runs.c.connection_id, connection_id), (runs.c.kind, kind)):
        if value is not None:
            found = found.where(column == value)
    if before is not None:
        found = found.where(runs.c.id < before)
    return [dict(row) for row in tx.execute(found).mappings()]


class Sum(NamedTuple):
    """Runs of one connection and kind in one state, added up; `counts` by the names of `COUNTS`."""

    connection_id: int | None
    kind: str
    state: str
    runs: int
    counts: dict[str, int]


def over_upto(tx: Connection, after: int) -> int:
    """Up to which run, from those after one on, all are over; backfills left out."""
    first = select(func.min(runs.c.id)).where(runs.c.id > after, runs.c.state.not_in(OVER), _NO_BACKFILL)
    last = select(func.max(runs.c.id) + 1)
    found = select(func.coalesce(first.scalar_subquery(), last.scalar_subquery(), 1))
    return int(tx.execute(found).scalar_one()) - 1


def sums(tx: Connection, after: int, upto: int | None = None) -> list[Sum]:
    """The runs after one, and up to another, added up; backfills left out."""
    until = runs.c.id <= upto if upto is not None else true()
    return _added_up(tx, runs.c.id > after, until, _NO_BACKFILL)


def sums_of_backfills(tx: Connection) -> list[Sum]:
    """All backfills, added up."""
    return _added_up(tx, runs.c.id.in_(select(backfills.c.id)))


_NO_BACKFILL = runs.c.kind != "backfill"


def _added_up(tx: Connection, *which: ColumnElement[bool]) -> list[Sum]:
    alike = (runs.c.connection_id, runs.c.kind, runs.c.state)
    found = select(*alike, func.count(), *(func.sum(runs.c[name]) for name in COUNTS)).where(*which).group_by(*alike)
    return [
        Sum(connection_id, kind, state, many, dict(zip(COUNTS, map(int, counts), strict=True)))
        for connection_id, kind, state, many, *counts in tx.execute(found)
    ]


class Past(NamedTuple):
    """A run as far as the schedule asks."""

    id: int
    state: str
    started_at: str
    resumes_at: str
    """Empty where it may be tried again at any time."""


def histories(tx: Connection, kinds: Sequence[str], limit: int) -> dict[tuple[int, str], list[Past]]:
    """The last run of each connection and kind, by its number and the kind; and where it did not come to its end, those
    before it that did not either: the last one first, at most `limit`. Those that were interrupted are passed over.

    One value for each, which leaves PostgreSQL no join to plan: given one, it read all the runs there ever were.
    """
    kind = union_all(*(select(literal(one).label("kind")) for one in kinds)).subquery()
    told = cast(runs.c.id, Text) + " " + runs.c.state + " " + runs.c.started_at
    said = told + " " + func.coalesce(runs.c.resumes_at, "")
    latest = select(said.label("said")).where(runs.c.connection_id == connections.c.id, runs.c.kind == kind.c.kind)
    latest = latest.where(runs.c.reason.is_distinct_from(INTERRUPTED))
    few = latest.order_by(runs.c.id.desc()).limit(limit).correlate(connections, kind).subquery()
    history = select(func.aggregate_strings(few.c.said, ",")).scalar_subquery()
    found = select(connections.c.id, kind.c.kind, history).select_from(connections.join(kind, true()))
    return {(row[0], row[1]): _pasts(row[2]) for row in tx.execute(found) if row[2] is not None}


def _pasts(history: str) -> list[Past]:
    """Put in their order, which no database promises to keep where it strings rows together."""
    latest = sorted([one.split(" ") for one in history.split(",")], key=lambda one: int(one[0]), reverse=True)
    ended = next((place for place, one in enumerate(latest) if one[1] not in UNHAPPY), len(latest))
    return [Past(int(number), *told) for number, *told in latest[: max(ended, 1)]]


def first_started(tx: Connection, kind: str) -> dict[int, str]:
    """When the first run of a kind began of each connection that had one, by the connection's number."""
    first = select(runs.c.started_at).where(runs.c.kind == kind, runs.c.connection_id == connections.c.id)
    found = select(connections.c.id, first.order_by(runs.c.id).limit(1).scalar_subquery())
    return {row[0]: row[1] for row in tx.execute(found) if row[1] is not None}
