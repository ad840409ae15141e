"""Recover: rebuild a lost or older store from the ledger and the source, without telling the ledger anything twice."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import structlog

from ledger import bulk
from pipeline.audit import NOBODY, Operator
from pipeline.compare import Believed, Difference, Light, judge
from pipeline.reconcile import BATCH, land
from pipeline.reconcile_reading import begin, forget, read_source
from pipeline.reconcile_sides import read_ledger
from pipeline.refer import read_references
from pipeline.run import Run, running
from pipeline.store import connections, leases, projection, rebuilding, sides
from pipeline.store.leases import Lease
from pipeline.store.sides import Sides
from pipeline.summary import Progress, Summary, silent
from pipeline.wiring import App

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a recovery came to, or would come to when not `sent`.

    `held` is how many deals of the connection the ledger lists, `adopted` how many of them the store did not know in
    that state, `withdrawn` how many waiting events were taken back. `differences` are the deals for which the ledger
    is told something; extras among them are only shown. `delta_cents` is what it holds too much.
    """

    summary: Summary
    prefix: str
    sent: bool
    held: int
    adopted: int
    withdrawn: int
    differences: list[Difference]

    @property
    def delta_cents(self) -> int:
        """The money at stake, over all differences."""
        return sum(one.delta_cents for one in self.differences)

    def as_json(self) -> dict[str, Any]:
        """The document scripts rely on."""
        return {
            **self.summary.as_json(),
            "sent": self.sent,
            "held": self.held,
            "adopted": self.adopted,
            "withdrawn": self.withdrawn,
            "differences": [one.as_json(self.prefix) for one in self.differences],
            "delta_cents": self.delta_cents,
        }


def recover(
    app: App, connection: str, *, send: bool = False, operator: Operator = NOBODY, progress: Progress = silent
) -> Recovery:
    """Compare the source with the ledger alone, and show what the ledger would be told; with `send`, do it.

    Then the store's epoch is drawn anew, events that wait are taken back, every deal the ledger lists gets the state
    that the ledger holds, and the source's records land on top of that: a deal that has not changed makes no event.
    The events are put in the outbox; `publish` sends them. Killed at any point, it is run again.
    Raises as `sweep` does, `Denied` for reference data that may not be read, a `LedgerFault` when the ledger cannot be
    read, and `Busy` while somebody publishes.
    """
    with ExitStack() as stack:
        publishing = stack.enter_context(leases.hold(app.store, "publish")) if send else None
        run = stack.enter_context(running(app, connection, "recover", progress=progress))
        read_references(run, whole=True)  # a null where the ledger holds a name would be told as a change
        # A restored store may hold a part of an older read: nothing is gone on with here.
        reading = read_source(run, begin(run, app.settings.ledger.currency, keep_raw=send))
        laid = stack.enter_context(sides.opened(app.store, run.scope.connection_id))
        read_ledger(app, run, laid)
        run.summary.doubts = []
        doubts = reading.speaks_against(laid)
        run.summary.notes += [f"what only the ledger has may be there all the same: {doubt}" for doubt in doubts]
        differences = _differences(run, laid)
        withdrawn, adopted = 0, 0
        if publishing is not None:
            withdrawn, adopted = _rebuild(app, run, publishing, laid, operator)
            _land_everything(run, laid, differences)
        held = laid.count(sides.ledger)
        forget(run)
        return Recovery(run.summary, run.scope.prefix, send, held, adopted, withdrawn, differences)


def _differences(run: Run, laid: Sides) -> list[Difference]:
    """What the ledger holds differently from the source, as if the store believed just what the ledger holds."""
    light = Light(since=None, started_at="", witness=True)
    found = []
    for sight in laid.sights(run.scope.connection_id, (sides.source, sides.ledger)):
        held = None if sight.ledger is None else Believed(True, sight.ledger, None, "")
        verdict = judge(sight._replace(projection=held, parked=False), light)
        if isinstance(verdict, Difference):
            found.append(replace(verdict, where="ledger"))
    return found


def _rebuild(app: App, run: Run, publishing: Lease, laid: Sides, operator: Operator) -> tuple[int, int]:
    """One transaction: a new epoch, nothing waits, and the projection is what the ledger holds."""
    epoch, kind = uuid.uuid4().hex, run.connected.source.kinds[0]
    scope = replace(run.scope, epoch=epoch)
    with run.store.write() as tx:
        run.confirm(tx)
        leases.confirm(tx, publishing)
        projection.lock(tx, scope.connection_id)
        connections.renew_fact(tx, "epoch", epoch)
        withdrawn = rebuilding.withdraw(tx, scope.connection_id)
        adopted = sum(rebuilding.adopt(tx, scope, kind, listed) for listed in laid.listed())
        outcome = f"{adopted} deals adopted, {withdrawn} events taken back in run {scope.run_id}"
        operator.did(tx, "recover --send", outcome=outcome, connection_id=scope.connection_id)
    app.store.epoch, run.scope = epoch, scope
    log.info("recover.rebuilt", adopted=adopted, withdrawn=withdrawn)
    return withdrawn, adopted


def _land_everything(run: Run, laid: Sides, differences: Sequence[Difference]) -> None:
    """Apply what was read. What then still has no event on its way, the store knew and the ledger did not: tell it."""
    for originals in laid.originals():
        land(run, originals)
    for chunk in bulk.in_chunks((one.source_id for one in differences if one.kind != "extra"), BATCH):
        run.retell(chunk)
