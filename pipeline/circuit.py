"""Circuit: a run that deletes more than it may tells the ledger nothing until a person has said so; nor does what many
runs delete within a day, where each of them deletes little: deliveries and pulls come in slices.

401 and 403 stop a connection (`pipeline.run`), too many parked records stop a run (`Run.land`). Too many deletes stop
neither: the run goes on, and its events are held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Connection

from pipeline.store import days, held, projection
from pipeline.store.days import Day
from pipeline.store.held import SetRow
from pipeline.store.session import now

log = structlog.get_logger()

FEWEST = 50
"""Of fewer living deals than this, a share of deleted ones says nothing."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """What a run has deleted so far, and the change set that its events are held in once that was too much.

    `living` is how many deals the connection had when the run deleted its first one. A run that is gone on with by
    others is `lasting`: what it has deleted is written down, so that all of them count together. `day` is that of the
    connection as the run left it when it last deleted a deal.
    """

    connection_id: int
    run_id: int
    limit: float
    living: int | None = None
    deletes: int = 0
    number: int | None = None
    lasting: bool = False
    day: Day | None = None

    @classmethod
    def gone_on_with(cls, tx: Connection, connection_id: int, run_id: int, limit: float) -> Circuit:
        """The circuit of a run that others may have begun, where they left it."""
        fresh = cls(connection_id, run_id, limit, lasting=True)
        living, deletes = held.counted(tx, run_id)
        circuit = replace(fresh, living=living, deletes=deletes, number=held.waiting_set(tx, run_id))
        return fresh if circuit.tripped and circuit.number is None else circuit

    @property
    def tripped(self) -> bool:
        """Whether the run has deleted more than it may."""
        return self._too_many(self.deletes)

    @property
    def holds(self) -> bool:
        """Whether something of the run is held."""
        return self.number is not None or (self.day is not None and self.day.number is not None)

    def after(self, tx: Connection, touched: Sequence[str], gone: Sequence[str], since: str) -> Circuit:
        """The circuit after a transaction that landed the deals `touched`, of which `gone` may have been deleted.

        `since` is when the transaction began. Where too many were, everything of the run that the ledger has not yet is
        held, in this transaction: nobody can send it any more. Once a person has decided, it counts anew. Where the run
        itself deletes little, but too many were deleted within the day, tombstones are held and nothing else.
        """
        circuit, new = self._undecided(tx), 0
        if gone:
            new = held.tombstones(tx, self.connection_id, self.run_id, gone, since)
            circuit = replace(circuit, deletes=circuit.deletes + new)._counted(tx, new)
        if self.lasting and (circuit.living, circuit.deletes) != (self.living, self.deletes):
            held.count(tx, self.run_id, circuit.living, circuit.deletes)
        if circuit.number is not None:
            held.hold(tx, circuit.number, touched)
            return circuit
        if circuit.tripped:
            return circuit._open(tx, circuit._why())
        return circuit._within_the_day(tx, new, since, gone) if new else circuit

    def beware(self, tx: Connection, suspects: int) -> Circuit:
        """The circuit before a run asks whether so many deals are gone: if all were, would that be too many?"""
        circuit = self._counted(tx, 0) if suspects else self
        if circuit.number is not None or not circuit._too_many(circuit.deletes + suspects):
            return circuit
        return circuit._open(
            tx, f"{suspects} of {circuit.living} deals are missing at the source; {_LIMIT.format(self.limit)}"
        )

    def close(self, tx: Connection) -> Circuit:
        """The circuit at the end of a run that got there: a set that was begun out of caution only is let go."""
        if self.holds:
            projection.lock(tx, self.connection_id)  # before the set, as whoever lands records and puts them into it
        circuit = self._undecided(tx)
        if circuit.number is not None and not circuit.tripped:
            begun = held.get(tx, circuit.number)
            held.forget(tx, circuit.number)
            let_go = replace(circuit, number=None)
            return let_go._within_the_day(tx, let_go.deletes, begun.row.since) if begun and let_go.deletes else let_go
        if circuit.number is not None:
            held.explain(tx, circuit.number, circuit._why())
        return circuit

    def notes(self) -> list[str]:
        """What the operator is to know."""
        told = []
        if self.number is not None:
            told.append(f"{self._why()}. The run's events are held as change set {_LOOK.format(self.number)}")
        if self.day is not None and self.day.number is not None:
            told.append(f"{self._why_of(self.day)}. Tombstones are held as change set {_LOOK.format(self.day.number)}")
        return told

    def _within_the_day(self, tx: Connection, new: int, since: str, gone: Sequence[str] | None = None) -> Circuit:
        """Count deletes that nobody has held so far to those of the day, which begins at `since` if none is under way.

        Once they are too many, they go into the day's change set: all that wait, then those of `gone`.
        """
        at = now(tx)
        day = days.under_way(tx, self.connection_id, at) or Day(since, 0)
        day = day._replace(deletes=day.deletes + new)
        if day.number is not None:
            held.hold_tombstones(tx, day.number, day.since, gone)
            held.explain(tx, day.number, self._why_of(day))
        elif self.limit < 1 and not self._bears(day):
            # Counted anew only where it matters: deals that came within the day lived in it as well.
            day = day._replace(living=held.living(tx, self.connection_id) + day.deletes)
            if day.living >= FEWEST and not self._bears(day):
                day = day._replace(number=self._open_day(tx, day, at))
        days.keep(tx, self.connection_id, day)
        return replace(self, day=day)

    def _bears(self, day: Day) -> bool:
        return day.deletes <= self.limit * day.living

    def _open_day(self, tx: Connection, day: Day, at: str) -> int:
        reason = self._why_of(day)
        number = held.open_set(tx, SetRow(self.connection_id, self.run_id, reason, at))
        held.hold_tombstones(tx, number, day.since)
        log.warning("events.held", change_set=number, reason=reason)
        return number

    def _undecided(self, tx: Connection) -> Circuit:
        """Nothing more is put into a change set that a person has released or discarded meanwhile: who would see it?"""
        circuit = self
        if self.day is not None and self.day.number is not None and not held.waits(tx, self.day.number):
            circuit = replace(circuit, day=None)
        if self.number is None or held.waits(tx, self.number):
            return circuit
        return replace(circuit, number=None, living=None, deletes=0)

    def _too_many(self, deletes: int) -> bool:
        return self.living is not None and self.living >= FEWEST and deletes > self.limit * self.living

    def _counted(self, tx: Connection, just_deleted: int) -> Circuit:
        if self.living is not None:
            return self
        return replace(self, living=held.living(tx, self.connection_id) + just_deleted)

    def _open(self, tx: Connection, reason: str) -> Circuit:
        number = held.open_set(tx, SetRow(self.connection_id, self.run_id, reason, now(tx)))
        held.hold(tx, number)
        log.warning("events.held", change_set=number, reason=reason)
        return replace(self, number=number)

    def _why(self) -> str:
        return f"{self.deletes} of {self.living} deals were deleted in one run; {_LIMIT.format(self.limit)}"

    def _why_of(self, day: Day) -> str:
        return f"{day.deletes} of {day.living} deals were deleted within a day; {_LIMIT.format(self.limit)}"


_LOOK = "{0}: look at it with `dealsync held show {0}`, then release or discard it"
_LIMIT = "delete_limit = {} allows fewer"
