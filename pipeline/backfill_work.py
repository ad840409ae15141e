"""Backfill work: the chunks of a backfill are read one by one and landed, by whoever holds its lease."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog
from sqlalchemy import Connection

from connectors.chunks import chunks_of, pages_of
from connectors.faults import Fault, RateLimited, Refused, Unavailable, Unintelligible
from connectors.source import Page
from deals.events import Cause
from pipeline.ahead import ahead
from pipeline.apply import apply
from pipeline.backfill_report import Watch, found, standing, standing_of, unwatched
from pipeline.batch import Batch
from pipeline.circuit import Circuit
from pipeline.faults import PipelineFault, SettingsError, Stopped
from pipeline.landed import landed
from pipeline.observe import bind
from pipeline.pull import STREAM
from pipeline.refer import read_references
from pipeline.run import FEW, Run, answered, predecessors_of, scope_of
from pipeline.store import backfills, connections, held, leases, pauses
from pipeline.store.backfills import BackfillRow, ChunkRow
from pipeline.store.leases import Lease
from pipeline.store.session import now
from pipeline.summary import Summary, silent
from pipeline.wiring import App

log = structlog.get_logger()

AGAIN_AFTER = timedelta(minutes=1)
"""How long workers leave a backfill alone whose source is away and does not say for how long."""


REMAPPED = "the mapping is another one than the dry run looked with: what that expected need not come true"


class Halted(Exception):
    """A person has paused or cancelled the backfill: nothing more may land in it."""


def work(app: App, backfill_id: int, *, most: int | None = None, watch: Watch = unwatched) -> Summary:
    """Read and land the pending chunks of a running backfill, `most` of them at most; its summary so far.

    A chunk whose pages cannot be read fails alone. Raises `Unknown`, `Busy`, `StaleLease`, the other faults of the
    source (`Refused` and `Misconfigured` end the backfill as failed, after `Unavailable` workers go on by themselves)
    and `Stopped` when too much had to be parked.
    """
    with leases.hold(app.store, backfills.lease_name(backfill_id)) as lease:
        with app.store.read() as tx:
            row = found(tx, backfill_id)
        if row.state != "running":
            return summary_of(app, row)
        with opened(app, row, lease) as run:
            worker = _Worker(app, row, run, watch)
            run.progress = worker.tell
            try:
                worker.work(most)
            except Halted:
                log.info("backfill.halted")
            finally:
                worker.settle()
            return run.summary


def work_on(app: App, connection: str) -> bool:
    """Read one chunk of the first backfill of a connection that is due; whether there is more to do at once.

    Raises as `work`.
    """
    with app.store.read() as tx:
        due = _due(tx, connection)
    if due:
        work(app, due[0], most=1)
    with app.store.read() as tx:
        return bool(due and _due(tx, connection))


def lay_out(run: Run, row: BackfillRow) -> None:
    """Ask the source how it can be cut, once; the whole plan is committed before any of it is done."""
    if row.laid_out:
        return
    plans = list(chunks_of(run.reader, row.since, row.until, run.checkpoint(STREAM)))
    with run.store.write() as tx:
        run.confirm(tx)
        still_in(tx, row.id, row.state)
        backfills.lay_out(tx, row.id, plans)
    log.info("backfill.planned", chunks=len(plans))


def still_in(tx: Connection, backfill_id: int, state: str) -> None:
    """Hold the backfill in this state until the transaction ends. Raises `Halted` when it is in another."""
    row = backfills.get(tx, backfill_id, hold=True)
    if row is None or row.state != state:
        raise Halted


def summary_of(app: App, row: BackfillRow) -> Summary:
    """What a backfill did so far, whoever did it."""
    with app.store.read() as tx:
        name = standing_of(tx, row).connection
        return Summary(run=row.id, connection=name, **backfills.run_of(tx, row.id))


@contextmanager
def opened(app: App, row: BackfillRow, lease: Lease) -> Iterator[Run]:
    """The backfill's run, gone on with: its reader is open, and its counts are those so far."""
    summary = summary_of(app, row)
    connected = app.connection(summary.connection or "")
    with app.store.write() as tx:
        scope, before = scope_of(tx, app.store, connected, row.id), predecessors_of(tx, app, connected)
        circuit = Circuit.gone_on_with(tx, row.connection_id, row.id, connected.settings.delete_limit)
    permits, known = app.permits(connected.name, "backfill"), landed(app.store, connected.name)
    reader = connected.open_reader(app.store.now, permits, known)
    try:
        with bind(run=row.id, connection=connected.name):
            run = Run(app.store, connected, scope, reader, summary, silent, lease=lease, predecessors=before)
            run.circuit = circuit
            yield run
    finally:
        reader.close()


def _due(tx: Connection, connection: str) -> list[int]:
    known = connections.find(tx, connection)
    if known is None or known.id in pauses.all_of_them(tx):
        return []
    return backfills.due(tx, known.id, now(tx))


@dataclass(slots=True)
class _Worker:
    """One holder of the backfill's lease at work. Work that nobody did for a while costs no time of the backfill."""

    app: App
    row: BackfillRow
    run: Run
    watch: Watch
    mark: float = field(default_factory=time.monotonic)

    def work(self, most: int | None) -> None:
        try:
            read_references(self.run)
            self._lay_out()
            while (chunk := self._next()) is not None and most != 0:
                most = None if most is None else most - 1
                self._read(chunk)
        except Unavailable as fault:
            self._put_off(fault)
            raise
        except (Fault, Stopped, SettingsError) as fault:
            self._stop(fault, str(fault))
            raise

    def _lay_out(self) -> None:
        """A bug met in planning is met each time: it ends the backfill, where one met in a chunk is counted there."""
        try:
            lay_out(self.run, self.row)
        except (Fault, PipelineFault, Halted):
            raise
        except Exception as bug:
            self._stop(bug, f"planning it met a bug ({type(bug).__name__}); the log has the details")
            raise

    def tell(self, _: Summary) -> None:
        if self.watch is not unwatched:
            self.watch(standing(self.app, self.row.id))

    def settle(self) -> None:
        """What this holder held back for a person, if anything, is told of, however its work ended."""
        if self.run.circuit.holds:
            with self.run.store.write() as tx:
                self.run.confirm(tx)
                self.run.settle(tx)

    def _next(self) -> ChunkRow | None:
        """The next chunk; None when there is none left, and then the backfill is over."""
        with self.run.store.write() as tx:
            self.run.confirm(tx)
            still_in(tx, self.row.id, "running")
            while (chunk := backfills.next_chunk(tx, self.row.id)) is not None:
                if chunk.attempts < backfills.GIVEN_UP_AFTER:
                    return chunk
                died = f"whoever read it died {chunk.attempts} times without getting on; see the workers' logs"
                backfills.end_chunk(tx, self.row.id, chunk.number, "failed", died)
            failed = any(one.state == "failed" for one in backfills.chunks(tx, self.row.id))
            reason = "some chunks could not be read" if failed else None
            backfills.set_state(tx, self.row.id, "failed" if failed else "done", reason, ("running",))
            if not failed:
                held.uncount(tx, self.row.id)
                answered(tx, self.run.scope)
        log.info("backfill.finished", failed=failed)
        return None

    def _read(self, chunk: ChunkRow) -> None:
        self.mark = time.monotonic()
        version = self.run.scope.mapper.version
        foreseen_with = (chunk.expectation or {}).get("mapping_version", version)
        if foreseen_with != version and REMAPPED not in self.run.summary.notes:
            log.warning("backfill.remapped", expected_with=foreseen_with, mapping_version=version)
            self.run.summary.notes.append(REMAPPED)
        with self.run.store.write() as tx:
            self.run.confirm(tx)
            backfills.begin_chunk(tx, self.row.id, chunk.number)
        try:
            for page in ahead(pages_of(self.run.reader, chunk.plan, chunk.cursor)):
                self._land(chunk, page)
        except Unintelligible as fault:
            log.warning("backfill.chunk_failed", chunk=chunk.number, reason=str(fault))
            self._end(chunk, "failed", str(fault))
        else:
            self._end(chunk, "done")
        self.tell(self.run.summary)

    def _land(self, chunk: ChunkRow, page: Page) -> None:
        """Apply a page, and move the chunk's cursor with it. What live traffic saw later is left as it is."""
        batch = Batch(records=page.records, spoiled=page.spoiled, observed_at=page.requested_at, cause=Cause.BACKFILL)
        with self.run.landing(page) as step:
            still_in(step.tx, self.row.id, "running")
            self.run.define(step.tx, page.fields)
            counts = step.add(apply(step.tx, self.run.scope, batch))
            step.landed(batch)
            before, self.mark = self.mark, time.monotonic()
            worked_ms = round((self.mark - before) * 1000)
            backfills.advance(step.tx, self.row.id, chunk.number, counts, worked_ms)
            too_many = self._too_many(step.tx)
            if page.cursor is not None and too_many is None:
                backfills.move(step.tx, self.row.id, chunk.number, page.cursor)
        if too_many is not None:
            raise Stopped(too_many, replace(self.run.summary))

    def _too_many(self, tx: Connection) -> str | None:
        read, parked = backfills.since_resumed(tx, self.row)
        limit = self.run.connected.settings.park_limit
        if read < FEW or parked <= limit * read:
            return None
        return (
            f"{parked} of {read} records had to be parked, more than park_limit = {limit} allows. Look at "
            f"`dealsync parked list`, mend the mapping, then run `dealsync backfill resume {self.row.id}`"
        )

    def _end(self, chunk: ChunkRow, state: str, reason: str | None = None) -> None:
        with self.run.store.write() as tx:
            self.run.confirm(tx)
            backfills.end_chunk(tx, self.row.id, chunk.number, state, reason)

    def _put_off(self, fault: Unavailable) -> None:
        wait = timedelta(seconds=fault.retry_after_s) if isinstance(fault, RateLimited) else AGAIN_AFTER
        with self.run.store.write() as tx:
            self.run.confirm(tx)
            backfills.put_off(tx, self.row.id, wait, str(fault))

    def _stop(self, fault: Exception, reason: str) -> None:
        """Only a person can help: nobody goes on before that."""
        with self.run.store.write() as tx:
            self.run.confirm(tx)
            backfills.set_state(tx, self.row.id, "failed", reason, ("running",))
            if isinstance(fault, Refused):
                connections.set_state(tx, self.row.connection_id, "refused", reason)
