"""Backfill preview: what a planned backfill will do, found out by doing it and taking every page of it back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from connectors.chunks import pages_of
from connectors.faults import Unintelligible
from connectors.source import Page, Record
from deals.events import Cause
from deals.identity import decode_json
from ledger import bulk
from pipeline.ahead import ahead
from pipeline.apply import apply
from pipeline.audit import NOBODY, Operator
from pipeline.backfill import Window, begin
from pipeline.backfill_report import Outcome, Watch, found, standing, unwatched
from pipeline.backfill_work import Halted, lay_out, opened, still_in, summary_of
from pipeline.batch import Batch, Scope
from pipeline.refer import read_references
from pipeline.run import Run
from pipeline.store import backfills, leases
from pipeline.store.backfills import ChunkRow
from pipeline.store.tables import events
from pipeline.summary import Counts
from pipeline.wiring import App

REMEMBERED = 200_000
"""Pages share rows, and none of them lands: so many deals of a chunk are remembered, in order to count each once."""


def preview(
    app: App, connection: str, window: Window, *, watch: Watch = unwatched, operator: Operator = NOBODY
) -> Outcome:
    """Plan a backfill and say of each chunk what it will do; nothing lands. It waits as `planned` to be resumed.

    Raises as `pipeline.backfill.start`, but is kept off by nobody.
    """
    return foresee(app, begin(app, connection, window, "planned", operator=operator), watch=watch)


def foresee(app: App, number: int, *, watch: Watch = unwatched) -> Outcome:
    """Say of each chunk of a backfill that is planned what it will do; nothing lands. Raises as `preview`."""
    with leases.hold(app.store, backfills.lease_name(number)) as lease:
        with app.store.read() as tx:
            row = found(tx, number)
        with opened(app, row, lease) as run:
            try:
                read_references(run)
                lay_out(run, row)
                with app.store.read() as tx:
                    plan = list(backfills.chunks(tx, number))
                for chunk in plan:
                    _expect(run, chunk)
                    watch(standing(app, number))
            except Halted:
                pass
    return Outcome(summary_of(app, row), standing(app, number))


def _expect(run: Run, chunk: ChunkRow) -> None:
    """Put down what will become of a chunk."""
    sight = _Sight()
    told: dict[str, Any]
    try:
        for page in ahead(pages_of(run.reader, chunk.plan, None)):
            _try_out(run, page, sight)
        told = sight.told()
    except Unintelligible as fault:
        told = {"unreadable": str(fault)}
    told["mapping_version"] = run.scope.mapper.version
    with run.store.write() as tx:
        run.confirm(tx)
        still_in(tx, run.scope.run_id, "planned")
        backfills.expect(tx, run.scope.run_id, chunk.number, told)


def _try_out(run: Run, page: Page, sight: _Sight) -> None:
    """Land a page as a backfill does, look at what that came to, and take it back."""
    records = sight.unseen(page.records)
    batch = Batch(records=records, spoiled=page.spoiled, observed_at=page.requested_at, cause=Cause.BACKFILL)
    with run.store.write() as tx:
        run.define(tx, page.fields)
        counts = apply(tx, run.scope, batch)
        sight.saw(counts, _moves(tx, run.scope, records), run.connected.mapper.rules.ledger_currency)
        tx.rollback()


@dataclass(slots=True)
class _Sight:
    """What a chunk came to so far. Creates, changes, no-ops, parked and out of scope add up to the records read."""

    counts: Counts = field(default_factory=Counts)
    creates: int = 0
    changes: int = 0
    money: Counter[str] = field(default_factory=Counter)
    seen: dict[str, None] = field(default_factory=dict)

    def unseen(self, records: Sequence[Record]) -> list[Record]:
        """The records of deals that no page before has shown."""
        fresh = [record for record in records if record.source_id not in self.seen]
        self.seen.update(dict.fromkeys(record.source_id for record in fresh))
        while len(self.seen) > REMEMBERED:
            del self.seen[next(iter(self.seen))]
        return fresh

    def saw(self, counts: Counts, moves: Sequence[_Move], ledger_currency: str) -> None:
        self.creates += sum(move.before is None for move in moves)
        self.changes += sum(move.before is not None for move in moves)
        self.counts.read += counts.read
        self.counts.parked += counts.parked
        self.counts.out_of_scope += counts.out_of_scope
        for move in moves:
            for state, sign in ((move.before, -1), (move.after, 1)):
                if state is not None and state["amount_cents"] is not None:
                    self.money[ledger_currency] += sign * state["amount_cents"]

    def told(self) -> dict[str, Any]:
        """The expectation, as it is put down and shown; money in minor units of the ledger's currency, its only key."""
        others = self.creates + self.changes + self.counts.parked + self.counts.out_of_scope
        return {
            "creates": self.creates,
            "changes": self.changes,
            "no_ops": self.counts.read - others,
            "parked": self.counts.parked,
            "out_of_scope": self.counts.out_of_scope,
            "money": dict(self.money),
        }


@dataclass(frozen=True, slots=True)
class _Move:
    """A deal's state before and after a page; None before the first."""

    before: dict[str, Any] | None
    after: dict[str, Any]


def _moves(tx: Connection, scope: Scope, records: Sequence[Record]) -> list[_Move]:
    """What the transaction has just made of these deals, by the events that it has put down."""
    bulk.by_index(tx)
    of_connection = events.c.connection_id == scope.connection_id
    among = bulk.among(tx, events.c.source_id, [record.source_id for record in records])
    ours = select(events.c.source_id).where(of_connection, among, events.c.run_id == scope.run_id)
    moved = list(dict.fromkeys(tx.execute(ours).scalars()))
    if not moved:
        return []
    told = select(events.c.source_id, events.c.run_id, events.c.state).where(
        of_connection, bulk.among(tx, events.c.source_id, moved)
    )
    ends: dict[str, tuple[str | None, str | None]] = {}
    for source_id, run_id, state in tx.execute(told.order_by(events.c.source_id, events.c.revision)):
        before, _ = ends.get(source_id, (None, None))
        ends[source_id] = (before, state) if run_id == scope.run_id else (state, None)
    return [
        _Move(None if before is None else decode_json(before), decode_json(after))
        for before, after in ends.values()
        if after is not None
    ]
