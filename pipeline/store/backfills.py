"""Backfills: what was planned, how far each chunk is, and who may go on; every change is one statement."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Text, and_, cast, exists, func, insert, literal, select, update
from sqlalchemy.sql.elements import ColumnElement

from connectors.chunks import ChunkPlan
from connectors.source import Cursor
from pipeline.store import runs
from pipeline.store.backfill_tables import backfill_chunks, backfills
from pipeline.store.session import later, now
from pipeline.store.tables import connections, leases
from pipeline.store.tables import runs as runs_table
from pipeline.summary import Counts

LIVE = ("running", "paused")
"""States in which a backfill keeps others off its range."""

GIVEN_UP_AFTER = 10
"""So often may a chunk be begun without getting on: then its process is taken to die of it."""

_COUNTS = tuple(name for name in runs.COUNTS if name != "published")


@dataclass(frozen=True, slots=True)
class BackfillRow:
    """A backfill, in the order of the table's columns."""

    id: int
    connection_id: int
    state: str
    reason: str | None
    since: str | None
    until: str | None
    laid_out: bool
    due_at: str
    resumed_at: str


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk of a backfill; `counts` is what became of its records so far."""

    number: int
    plan: ChunkPlan
    state: str
    reason: str | None
    cursor: Cursor | None
    attempts: int
    worked_ms: int
    counts: Counts
    expectation: dict[str, Any] | None


def lease_name(backfill_id: int | Literal[""]) -> str:
    """The lease under which a backfill is worked on."""
    return f"backfill {backfill_id}"


def lock(tx: Connection, connection_id: int) -> None:
    """Let nobody else begin or resume a backfill of this connection until the transaction ends."""
    tx.execute(select(connections.c.id).where(connections.c.id == connection_id).with_for_update())


def overlapping(
    tx: Connection, connection_id: int, since: str | None, until: str | None, *, but: int = 0
) -> BackfillRow | None:
    """The first live backfill of the connection, `but` this one, that shares creation times with these."""
    found = select(backfills).where(backfills.c.connection_id == connection_id, backfills.c.state.in_(LIVE))
    for row in tx.execute(found.order_by(backfills.c.id)):
        other = BackfillRow(*row)
        if other.id != but and (other.since or "") < (until or "~") and (since or "") < (other.until or "~"):
            return other
    return None


def start(tx: Connection, connection_id: int, state: str, window: tuple[str | None, str | None]) -> int:
    """A new backfill with a run of its own, whose number it bears."""
    at = now(tx)
    run = {"kind": "backfill", "connection_id": connection_id, "state": state, "started_at": at}
    number = int(tx.execute(insert(runs_table).values(**run).returning(runs_table.c.id)).scalar_one())
    row = BackfillRow(number, connection_id, state, None, *window, False, at, at)
    tx.execute(insert(backfills).values(**{one.name: getattr(row, one.name) for one in fields(row)}))
    return number


def lay_out(tx: Connection, backfill_id: int, plans: Sequence[ChunkPlan]) -> None:
    """The chunks of a backfill, all at once, so that no half of a plan is ever taken for the whole."""
    rows = [
        {
            "backfill_id": backfill_id, "number": number, "label": plan.label, "place": _json(plan.place),
            "expects": plan.expects, "state": "pending", "attempts": 0, "worked_ms": 0, **dict.fromkeys(_COUNTS, 0),
        }
        for number, plan in enumerate(plans, start=1)
    ]  # fmt: skip
    if rows:
        tx.execute(insert(backfill_chunks), rows)
    tx.execute(update(backfills).where(backfills.c.id == backfill_id).values(laid_out=True))


def get(tx: Connection, backfill_id: int, *, hold: bool = False) -> BackfillRow | None:
    """A backfill by its number; `hold` keeps its state as it is until the transaction ends."""
    found = select(backfills).where(backfills.c.id == backfill_id)
    row = tx.execute(found.with_for_update(read=True) if hold else found).one_or_none()
    return None if row is None else BackfillRow(*row)


def listed(
    tx: Connection, *, connection_id: int | None = None, after: int = 0, limit: int | None = None
) -> list[BackfillRow]:
    """Backfills in the order they were planned."""
    found = select(backfills).where(backfills.c.id > after)
    if connection_id is not None:
        found = found.where(backfills.c.connection_id == connection_id)
    return [BackfillRow(*row) for row in tx.execute(found.order_by(backfills.c.id).limit(limit))]


def latest(
    tx: Connection, *, connection_id: int | None, states: Sequence[str] | None, before: int | None, limit: int
) -> list[BackfillRow]:
    """The latest backfills, the last one first: those before number `before`, in these states or in any."""
    found = select(backfills).order_by(backfills.c.id.desc()).limit(limit)
    if connection_id is not None:
        found = found.where(backfills.c.connection_id == connection_id)
    if states is not None:
        found = found.where(backfills.c.state.in_(states))
    if before is not None:
        found = found.where(backfills.c.id < before)
    return [BackfillRow(*row) for row in tx.execute(found)]


def chunks(tx: Connection, backfill_id: int) -> Iterator[ChunkRow]:
    """The chunks of a backfill in their order."""
    found = select(backfill_chunks).where(backfill_chunks.c.backfill_id == backfill_id)
    for row in tx.execute(found.order_by(backfill_chunks.c.number)).mappings():
        yield _chunk(row)


def next_chunk(tx: Connection, backfill_id: int) -> ChunkRow | None:
    """The first chunk that is not read to its end."""
    found = select(backfill_chunks).where(
        backfill_chunks.c.backfill_id == backfill_id, backfill_chunks.c.state == "pending"
    )
    row = tx.execute(found.order_by(backfill_chunks.c.number).limit(1)).mappings().one_or_none()
    return None if row is None else _chunk(row)


def set_state(tx: Connection, backfill_id: int, state: str, reason: str | None, among: Sequence[str]) -> bool:
    """Give a backfill and its run a state, if it is in one `among` these; whether it was."""
    change = update(backfills).where(backfills.c.id == backfill_id, backfills.c.state.in_(among))
    changed = tx.execute(change.values(state=state, reason=reason)).rowcount == 1
    if changed:
        ended = None if state in ("planned", "running", "paused") else now(tx)
        run = update(runs_table).where(runs_table.c.id == backfill_id)
        tx.execute(run.values(state=state, reason=reason, ended_at=ended))
    return changed


def resume(tx: Connection, backfill_id: int, among: Sequence[str]) -> bool:
    """A person says to go on, now; whether the backfill was in a state `among` these."""
    at = now(tx)
    tx.execute(update(backfills).where(backfills.c.id == backfill_id).values(due_at=at, resumed_at=at))
    return set_state(tx, backfill_id, "running", None, among)


def put_off(tx: Connection, backfill_id: int, wait: timedelta, reason: str) -> None:
    """The source lets us read on later only; nobody goes on by himself before."""
    until = later(now(tx), wait)
    tx.execute(update(backfills).where(backfills.c.id == backfill_id).values(due_at=until, reason=reason))


def begin_chunk(tx: Connection, backfill_id: int, number: int) -> None:
    """One more attempt at a chunk."""
    attempts = backfill_chunks.c.attempts + 1
    tx.execute(update(backfill_chunks).where(_is(backfill_id, number)).values(attempts=attempts))


def advance(tx: Connection, backfill_id: int, number: int, counts: Counts, worked_ms: int) -> None:
    """A page of a chunk landed in this transaction: what became of its records, and the work it took."""
    table = backfill_chunks.c
    values: dict[str, Any] = {name: table[name] + getattr(counts, name) for name in _COUNTS}
    values |= {"attempts": 0, "worked_ms": table.worked_ms + worked_ms, "moved_at": now(tx)}
    tx.execute(update(backfill_chunks).where(_is(backfill_id, number)).values(**values))


def move(tx: Connection, backfill_id: int, number: int, cursor: Cursor) -> None:
    """Commit the place from which a chunk is read on, together with what this transaction landed."""
    tx.execute(update(backfill_chunks).where(_is(backfill_id, number)).values(cursor=_json(cursor)))


def end_chunk(tx: Connection, backfill_id: int, number: int, state: str, reason: str | None = None) -> None:
    """A chunk is done, failed, or pending again."""
    values = {"state": state, "reason": reason, "attempts": 0, "moved_at": now(tx)}
    tx.execute(update(backfill_chunks).where(_is(backfill_id, number)).values(**values))


def expect(tx: Connection, backfill_id: int, number: int, expectation: dict[str, Any]) -> None:
    """What a dry run says will become of a chunk."""
    tx.execute(update(backfill_chunks).where(_is(backfill_id, number)).values(expectation=_json(expectation)))


def reopen(tx: Connection, backfill_id: int) -> int:
    """Failed chunks are pending again, from where they stand; how many there were."""
    failed = backfill_chunks.c.backfill_id == backfill_id, backfill_chunks.c.state == "failed"
    change = update(backfill_chunks).where(*failed).values(state="pending", reason=None, attempts=0)
    return int(tx.execute(change).rowcount)


def since_resumed(tx: Connection, row: BackfillRow) -> tuple[int, int]:
    """How many records were read, and how many of them parked, by chunks that moved since a person said to go on."""
    moved = backfill_chunks.c.backfill_id == row.id, backfill_chunks.c.moved_at >= row.resumed_at
    found = tx.execute(select(backfill_chunks.c.read, backfill_chunks.c.parked).where(*moved)).all()
    return sum(one.read for one in found), sum(one.parked for one in found)


def due(tx: Connection, connection_id: int, instant: str) -> list[int]:
    """Running backfills of a connection that nobody works on and that may be gone on with."""
    found = select(backfills.c.id).where(backfills.c.connection_id == connection_id, _is_due(instant))
    return list(tx.execute(found.order_by(backfills.c.id)).scalars())


def connections_due(tx: Connection, instant: str) -> set[int]:
    """The connections that have such a backfill."""
    return set(tx.execute(select(backfills.c.connection_id).distinct().where(_is_due(instant))).scalars())


def _is_due(instant: str) -> ColumnElement[bool]:
    name = literal(lease_name("")) + cast(backfills.c.id, Text)
    held = exists().where(leases.c.name == name, leases.c.expires_at > instant)
    return and_(backfills.c.state == "running", backfills.c.due_at <= instant, ~held)


def running(tx: Connection) -> dict[int, int]:
    """How many backfills of each connection are neither through nor stopped."""
    found = select(backfills.c.connection_id, func.count()).where(backfills.c.state == "running")
    return {row[0]: row[1] for row in tx.execute(found.group_by(backfills.c.connection_id))}


def chunks_failed(tx: Connection) -> dict[int, int]:
    """How many chunks of each connection's backfills failed; who cancels one does not want them any more."""
    found = select(backfills.c.connection_id, func.count()).join(
        backfill_chunks, backfill_chunks.c.backfill_id == backfills.c.id
    )
    wanted = backfills.c.state != "cancelled", backfill_chunks.c.state == "failed"
    return {row[0]: row[1] for row in tx.execute(found.where(*wanted).group_by(backfills.c.connection_id))}


def run_of(tx: Connection, backfill_id: int) -> dict[str, Any]:
    """The counts of a backfill's run so far."""
    columns = [runs_table.c[name] for name in runs.COUNTS]
    return dict(tx.execute(select(*columns).where(runs_table.c.id == backfill_id)).mappings().one())


def _is(backfill_id: int, number: int) -> Any:
    return and_(backfill_chunks.c.backfill_id == backfill_id, backfill_chunks.c.number == number)


def _chunk(row: Any) -> ChunkRow:
    plan = ChunkPlan(row["label"], json.loads(row["place"]), row["expects"])
    cursor, expectation = (None if row[name] is None else json.loads(row[name]) for name in ("cursor", "expectation"))
    counts = Counts(**{name: row[name] for name in _COUNTS})
    return ChunkRow(
        row["number"], plan, row["state"], row["reason"], cursor, row["attempts"], row["worked_ms"], counts, expectation
    )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
