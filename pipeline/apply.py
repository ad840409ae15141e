"""Apply: the one way in which records land, whatever road brought them; one batch, one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection

from connectors.source import Record, Spoiled
from deals.diff import Change, diff, tombstone
from deals.events import Cause
from deals.identity import dedup_key, digest, external_id, state_bytes
from deals.state import DealState
from mappings.drift import Drift
from mappings.mapper import Mapper
from mappings.outcome import Mapped, Problem, Unmappable
from pipeline.decode import Undecodable, decode
from pipeline.store import absences, drifting, outbox, parking, projection, vault
from pipeline.store.outbox import EventRow
from pipeline.store.parking import Entry, ParkedRow
from pipeline.store.projection import DealRow
from pipeline.store.session import now
from pipeline.store.vault import RawRef
from pipeline.summary import Counts

TOLD = 5
"""So many of a parked record's problems are told; nobody mends a hundred at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose records are applied, how they are read, and under which run."""

    connection_id: int
    connection: str
    prefix: str
    epoch: str
    mapper: Mapper
    mapping_id: int
    run_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Records observed at one moment: the time just before their request was sent, by the database's clock.

    `closely` says that the records were asked for by id: then even an unchanged one moves its deal's observation
    forward, so that a slow page asked for earlier cannot overwrite what was seen now.
    """

    records: Sequence[Record]
    observed_at: str
    spoiled: Sequence[Spoiled] = ()
    cause: Cause = Cause.SOURCE_CHANGE
    closely: bool = False


def apply(tx: Connection, scope: Scope, batch: Batch) -> Counts:
    """Land a batch: raw kept, mapped, compared with the projection, events put in the outbox.

    The caller commits, together with the checkpoint. Statements are few and set-based, whatever the batch's size.
    """
    projection.lock(tx, scope.connection_id)
    landing = _Landing(tx, scope, batch)
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
    landing = _Landing(tx, scope, Batch(records=(), observed_at=observed_at))
    row = projection.lookup(tx, scope.connection_id, [source_id]).get(source_id)
    alive = row is not None and not row.deleted
    if row is not None and alive and row.observed_at >= observed_at:
        return landing.counts
    if row is not None and alive:
        last = projection.states(tx, scope.connection_id, [source_id])[source_id]
        landing.known[source_id] = row
        gone = row._replace(observed_at=observed_at, deleted=True)
        landing.tell(gone, tombstone(last), Cause.SOURCE_CHANGE)
    landing.shelf = parking.open_records(tx, scope.connection_id, [source_id])
    landing.clear_shelf(Record(source_id, None, b"", ""), b"")
    landing.write()
    return landing.counts


class _Seen(NamedTuple):
    """A record that is not byte for byte what its deal was last projected from."""

    record: Record
    digest: bytes


@dataclass(slots=True)
class _Landing:
    """One batch on its way in."""

    tx: Connection
    scope: Scope
    batch: Batch
    counts: Counts = field(default_factory=Counts)
    known: dict[str, DealRow] = field(default_factory=dict)
    shelf: dict[str, Entry] = field(default_factory=dict)
    before: dict[str, DealState] = field(default_factory=dict)
    readings: dict[bytes, Mapped | Unmappable] = field(default_factory=dict)
    refs: dict[bytes, RawRef] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    rows: dict[str, DealRow] = field(default_factory=dict)
    events: list[EventRow] = field(default_factory=list)
    parks: dict[str, ParkedRow] = field(default_factory=dict)
    spoiled: list[_Seen] = field(default_factory=list)
    aside: set[tuple[str, bytes]] = field(default_factory=set)
    closed: dict[str, list[int]] = field(default_factory=lambda: {"resolved": [], "superseded": []})
    drift: Drift = field(default_factory=Drift)
    at: str = ""

    def __post_init__(self) -> None:
        self.at = now(self.tx)
        self.spoiled = [_unreadable(bad, digest(bad.raw)) for bad in self.batch.spoiled]

    def skip_unchanged(self) -> list[_Seen]:
        """Look all records up at once and leave out those whose very bytes are already projected."""
        records, connection_id = self.batch.records, self.scope.connection_id
        self.counts.read = len(records) + len(self.spoiled)
        observed = [(record.source_id, digest(record.raw)) for record in records]
        if self.counts.read and parking.any_open(self.tx, connection_id):
            names = [source_id for source_id, _ in observed] + [bad.record.source_id for bad in self.spoiled]
            self.shelf = parking.open_records(self.tx, connection_id, names)
        if not records:
            return []
        places: Sequence[int] = range(len(records))
        if not self.batch.closely:
            places = projection.differing(self.tx, connection_id, self.scope.mapping_id, observed)
            self._pass_over(observed, set(places))
        changed = [_Seen(records[place], observed[place][1]) for place in places]
        if changed:
            self.known = projection.lookup(self.tx, connection_id, [seen.record.source_id for seen in changed])
        return changed

    def _pass_over(self, observed: Sequence[tuple[str, bytes]], changed: set[int]) -> None:
        """Records that are just as projected: they are counted, and may end a parking."""
        self.counts.unchanged = len(observed) - len(changed)
        if self.shelf:
            for place, (source_id, name) in enumerate(observed):
                if place not in changed and source_id in self.shelf:
                    self.clear_shelf(self.batch.records[place], name)

    def keep_raw(self, changed: Sequence[_Seen]) -> None:
        """Put the bytes that the vault does not hold yet into one block."""
        for row in self.known.values():
            self.refs[row.raw_digest] = row.raw
        for entry in self.shelf.values():
            self.refs[entry.row.raw_digest or b""] = _raw_of(entry.row)
        landing = [*changed, *self.spoiled]
        if landing and parking.any_discarded(self.tx, self.scope.connection_id):
            names = [seen.record.source_id for seen in landing]
            for entry in parking.discarded_records(self.tx, self.scope.connection_id, names):
                self.aside.add((entry.row.source_id, entry.row.raw_digest or b""))
                self.refs[entry.row.raw_digest or b""] = _raw_of(entry.row)
        fresh = {seen.digest: seen.record.raw for seen in landing if seen.digest not in self.refs}
        if fresh:
            block = vault.keep(self.tx, list(fresh.values()), self.at)
            self.refs.update((name, RawRef(name, block, place)) for place, name in enumerate(fresh))

    def read(self, changed: Sequence[_Seen]) -> None:
        """Map every changed record, then look up the states that differ, all at once."""
        differing = []
        for record, name in changed:
            if name in self.readings:
                continue
            reading = self.readings[name] = self._reading(record)
            if isinstance(reading, Mapped):
                self.drift.add(reading.drift)
                if record.source_id in self.known:
                    differing.append(record.source_id)
        if differing:
            self.before = projection.states(self.tx, self.scope.connection_id, differing)

    def decide(self, seen: _Seen) -> None:
        """What becomes of one changed record: superseded, parked, unchanged in meaning, or an event."""
        record, reading = seen.record, self.readings[seen.digest]
        row = self.known.get(record.source_id)
        if row is not None and self._late_for(row, seen):
            self.counts.superseded += 1
        elif isinstance(reading, Unmappable):
            self._park(seen, reading)
        else:
            self._land(seen, reading.state, row)
            self.clear_shelf(record, seen.digest)

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
        parking.add(self.tx, [row for identity, row in self.parks.items() if identity not in self.shelf])
        again = [Entry(self.shelf[who].id, row) for who, row in self.parks.items() if who in self.shelf]
        parking.replace(self.tx, again)
        for state, numbers in self.closed.items():
            parking.close(self.tx, numbers, state, at=self.at, note=f"run {self.scope.run_id}")
        drifting.add(self.tx, self.scope.connection_id, self.drift.counts(), self.at)
        if self.batch.records and absences.any_at_all(self.tx, self.scope.connection_id):
            seen = [record.source_id for record in self.batch.records]
            absences.here_again(self.tx, self.scope.connection_id, seen)

    def _reading(self, record: Record) -> Mapped | Unmappable:
        try:
            external_id(self.scope.prefix, record.source_id)
            return self.scope.mapper.map(record.kind, decode(record.raw))
        except Undecodable as error:
            return Unmappable((Problem("record", error.reason, str(error)),))
        except ValueError as error:
            return Unmappable((Problem("record", "BAD_ID", str(error)),))

    def _late_for(self, row: DealRow, seen: _Seen) -> bool:
        """Whether the deal was seen in a newer state than this record shows."""
        if row.deleted:
            return self.batch.observed_at < row.observed_at
        if row.raw_digest == seen.digest:
            return False
        return _older((seen.record.version, self.batch.observed_at), (row.version, row.observed_at))

    def _land(self, seen: _Seen, state: DealState, row: DealRow | None) -> None:
        record = seen.record
        same_bytes = row is not None and row.raw_digest == seen.digest
        was_deleted = row is not None and row.deleted
        if row is None:
            self.new.add(record.source_id)
        row = self._observed(row, seen)
        change = diff(self.before.get(record.source_id), state)
        if change is None:
            self.counts.unchanged += 1
            self.rows[record.source_id] = self.known[record.source_id] = row
            return
        self.counts.applied += 1
        cause = Cause.UNDELETE if was_deleted else Cause.MAPPING_CHANGE if same_bytes else self.batch.cause
        self.tell(row, change, cause)

    def _observed(self, row: DealRow | None, seen: _Seen) -> DealRow:
        """The deal's row after this observation; its revision and state are those of before."""
        record, ref = seen.record, self.refs[seen.digest]
        revision, head_key, state_digest = (row.revision, row.head_key, row.state_digest) if row else (0, "", b"")
        version, observed_at = record.version, self.batch.observed_at
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

    def _park(self, seen: _Seen, reading: Unmappable) -> None:
        record, first = seen.record, reading.problems[0]
        entry = self.shelf.get(record.source_id)
        held = self.parks.get(record.source_id) or (entry.row if entry else None)
        if held is not None and held.raw_digest != seen.digest and self._older_than(held, record):
            self.counts.superseded += 1
            return
        if (record.source_id, seen.digest) in self.aside:  # somebody looked at these very bytes and put them aside
            self.counts.out_of_scope += 1
            self.clear_shelf(record, seen.digest)
            return
        self.counts.parked += 1
        ref = self.refs[seen.digest]
        self.parks[record.source_id] = ParkedRow(
            connection_id=self.scope.connection_id,
            source_id=record.source_id,
            stage="record",
            revision=None,
            kind=record.kind,
            reason=first.reason,
            field=first.field,
            message=_told(reading.problems),
            raw_digest=ref.digest,
            raw_block=ref.block,
            raw_position=ref.position,
            version=record.version,
            observed_at=self.batch.observed_at,
            mapping_id=self.scope.mapping_id,
            since=entry.row.since if entry else self.at,
            last_seen=self.at,
        )

    def clear_shelf(self, record: Record, name: bytes) -> None:
        """A record that maps ends the parking of its deal, unless what is parked is newer."""
        entry = self.shelf.get(record.source_id)
        just_now = self.parks.get(record.source_id)
        if just_now is not None:
            if not self._older_than(just_now, record):
                note = f"run {self.scope.run_id}"
                over = just_now._replace(state="superseded", closed_at=self.at, closing_note=note)
                self.parks[record.source_id] = over
        elif entry is None:
            return
        elif entry.row.raw_digest == name:
            self.closed["resolved"].append(entry.id)
        elif not self._older_than(entry.row, record):
            self.closed["superseded"].append(entry.id)

    def _older_than(self, held: ParkedRow, record: Record) -> bool:
        return _older((record.version, self.batch.observed_at), (held.version, held.observed_at))


def _unreadable(bad: Spoiled, name: bytes) -> _Seen:
    """A spoiled record under its id, or under the digest of its bytes where nobody can tell which deal it is."""
    return _Seen(Record(bad.source_id or f"raw:{name.hex()[:24]}", None, bad.raw, ""), name)


def _told(problems: Sequence[Problem]) -> str:
    """What is wrong with a record, in a line that a person can read: the first few, and how many more."""
    first = "; ".join(problem.message for problem in problems[:TOLD])
    return first if len(problems) <= TOLD else f"{first}; and {len(problems) - TOLD} more"


def _older(one: tuple[str | None, str], other: tuple[str | None, str]) -> bool:
    """Whether an observation (version, observed at) is older than another: by the source's version where both have
    one and they differ, else by when the request was sent."""
    if one[0] is not None and other[0] is not None and one[0] != other[0]:
        return one[0] < other[0]
    return one[1] < other[1]


def _raw_of(row: ParkedRow) -> RawRef:
    return RawRef(row.raw_digest or b"", row.raw_block or 0, row.raw_position or 0)
