"""Shelf: the records of a batch's deals that are held back: parked before, parked now, or put aside by somebody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sqlalchemy import Connection

from connectors.source import Record
from mappings.outcome import Problem, Unmappable
from pipeline.batch import Batch, Scope, Seen, older
from pipeline.store import parking
from pipeline.store.parking import Entry, ParkedRow
from pipeline.store.vault import RawRef

TOLD = 5
"""So many of a parked record's problems are told; nobody mends a hundred at a time."""

Fate: TypeAlias = Literal["parked", "superseded", "out_of_scope"]


@dataclass(slots=True)
class Shelf:
    """What is held back of the deals of one batch. `at` is the time of the transaction."""

    tx: Connection
    scope: Scope
    batch: Batch
    at: str
    held: dict[str, Entry] = field(default_factory=dict)
    parks: dict[str, ParkedRow] = field(default_factory=dict)
    aside: set[tuple[str, bytes]] = field(default_factory=set)
    closed: dict[str, list[int]] = field(default_factory=lambda: {"resolved": [], "superseded": []})

    def look_up(self, names: Sequence[str]) -> None:
        """Find what is parked of these deals."""
        if names and parking.any_open(self.tx, self.scope.connection_id):
            self.held = parking.open_records(self.tx, self.scope.connection_id, names)

    def known_raws(self, names: Sequence[str]) -> Iterator[RawRef]:
        """Where the vault keeps what is parked of the batch's deals already, and what somebody discarded of these."""
        yield from (_raw_of(entry.row) for entry in self.held.values())
        if names and parking.any_discarded(self.tx, self.scope.connection_id):
            for entry in parking.discarded_records(self.tx, self.scope.connection_id, names):
                self.aside.add((entry.row.source_id, entry.row.raw_digest or b""))
                yield _raw_of(entry.row)

    def park(self, seen: Seen, reading: Unmappable, ref: RawRef) -> Fate:
        """Hold a record back, unless something newer of its deal is held back or somebody discarded these bytes."""
        record, first = seen.record, reading.problems[0]
        entry = self.held.get(record.source_id)
        held = self.parks.get(record.source_id) or (entry.row if entry else None)
        if held is not None and held.raw_digest != seen.digest and self._older_than(held, record):
            return "superseded"
        if (record.source_id, seen.digest) in self.aside:
            self.clear(record, seen.digest)
            return "out_of_scope"
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
            observed_at=self.batch.moment(record.source_id),
            mapping_id=self.scope.mapping_id,
            since=entry.row.since if entry else self.at,
            last_seen=self.at,
        )
        return "parked"

    def clear(self, record: Record, name: bytes) -> None:
        """A record that maps (or says that the deal is gone) ends the parking of its deal, unless that is newer."""
        entry = self.held.get(record.source_id)
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

    def write(self) -> None:
        """Park what is to be parked, and close what needs nobody any more."""
        parking.add(self.tx, [row for name, row in self.parks.items() if name not in self.held])
        again = [Entry(self.held[name].id, row) for name, row in self.parks.items() if name in self.held]
        parking.replace(self.tx, again)
        for state, numbers in self.closed.items():
            parking.close(self.tx, numbers, state, at=self.at, note=f"run {self.scope.run_id}")

    def _older_than(self, held: ParkedRow, record: Record) -> bool:
        return older((record.version, self.batch.moment(record.source_id)), (held.version, held.observed_at))


def _told(problems: Sequence[Problem]) -> str:
    """What is wrong with a record, in a line that a person can read: the first few, and how many more."""
    first = "; ".join(problem.message for problem in problems[:TOLD])
    return first if len(problems) <= TOLD else f"{first}; and {len(problems) - TOLD} more"


def _raw_of(row: ParkedRow) -> RawRef:
    return RawRef(row.raw_digest or b"", row.raw_block or 0, row.raw_position or 0)
