"""Run: one execution of a verb on one connection: its lease, its counts, and its pages landed one by one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from operator import itemgetter
from typing import Any

import structlog
from sqlalchemy import Connection

from connectors.faults import Fault, RateLimited, Refused
from connectors.source import Field, Found, Page, Reader
from mappings.outcome import Mapped
from pipeline.apply import apply, bury, retell
from pipeline.batch import Batch, Scope, Seen
from pipeline.circuit import Circuit
from pipeline.faults import SettingsError, Stopped, reason_of
from pipeline.flags import told
from pipeline.landed import landed
from pipeline.observe import bind
from pipeline.readings import Readings, readings
from pipeline.renamed import predecessors, refuse_renamed
from pipeline.store import absences, checkpoints, connections, held, labels, leases, prefixes, runs
from pipeline.store.leases import Lease
from pipeline.store.session import Store, later, now
from pipeline.summary import Counts, Progress, Summary
from pipeline.wiring import App, Connected

log = structlog.get_logger()

FEW = 200
"""Below this many records read, a share of parked ones says nothing."""

READS = ("pull", "sweep", "reconcile", "recover")
"""Kinds of run that read all that there is to read: once one has ended well, nothing of the source is missed."""


@dataclass(slots=True)
class Run:
    """A run under way. Every method that writes is one transaction, and is refused once the lease is lost."""

    store: Store
    connected: Connected
    scope: Scope
    reader: Reader
    summary: Summary
    progress: Progress
    lease: Lease | None = None
    predecessors: Mapping[int, str] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    circuit: Circuit = field(init=False)

    def __post_init__(self) -> None:
        limit = self.connected.settings.delete_limit
        self.circuit = Circuit(self.scope.connection_id, self.scope.run_id, limit)

    def checkpoint(self, stream: str) -> dict[str, Any] | None:
        """The committed cursor of a stream of this connection."""
        with self.store.read() as tx:
            return checkpoints.read(tx, self.scope.connection_id, stream)

    def land(self, page: Page, stream: str, *, sweep: int | None = None, cursor: dict[str, Any] | None = None) -> None:
        """Apply a page, and move the checkpoint of `stream` with it (`cursor` takes the place of the page's own).

        Raises `Stopped` when too many of the run's records had to be parked: what the page held is kept, but the
        checkpoint stays where it was.
        """
        batch = Batch(records=page.records, spoiled=page.spoiled, observed_at=page.requested_at)
        with self.landing(page) as step:
            self.define(step.tx, page.fields)
            step.add(apply(step.tx, self.scope, batch))
            step.landed(batch)
            too_many = step.total.read >= FEW and step.total.parked > self._park_limit * step.total.read
            if sweep is not None and not too_many:
                seen = [record.source_id for record in page.records if not record.deleted]
                absences.saw(step.tx, sweep, [*seen, *(bad.source_id for bad in page.spoiled if bad.source_id)])
            place = cursor if cursor is not None else page.cursor
            if place is not None and not too_many:
                stream_of = (self.scope.connection_id, stream)
                checkpoints.move(step.tx, stream_of, place, run_id=self.scope.run_id, at=page.requested_at)
        if too_many:
            raise Stopped(
                f"{step.total.parked} of {step.total.read} records had to be parked, more than park_limit = "
                f"{self._park_limit} allows. The checkpoint stays where it was: look at "
                f"`dealsync parked list`, mend the mapping, then run this again",
                replace(step.total, seconds=self.seconds()),
            )

    def land_found(self, found: Found) -> Counts:
        """Apply a record that was asked for by its id."""
        with self.landing() as step:
            self.define(step.tx, found.fields)
            batch = Batch(records=[found.record], observed_at=found.requested_at, closely=True)
            step.landed(batch)
            return step.add(apply(step.tx, self.scope, batch))

    def land_batch(self, batch: Batch) -> Counts:
        """Apply records that no checkpoint belongs to: replayed from the vault."""
        with self.landing() as step:
            step.landed(batch)
            return step.add(apply(step.tx, self.scope, batch))

    def bury(self, source_id: str, observed_at: str) -> None:
        """Append the tombstone of a deal that is proven gone: missed by two sweeps, or announced as deleted, and denied
        by a get-one."""
        with self.landing() as step:
            counts = step.add(bury(step.tx, self.scope, source_id, observed_at))
            step.touched.append(source_id)
            step.gone.append(source_id)
            absences.here_again(step.tx, self.scope.connection_id, [source_id])
        log.info("deal.deleted", source_id=source_id, events=counts.events)

    def retell(self, source_ids: Sequence[str]) -> Counts:
        """Give the ledger another event with the present state of these deals: it has lost or changed what it had."""
        with self.landing() as step:
            step.touched.extend(source_ids)
            return step.add(retell(step.tx, self.scope, source_ids))

    def beware(self, suspects: int) -> None:
        """So many deals may turn out to be gone: hold the run's events from the start if that would be too many."""
        with self.store.write() as tx:
            self.confirm(tx)
            circuit = self.circuit.beware(tx, suspects)
        self.circuit = circuit

    @contextmanager
    def looking_over(self, page: Page, seen: Sequence[Seen]) -> Iterator[tuple[Step, Readings]]:
        """What the mapping makes of the page's records, given with the digests of their bytes; none of them lands.

        What is written meanwhile is one transaction with the counts.
        """
        with self.landing(page) as step:
            self.define(step.tx, page.fields)
            found = readings(step.tx, self.scope, seen)
            mapped = sum(one.record.deleted or isinstance(found[one.digest], Mapped) for one in seen)
            read = len(seen) + len(page.spoiled)
            step.add(Counts(read=read, unchanged=mapped, out_of_scope=read - mapped))
            yield step, found

    def seconds(self) -> float:
        """How long the run has taken."""
        return time.monotonic() - self.begun

    def confirm(self, tx: Connection) -> None:
        """Refuse to write once somebody else holds the lease."""
        if self.lease is not None:
            leases.confirm(tx, self.lease)

    def define(self, tx: Connection, fields: Sequence[Field]) -> None:
        """Bind custom fields that the source has just defined, before any record that bears them is read."""
        scope = self.scope
        if fields and labels.define(tx, scope.connection_id, self.connected.source.name, fields, now(tx)):
            mapper = scope.mapper.with_labels(labels.known(tx, scope.connection_id))
            self.scope = replace(scope, mapper=mapper)

    @contextmanager
    def landing(self, page: Page | None = None) -> Iterator[Step]:
        """One transaction in which records land. Its counts count only once it is committed."""
        with self.store.write() as tx:
            self.confirm(tx)
            total = replace(
                self.summary,
                doubts=list(self.summary.doubts),
                notes=list(self.summary.notes),
                flags=Counter(self.summary.flags),
            )
            step = Step(tx, total)
            began = now(tx)
            yield step
            if self.predecessors:
                refuse_renamed(tx, self.connected.name, self.predecessors, step.touched)
            circuit = self.circuit.after(tx, step.touched, step.gone, began)
            runs.count(tx, total)
        self.summary, self.circuit = total, circuit
        if page is not None:
            _once(self.summary.doubts, page.doubts)
            _once(self.summary.notes, page.notes)
        self.summary.seconds = self.seconds()
        self.progress(self.summary)

    def settle(self, tx: Connection) -> None:
        """Nothing more will land: a change set begun out of caution only is let go, another one is told of."""
        circuit = self.circuit = self.circuit.close(tx)
        self.summary.held = held.run_held(tx, self.summary.run) if circuit.holds else 0
        _once(self.summary.notes, circuit.notes())

    @property
    def _park_limit(self) -> float:
        return self.connected.settings.park_limit


@dataclass(frozen=True, slots=True)
class Step:
    """A transaction under way, and the run's counts when it will be committed."""

    tx: Connection
    total: Summary
    touched: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def landed(self, batch: Batch) -> None:
        """Tell which deals this transaction touches, and which of them their records say are gone."""
        self.touched.extend(record.source_id for record in batch.records)
        self.gone.extend(record.source_id for record in batch.records if record.deleted)

    def add(self, counts: Counts) -> Counts:
        """Count what became of records in this transaction."""
        self.total.add(counts)
        return counts


def _once(known: list[str], more: Sequence[str]) -> None:
    known.extend(line for line in dict.fromkeys(more) if line not in known)


@contextmanager
def running(app: App, name: str, kind: str, *, progress: Progress, exclusive: bool = True) -> Iterator[Run]:
    """A run of a connection from its lease to its end, however it ends.

    `exclusive` runs (pull, sweep) hold the connection's lease; a fetch of one deal waits for nobody.
    """
    connected = app.connection(name)
    if not exclusive:
        yield from _run(app, connected, kind, progress, None)
        return
    with leases.hold(app.store, f"connection {name}") as lease:
        yield from _run(app, connected, kind, progress, lease)


def _run(app: App, connected: Connected, kind: str, progress: Progress, lease: Lease | None) -> Iterator[Run]:
    try:
        scope, before = _begin(app, connected, kind, alone=lease is not None)
    except SettingsError as error:
        _stay_out(app.store, connected, error)
        raise
    with bind(run=scope.run_id, connection=connected.name):
        log.info("run.started", kind=kind)
        reader = None
        try:
            known = landed(app.store, connected.name)
            reader = connected.open_reader(app.store.now, app.permits(connected.name, kind), known)
            summary = Summary(run=scope.run_id, connection=connected.name)
            run = Run(app.store, connected, scope, reader, summary, progress, lease, before)
            yield run
            _finish(app.store, run, kind)
        except BaseException as error:
            _fail(app.store, scope, error)
            raise
        finally:
            if reader is not None:
                reader.close()


def predecessors_of(tx: Connection, app: App, connected: Connected) -> Mapping[int, str]:
    """Connections whose deals this one may be about to tell of under its own name; see `pipeline.renamed`."""
    if connected.settings.external_id_prefix is not None:  # a person has said whose deals these are
        return {}
    return predecessors(tx, connected.name, app.settings.connections)


def _begin(app: App, connected: Connected, kind: str, *, alone: bool) -> tuple[Scope, Mapping[int, str]]:
    with app.store.write() as tx:
        row = connections.enrol(tx, connected.name, connected.settings.source)
        scope = scope_of(tx, app.store, connected, runs.start(tx, kind, row.id, now(tx), alone=alone))
        return scope, predecessors_of(tx, app, connected)


def _stay_out(store: Store, connected: Connected, error: SettingsError) -> None:
    """Let `status` say what a run was refused for before it had begun: else only the log of a worker would."""
    with store.write() as tx:
        row = connections.enrol(tx, connected.name, connected.settings.source)
        connections.set_state(tx, row.id, "failing", reason_of(error))


def scope_of(tx: Connection, store: Store, connected: Connected, run_id: int) -> Scope:
    """Whose records a run lands, and how they are read. The mapping in force is kept on its first use.

    Raises `SettingsError` where the prefix was changed: each deal would be in the ledger twice, and be paid on twice.
    """
    row = connections.enrol(tx, connected.name, connected.settings.source)
    if (told_as := prefixes.told_otherwise(tx, row.id, connected.prefix)) is not None:
        before = told_as.partition(":")[0]
        raise SettingsError(
            [
                f"connections.{connected.name}: the ledger knows its deals by ids like {told_as}, and under the prefix "
                f"{connected.prefix!r} each would be paid twice: write external_id_prefix = {before!r}"
            ]
        )
    mapping_id = connections.keep_mapping(tx, connected.mapping_row(now(tx)))
    if row.mapping_id not in (None, mapping_id):
        connections.use_mapping(tx, row.id, connections.SEVERAL)
    return Scope(
        connection_id=row.id,
        connection=connected.name,
        prefix=connected.prefix,
        epoch=connections.fact(tx, "epoch", store.epoch),  # a recovery in another process may have drawn a new one
        mapper=connected.mapper.with_labels(labels.known(tx, row.id)),
        mapping_id=mapping_id,
        run_id=run_id,
    )


def _finish(store: Store, run: Run, kind: str) -> None:
    run.summary.seconds = run.seconds()
    _once(run.summary.notes, list(told(run.summary.flags)))
    with store.write() as tx:
        run.confirm(tx)
        at = now(tx)
        run.settle(tx)
        runs.count(tx, run.summary)
        runs.end(tx, run.summary.run, "done", at, "; ".join(run.summary.doubts) or None)
        if kind in READS:
            connections.succeeded(tx, run.scope.connection_id, at)
        elif kind == "fetch":
            answered(tx, run.scope)
    log.info("run.finished", **{key: value for key, value in run.summary.as_json().items() if key != "run"})


def answered(tx: Connection, scope: Scope) -> None:
    """The source has answered, though not told all that changed: it refuses us no longer, and is there again.

    That a read has failed or was stopped stays said until one ends well, and `last_success` is where it was.
    """
    row = connections.find(tx, scope.connection)
    if row is None or row.state not in ("refused", "failing"):
        return
    reads = [last for kind in READS if (last := runs.last(tx, kind, row.id)) is not None]
    latest = max(reads, key=itemgetter("id"), default=None)
    if row.state == "refused" or latest is None or latest["state"] not in ("failed", "stopped"):
        connections.set_state(tx, row.id, "ok", None)


def _fail(store: Store, scope: Scope, error: BaseException) -> None:
    """Write down how the run ended, as far as the store still lets us; the fault itself is what the caller sees."""
    reason = reason_of(error)
    state = "stopped" if isinstance(error, Stopped) else "failed"
    log.warning("run.failed", reason=reason)
    try:
        with store.write() as tx:
            at = now(tx)
            resumes_at = later(at, timedelta(seconds=error.retry_after_s)) if isinstance(error, RateLimited) else None
            runs.end(tx, scope.run_id, state, at, reason, resumes_at)
            if isinstance(error, RateLimited):  # the clock mends that: nobody has to be called
                connections.wait(tx, scope.connection_id, reason)
            elif isinstance(error, Fault | Stopped | SettingsError):
                how = "refused" if isinstance(error, Refused) else "failing"
                connections.set_state(tx, scope.connection_id, how, reason)
    except Exception:
        log.warning("run.end_not_written")
