"""Apply: the one way in which records land, whatever road brought them; one batch, one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace
from sqlalchemy import Connection

from connectors.source import Record, Spoiled
from deals.diff import Change, diff, tombstone
from deals.events import Cause, EventType
from deals.identity import dedup_key, digest, external_id, state_bytes
from deals.state import DealState
from mappings.drift import Drift
from mappings.outcome import Mapped, Problem, Unmappable
from pipeline.batch import Batch, Scope, Seen, older
from pipeline.flags import BECAME_DERIVED, became_derived
from pipeline.hops import Move, between
from pipeline.readings import Readings, readings
from pipeline.shelf import Shelf
from pipeline.store import absences, drifting, outbox, projection, vault
from pipeline.store.outbox import EventRow
from pipeline.store.projection import DealRow
from pipeline.store.session import now
from pipeline.store.vault import RawRef
from pipeline.summary import Counts

log = structlog.get_logger()


def apply(tx: Connection, scope: Scope, batch: Batch) -> Counts:
    """Land a batch: raw kept, mapped, compared with the projection, events put in the outbox.

    The caller commits, together with the checkpoint. Statements are few and set-based, whatever the batch's size.
    """
    projection.lock(tx, scope.connection_id)
    landing = _Landing.begin(tx, scope, batch)
    changed = landing.skip_unchanged()
    landing.keep_raw(changed)
    landing.read(changed)
    for seen in changed:
        landing.decide(seen)
    landing.park_spoiled()
    landing.write()
    return landing.counts


def bury(tx: Connection, scope: Scope, source_id: str, observed_at: str) -> Counts:
    """A deal is proven gone: append its tombstone, unless somebody saw it since `observed_at` or it is gone already.

    What was parked of it until then needs nobody any more, even if nothing of it ever reached the ledger.
    """
    projection.lock(tx, scope.connection_id)
    landing = _Landing.begin(tx, scope, Batch(records=(), observed_at=observed_at))
    row = projection.lookup(tx, scope.connection_id, [source_id]).get(source_id)
    alive = row is not None and not row.deleted
    if row is not None and alive and row.observed_at >= observed_at:
        return landing.counts
    if row is not None and alive:
        last = projection.states(tx, scope.connection_id, [source_id])[source_id]
        landing.known[source_id] = row
        # Absence has no version: a restored deal may come back with an older one than it left with.
        gone = row._replace(observed_at=observed_at, deleted=True, version=None)
        landing.tell(gone, tombstone(last), Cause.SOURCE_CHANGE)
    landing.shelf.look_up([source_id])
    landing.shelf.clear(Record(source_id, None, b"", ""), b"")
    landing.write()
    return landing.counts


def retell(tx: Connection, scope: Scope, source_ids: Sequence[str]) -> Counts:
    """The ledger does not hold what it was told of these deals: give each another event with its present state.

    Deals that have an event on its way are left out: it says the same.
    """
    projection.lock(tx, scope.connection_id)
    landing = _Landing.begin(tx, scope, Batch(records=(), observed_at=now(tx), cause=Cause.REPAIR))
    on_their_way = outbox.lanes(tx, scope.connection_id, source_ids)
    states = projection.states(tx, scope.connection_id, source_ids)
    for source_id, row in projection.lookup(tx, scope.connection_id, source_ids).items():
        if source_id not in on_their_way:
            kind = EventType.DELETE if row.deleted else EventType.UPSERT
            landing.tell(row, Change(kind, states[source_id]), Cause.REPAIR)
    landing.write()
    return landing.counts


def overrule(tx: Connection, scope: Scope, wanted: Sequence[tuple[DealRow, Change]]) -> Counts:
    """A person knows better: give each of these deals, as its row is to stand, an event with the given state."""
    landing = _Landing.begin(tx, scope, Batch(records=(), observed_at=now(tx), cause=Cause.MANUAL))
    for row, change in wanted:
        landing.tell(row, change, Cause.MANUAL)
    landing.write()
    return landing.counts


@dataclass(slots=True)
class _Landing:
    """One batch on its way in."""

    tx: Connection
    scope: Scope
    batch: Batch
    at: str
    shelf: Shelf
    spoiled: list[Seen]
    counts: Counts = field(default_factory=Counts)
    known: dict[str, DealRow] = field(default_factory=dict)
    before: dict[str, DealState] = field(default_factory=dict)
    hops: dict[bytes, list[str]] = field(default_factory=dict)
    readings: Readings = field(default_factory=dict)
    refs: dict[bytes, RawRef] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    rows: dict[str, DealRow] = field(default_factory=dict)
    events: list[EventRow] = field(default_factory=list)
    drift: Drift = field(default_factory=Drift)

    @classmethod
    def begin(cls, tx: Connection, scope: Scope, batch: Batch) -> _Landing:
        at = now(tx)
        spoiled = [_unreadable(bad, digest(bad.raw)) for bad in batch.spoiled]
        return cls(tx, scope, batch, at, Shelf(tx, scope, batch, at), spoiled)

    def skip_unchanged(self) -> list[Seen]:
        """Look all records up at once and leave out those whose very bytes are already projected."""
        records, connection_id = self.batch.records, self.scope.connection_id
        self.counts.read = len(records) + len(self.spoiled)
        observed = [(record.source_id, digest(record.raw)) for record in records]
        self.shelf.look_up([source_id for source_id, _ in observed] + [bad.record.source_id for bad in self.spoiled])
        if not records:
            return []
        places: Sequence[int] = range(len(records))
        if not self.batch.closely and not self.batch.again:
            places = projection.differing(self.tx, connection_id, self.scope.mapping_id, observed)
            self._pass_over(observed, set(places))
        changed = [Seen(records[place], observed[place][1]) for place in places]
        if changed:
            self.known = projection.lookup(self.tx, connection_id, [seen.record.source_id for seen in changed])
        alive = {seen.record.source_id for seen in changed if not seen.record.deleted}
        return [seen for seen in changed if seen.record.source_id in alive or not self._never_here(seen)]

    def _pass_over(self, observed: Sequence[tuple[str, bytes]], changed: set[int]) -> None:
        """Records that are just as projected: they are counted, and may end a parking."""
        self.counts.unchanged = len(observed) - len(changed)
        if self.shelf.held:
            for place, (source_id, name) in enumerate(observed):
                if place not in changed and source_id in self.shelf.held:
                    self.shelf.clear(self.batch.records[place], name)

    def _never_here(self, seen: Seen) -> bool:
        """Whether this is the tombstone of a deal that we never knew: nothing is owed for it.

        A deal of this very batch is known by the time that its tombstone's turn comes: the list shows it, and the log
        of what was deleted is read behind the list.
        """
        if not seen.record.deleted or seen.record.source_id in self.known:
            return False
        self.counts.out_of_scope += 1
        self.shelf.clear(seen.record, seen.digest)
        return True

    def keep_raw(self, changed: Sequence[Seen]) -> None:
        """Put the bytes that the vault does not hold yet into one block."""
        for row in self.known.values():
            self.refs[row.raw_digest] = row.raw
        landing = [*changed, *self.spoiled]
        for ref in self.shelf.known_raws([seen.record.source_id for seen in landing]):
            self.refs[ref.digest] = ref
        fresh = {seen.digest: seen.record.raw for seen in landing if seen.digest not in self.refs}
        if fresh:
            block = vault.keep(self.tx, list(fresh.values()), self.at)
            self.refs.update((name, RawRef(name, block, place)) for place, name in enumerate(fresh))

    def read(self, changed: Sequence[Seen]) -> None:
        """Map every changed record, then look up the states that differ, all at once."""
        self.readings = readings(self.tx, self.scope, changed)
        for reading in self.readings.values():
            if isinstance(reading, Mapped):
                self.drift.add(reading.drift)
        differing = [
            record.source_id
            for record, name in changed
            if record.source_id in self.known and (record.deleted or isinstance(self.readings[name], Mapped))
        ]
        if differing:
            self.before = projection.states(self.tx, self.scope.connection_id, differing)
            self.hops = between(self.tx, self.scope, list(self._moves(changed)))

    def _moves(self, changed: Sequence[Seen]) -> Iterator[Move]:
        """The living deals among those changed whose records bear a history of their stages."""
        for seen in changed:
            reading, row = self.readings.get(seen.digest), self.known.get(seen.record.source_id)
            if isinstance(reading, Mapped) and reading.hops and row is not None and not row.deleted:
                yield Move(seen, reading, row, self.before[row.source_id])

    def decide(self, seen: Seen) -> None:
        """What becomes of one changed record: superseded, parked, unchanged in meaning, or an event."""
        record = seen.record
        row = self.known.get(record.source_id)
        if row is not None and self._late_for(row, seen):
            self.counts.superseded += 1
            return
        if self._never_here(seen):
            return
        if record.deleted:
            self._end(seen, self.known[record.source_id])
        elif isinstance(reading := self.readings[seen.digest], Unmappable):
            self._park(seen, reading)
            return
        else:
            if reading.flags:
                self.counts.flags.update(reading.flags)
            self._land(seen, reading.state, row)
        self.shelf.clear(record, seen.digest)

    def tell(self, row: DealRow, change: Change, cause: Cause) -> None:
        """Give a deal its next revision, and the ledger an event of it."""
        state = state_bytes(change.state)
        state_digest = digest(state)
        key = dedup_key(
            epoch=self.scope.epoch,
            connection=self.scope.connection,
            source_id=row.source_id,
            revision=row.revision + 1,
            previous=row.head_key,
            change=(change.event_type, state_digest),
        )
        revision = row.revision + 1
        row = DealRow(row.source_id, row.kind, revision, key, state_digest, *row[5:])
        self.rows[row.source_id] = self.known[row.source_id] = row
        self.before[row.source_id] = change.state
        self.counts.events += 1
        scope, name = self.scope, external_id(self.scope.prefix, row.source_id)
        self.events.append(
            EventRow(  # by position, as they lie in the table: a first load makes one for every record
                scope.connection_id, row.source_id, revision, key, name, change.event_type, state.decode(), cause,
                row.raw_digest, row.raw_block, row.raw_position, row.version, row.mapping_id, scope.run_id, self.at,
            )
        )  # fmt: skip

    def park_spoiled(self) -> None:
        """Records that nobody can read need no mapping to be parked."""
        for seen, bad in zip(self.spoiled, self.batch.spoiled, strict=True):
            self._park(seen, Unmappable((Problem("record", bad.reason, bad.message),)))

    def write(self) -> None:
        """Everything the batch decided, in a handful of statements."""
        projection.save(self.tx, self.scope.connection_id, list(self.rows.values()), new=self.new)
        outbox.add(self.tx, self.events)
        self.shelf.write()
        drifting.add(self.tx, self.scope.connection_id, self.drift.counts(), self.at)
        if self.batch.records and absences.any_at_all(self.tx, self.scope.connection_id):
            seen = [record.source_id for record in self.batch.records]
            absences.here_again(self.tx, self.scope.connection_id, seen)

    def _late_for(self, row: DealRow, seen: Seen) -> bool:
        """Whether the deal was seen in a newer state than this record shows."""
        if row.raw_digest == seen.digest and not row.deleted:
            return False
        moment = self.batch.moment(row.source_id)
        return older((seen.record.version, moment), (row.version, row.observed_at))

    def _land(self, seen: Seen, state: DealState, row: DealRow | None) -> None:
        record = seen.record
        same_bytes = row is not None and row.raw_digest == seen.digest
        was_deleted = row is not None and row.deleted
        if row is None:
            self.new.add(record.source_id)
        row = self._observed(row, seen)
        before, hops = self.before.get(record.source_id), self.hops.pop(seen.digest, ())
        change = diff(before, state)
        if change is None and not hops:
            self.counts.unchanged += 1
            self.rows[record.source_id] = self.known[record.source_id] = row
            return
        if before is not None and became_derived(self.scope.mapper.derived_by(record.kind), before, state):
            self.counts.flags[BECAME_DERIVED] += 1
            log.info(BECAME_DERIVED, source_id=record.source_id)
        self.counts.applied += 1
        remapped = same_bytes and not self.batch.again
        cause = Cause.UNDELETE if was_deleted else Cause.MAPPING_CHANGE if remapped else self.batch.cause
        for stage in hops:
            hop = replace(self.before[record.source_id], stage=stage)
            self.tell(row, Change(EventType.STAGE_CHANGE, hop), cause)
            row, change = self.known[record.source_id], diff(hop, state)
        if change is not None:
            self.tell(row, change, cause)

    def _end(self, seen: Seen, row: DealRow) -> None:
        """The source itself says that the deal is gone."""
        gone = self._observed(row, seen)._replace(kind=row.kind, deleted=True)
        if row.deleted:
            self.counts.unchanged += 1
            self.rows[row.source_id] = self.known[row.source_id] = gone
            return
        self.counts.applied += 1
        self.tell(gone, tombstone(self.before[row.source_id]), self.batch.cause)

    def _observed(self, row: DealRow | None, seen: Seen) -> DealRow:
        """The deal's row after this observation; its revision and state are those of before."""
        record, ref = seen.record, self.refs[seen.digest]
        revision, head_key, state_digest = (row.revision, row.head_key, row.state_digest) if row else (0, "", b"")
        version, observed_at = record.version, self.batch.moment(record.source_id)
        if row is not None:
            observed_at = max(observed_at, row.observed_at)
            if row.raw_digest == seen.digest and not row.deleted:
                version = row.version
                if not self.batch.closely:  # read again under another mapping: that is no new observation
                    observed_at = row.observed_at
        return DealRow(
            record.source_id, record.kind, revision, head_key, state_digest, False, ref.digest, ref.block,
            ref.position,
            version, observed_at, self.scope.mapping_id,
        )  # fmt: skip

    def _park(self, seen: Seen, reading: Unmappable) -> None:
        fate = self.shelf.park(seen, reading, self.refs[seen.digest])
        setattr(self.counts, fate, getattr(self.counts, fate) + 1)


def _unreadable(bad: Spoiled, name: bytes) -> Seen:
    """A spoiled record under its id, or under the digest of its bytes where nobody can tell which deal it is."""
    return Seen(Record(bad.source_id or f"raw:{name.hex()[:24]}", None, bad.raw, ""), name)
