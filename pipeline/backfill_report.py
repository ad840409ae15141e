"""Backfill report: how far a backfill is, how fast it goes, and when it will be through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from pipeline.faults import Unknown
from pipeline.store import backfills, connections, pauses
from pipeline.store.backfills import BackfillRow, ChunkRow
from pipeline.store.session import now
from pipeline.summary import Summary
from pipeline.wiring import App

SHARES = ("creates", "changes", "no_ops", "parked", "out_of_scope")
"""What a dry run says of records, beside the `money` they move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a backfill stands. `records` were read in it; `rate` is records a second of work; `eta_seconds` is None
    while it stands still, its connection is paused, or nothing is known, and includes what a used up quota makes it
    wait for. `expected` adds up what a dry run said, None without one; where that was cut off, `unknown_chunks` are
    those that it had not come to."""

    id: int
    connection: str
    state: str
    reason: str | None
    since: str | None
    until: str | None
    done: int
    failed: int
    total: int
    records: int
    rate: float | None
    eta_seconds: int | None
    percent: int
    expected: dict[str, Any] | None
    plan: list[ChunkRow] = field(repr=False)

    @property
    def pending(self) -> int:
        """How many chunks are still to be read."""
        return self.total - self.done - self.failed

    def as_json(self) -> dict[str, Any]:
        """The backfill as scripts rely on it."""
        return {
            "id": self.id,
            "connection": self.connection,
            "state": self.state,
            "since": self.since,
            "until": self.until,
            "chunks": {"done": self.done, "failed": self.failed, "pending": self.pending, "total": self.total},
            "records": self.records,
            "rate": self.rate,
            "eta_seconds": self.eta_seconds,
            "percent": self.percent,
            "reason": self.reason,
            "expected": self.expected,
        }

    def plan_as_json(self) -> list[dict[str, Any]]:
        """Every chunk of the backfill."""
        return [
            {
                "number": one.number,
                "part": one.plan.label,
                "state": one.state,
                "reason": one.reason,
                "records": one.counts.read,
                "expected": one.expectation,
            }
            for one in self.plan
        ]


class Outcome(NamedTuple):
    """What a command that worked on a backfill ends with."""

    summary: Summary
    standing: Standing

    @property
    def clean(self) -> bool:
        """Every chunk is done, or will be by the workers; nothing was parked."""
        return self.summary.clean and not self.standing.failed and self.standing.state in ("done", "running", "planned")


Watch = Callable[[Standing], None]
"""Called after each committed page with how the backfill stands."""


def unwatched(_: Standing) -> None:
    """The progress of a backfill that nobody watches."""


def listed(app: App, connection: str | None = None, *, after: int = 0, limit: int | None = None) -> list[Standing]:
    """Backfills in the order they were planned. Raises `Unknown` for a connection that is not configured."""
    if connection is not None:
        app.settings.connection(connection)
    with app.store.read() as tx:
        known = None if connection is None else connections.find(tx, connection)
        if connection is not None and known is None:
            return []
        rows = backfills.listed(tx, connection_id=known.id if known else None, after=after, limit=limit)
        return [standing_of(tx, row) for row in rows]


def standing(app: App, backfill_id: int) -> Standing:
    """How one backfill stands. Raises `Unknown`."""
    with app.store.read() as tx:
        return standing_of(tx, found(tx, backfill_id))


def found(tx: Connection, backfill_id: int) -> BackfillRow:
    """A backfill by its number. Raises `Unknown`."""
    row = backfills.get(tx, backfill_id)
    if row is None:
        raise Unknown(f"there is no backfill {backfill_id}; `dealsync backfill list` shows them")
    return row


def standing_of(tx: Connection, row: BackfillRow) -> Standing:
    """How a backfill stands, worked out from its chunks."""
    plan = list(backfills.chunks(tx, row.id))
    states = Counter(one.state for one in plan)
    records, worked_s = sum(one.counts.read for one in plan), sum(one.worked_ms for one in plan) / 1000
    name = next(one.name for one in connections.all_of_them(tx) if one.id == row.connection_id)
    share = sum(map(_share, plan)) / len(plan) if plan else float(row.state == "done")
    return Standing(
        id=row.id,
        connection=name,
        state=row.state,
        reason=row.reason,
        since=row.since,
        until=row.until,
        done=states["done"],
        failed=states["failed"],
        total=len(plan),
        records=records,
        rate=round(records / worked_s, 1) if worked_s > 0 else None,
        eta_seconds=_ends_in(tx, row, _eta(row.state, plan, worked_s)) if row.laid_out else None,
        percent=int(100 * share),
        expected=expected([one.expectation for one in plan]),
        plan=plan,
    )


def expected(parts: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """What dry runs of several chunks say together; None where there was none."""
    told = [part for part in parts if part is not None]
    if not told:
        return None
    money: Counter[str] = Counter()
    for part in told:
        for currency, cents in part.get("money", {}).items():
            money[currency] += cents
    shares = {name: sum(part.get(name, 0) for part in told) for name in SHARES}
    unreadable, unknown = sum("unreadable" in part for part in told), len(parts) - len(told)
    return {**shares, "unreadable_chunks": unreadable, "unknown_chunks": unknown, "money": dict(money)}


def _share(chunk: ChunkRow) -> float:
    """How much of a chunk is read: all of it only once it is done, however many rows came."""
    if chunk.state == "done":
        return 1.0
    return min(chunk.counts.read / chunk.plan.expects, 0.99) if chunk.plan.expects else 0.0


def _ends_in(tx: Connection, row: BackfillRow, work_s: int | None) -> int | None:
    """When so much work will be done: nobody does any while the connection is paused, or before the source lets us."""
    if row.state != "running" or work_s is None:
        return work_s
    if row.connection_id in pauses.all_of_them(tx):
        return None
    wait = datetime.fromisoformat(row.due_at) - datetime.fromisoformat(now(tx))
    return work_s + max(0, round(wait.total_seconds()))


def _eta(state: str, plan: list[ChunkRow], worked_s: float) -> int | None:
    """Seconds of work left: by rows where the source has told of them, else by chunks."""
    pending = [one for one in plan if one.state == "pending"]
    if state == "done" or (state == "running" and not pending):
        return 0
    begun = sum(map(_share, plan))
    if state != "running" or not begun or not worked_s:
        return None
    rows, read = sum(one.plan.expects or 0 for one in pending), sum(one.counts.read for one in plan)
    if read and all(one.plan.expects is not None for one in pending):
        left = sum(max((one.plan.expects or 0) - one.counts.read, 0) for one in pending) if rows else 0
        return round(left * worked_s / read)
    return round((len(pending) - sum(map(_share, pending))) * worked_s / begun)
