"""Reconcile: is the ledger what the source says, deal by deal and cent by cent; and set it right where it is not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import groupby
from typing import Any

import structlog

from connectors.times import shifted
from deals.events import Cause
from pipeline.audit import NOBODY, Operator
from pipeline.batch import Batch
from pipeline.compare import Difference, Light, Pending, Sight, judge
from pipeline.reconcile_reading import Reading, forget, read_source, resume
from pipeline.reconcile_sides import read_ledger, read_projection
from pipeline.reconcile_windows import Window, of_difference, tally, verified_through
from pipeline.run import Run, running
from pipeline.store import checkpoints, connections, sides, windows
from pipeline.store.session import now
from pipeline.store.sides import Original, Sides
from pipeline.store.windows import Verification, WindowRow
from pipeline.summary import Progress, Summary, silent
from pipeline.wiring import App

log = structlog.get_logger()

BATCH = 2000


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a reconcile came to. `prefix` is that of the deals' external ids.

    `windows` are in the order of their months, the one without a month last. `pending` counts the deals that could
    not be compared, by the reason. `delta_cents` is what the ledger would pay too much on (less than 0: too little).
    """

    summary: Summary
    prefix: str
    windows: Sequence[Window]
    differences: Sequence[Difference]
    pending: Counter[str]
    verified_through: str | None

    @property
    def delta_cents(self) -> int:
        """The money at stake, over all differences."""
        return sum(one.delta_cents for one in self.differences)

    def as_json(self) -> dict[str, Any]:
        """The document scripts rely on: the summary, the windows, the differences and the mark."""
        return {
            **self.summary.as_json(),
            "windows": [window.as_json() for window in self.windows],
            "differences": [one.as_json(self.prefix) for one in self.differences],
            "pending": dict(sorted(self.pending.items())),
            "delta_cents": self.delta_cents,
            "verified_through": self.verified_through,
        }


@dataclass(slots=True)
class Findings:
    """What comparing the sides deal by deal came to."""

    differences: list[Difference] = field(default_factory=list)
    pending: Counter[str] = field(default_factory=Counter)
    windows: dict[str, Window] = field(default_factory=dict)
    unplaced: int = 0

    def take(self, sight: Sight, light: Light, currency: str) -> None:
        """Judge one deal and count it in the windows of all months that a side puts it in."""
        verdict = judge(sight, light)
        if verdict is None:
            return
        months = of_difference(sight, currency)
        for month in months or [""]:
            window = self.windows.setdefault(month, Window(month))
            if isinstance(verdict, Pending):
                window.pending += 1
            else:
                window.differing += 1
                window.delta_cents += of_difference(sight, currency).get(month, 0)
        if isinstance(verdict, Pending):
            self.pending[verdict.why] += 1
            self.unplaced += not months
        else:
            self.differences.append(verdict)


def reconcile(
    app: App,
    connection: str,
    *,
    repair: bool = False,
    operator: Operator | None = None,
    progress: Progress = silent,
) -> Reconciliation:
    """Read the source completely and compare it with the projection and the ledger, in that order of belief.

    Nothing lands, unless `repair`: then records that the pulls have missed are applied, and deals that the ledger has
    lost or changed get another event with their present state, all with the cause `repair`; `publish` sends them, and
    the next reconcile says whether they helped. A deal that only the ledger has is never deleted by this.
    What an `operator` wants is written down, a repair whoever wants it; the schedule is nobody.
    A run that was cut off is gone on with: what it has read of the source is kept, and not asked for again.
    Raises as `sweep` does, and a `LedgerFault` when the ledger cannot be read.
    """
    currency = app.settings.ledger.currency
    with running(app, connection, "reconcile", progress=progress) as run:
        reading = read_source(run, resume(run, currency, keep_raw=repair))
        with sides.opened(app.store, run.scope.connection_id) as laid:
            findings = _compared(app, run, laid, reading)
            mark = _record(run, findings, NOBODY if repair and operator is None else operator, repair)
            if repair:
                mend(run, laid, findings.differences)
        forget(run)
    _note(run, findings, repair)
    in_order = sorted(findings.windows.values(), key=lambda window: (window.month == "", window.month))
    return Reconciliation(run.summary, run.scope.prefix, in_order, findings.differences, findings.pending, mark)


def _compared(app: App, run: Run, laid: Sides, reading: Reading) -> Findings:
    """Lay ledger and projection beside what was read of the source, and judge every deal that may differ."""
    currency = reading.currency
    reading_ledger = run.store.now()
    read_ledger(app, run, laid)
    read_projection(run, laid, currency, reading_ledger)
    doubts = reading.speaks_against(laid)
    if not laid.count(sides.ledger) and not laid.count(sides.projection) and not reading.read:
        doubts = []  # nobody has any deal: that is agreement
    run.summary.doubts = doubts
    light = Light(_last_pull(run), reading.started_at, witness=not doubts)
    findings = Findings()
    for sight in laid.sights(run.scope.connection_id, (sides.source, sides.projection, sides.ledger)):
        findings.take(sight, light, currency)
    tally(laid, findings.windows)
    return findings


def mend(run: Run, laid: Sides, differences: Iterable[Difference]) -> None:
    """Land what the projection lacks, then tell the ledger again what it lacks; what is only extra is left alone."""
    chosen = list(differences)
    for originals in laid.originals([one.source_id for one in chosen if one.remedy == "land"], size=500):
        land(run, originals)
    again = [one.source_id for one in chosen if one.remedy == "tell"]
    for place in range(0, len(again), BATCH):
        run.retell(again[place : place + BATCH])


def land(run: Run, originals: Sequence[Original]) -> None:
    """Apply records that were laid aside, as observed when they were asked for, with the cause `repair`.

    They were counted when they were read; now they count as what becomes of them.
    """
    before, mapped = run.summary, sum(one.readable for one in originals)
    run.summary = replace(
        before,
        read=before.read - len(originals),
        unchanged=before.unchanged - mapped,
        out_of_scope=before.out_of_scope - (len(originals) - mapped),
    )
    for observed_at, group in groupby(sorted(originals, key=_observed), key=_observed):
        records = [one.record for one in group]
        run.land_batch(Batch(records=records, observed_at=observed_at, cause=Cause.REPAIR, again=True))


def _observed(original: Original) -> str:
    return original.observed_at


def _last_pull(run: Run) -> str | None:
    """From which version on a change may be newer than the last pull; clocks are allowed to differ by the overlap."""
    with run.store.read() as tx:
        moved_at = checkpoints.moved_at(tx, run.scope.connection_id, "pull")
    overlap: timedelta = run.connected.settings.options.overlap
    return None if moved_at is None else shifted(moved_at, -overlap)


def _record(run: Run, findings: Findings, operator: Operator | None, repair: bool) -> str | None:
    """Write down every window, the mark, and whose doing it is.

    A read in doubt, or deals of no known month, cannot move the mark on.
    """
    connection_id, run_id = run.scope.connection_id, run.summary.run
    with run.store.write() as tx:
        run.confirm(tx)
        at = now(tx)
        rows = [
            WindowRow(
                run_id, one.month, connection_id, one.state, one.differing, one.pending, str(one.delta_cents),
                json.dumps(one.sums(), sort_keys=True), at,
            )
            for one in findings.windows.values()
        ]  # fmt: skip
        before = windows.verified(tx).get(connection_id)
        mark = verified_through(findings.windows.values())
        if run.summary.doubts or findings.unplaced:
            mark = min(mark, before.verified_through) if mark and before and before.verified_through else None
        windows.record(tx, rows, Verification(connection_id, mark, run_id, at))
        if operator is not None:
            number = len(findings.differences)
            outcome = f"{number} deal{' differs' if number == 1 else 's differ'} in run {run_id}"
            action = "reconcile --repair" if repair else "reconcile"
            operator.did(tx, action, outcome=outcome, connection_id=connection_id)
    log.info("reconcile.compared", differing=len(findings.differences), verified_through=mark, **findings.pending)
    return mark


def _note(run: Run, findings: Findings, repair: bool) -> None:
    notes = run.summary.notes
    with run.store.read() as tx:
        row = connections.find(tx, run.scope.connection)
    if row is not None and row.mapping_id not in (None, run.scope.mapping_id):
        notes.append("the mapping changed since the last pull: pull, then reconcile again")
    if findings.unplaced:
        notes.append(f"{findings.unplaced} parked deals may belong to any month: the mark stays until they are read")
    if repair and run.summary.events:
        notes.append(
            f"{run.summary.events} correcting events wait: `dealsync publish` sends them, then reconcile again"
        )
    if repair and any(one.remedy is None for one in findings.differences):
        notes.append("what only the ledger has is left alone: a sweep deletes what its source proves gone")
