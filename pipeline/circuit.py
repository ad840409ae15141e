"""Circuit: a run that deletes more than it may tells the ledger nothing until a person has said so.

401 and 403 stop a connection (`pipeline.run`), too many parked records stop a run (`Run.land`). Too many deletes stop
neither: the run goes on, and its events are held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Connection

from pipeline.store import held
from pipeline.store.held import SetRow
from pipeline.store.session import now

log = structlog.get_logger()

FEWEST = 50
"""Of fewer living deals than this, a share of deleted ones says nothing."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """What a run has deleted so far, and the change set that its events are held in once that was too much.

    `living` is how many deals the connection had when the run deleted its first one. A run that is gone on with by
    others is `lasting`: what it has deleted is written down, so that all of them count together.
    """

    connection_id: int
    run_id: int
    limit: float
    living: int | None = None
    deletes: int = 0
    number: int | None = None
    lasting: bool = False

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

    def after(self, tx: Connection, touched: Sequence[str], gone: Sequence[str], since: str) -> Circuit:
        """The circuit after a transaction that landed the deals `touched`, of which `gone` may have been deleted.

        `since` is when the transaction began. Where too many were, everything of the run that the ledger has not yet is
        held, in this transaction: nobody can send it any more. Once a person has decided, it counts anew.
        """
        circuit = self._undecided(tx)
        if gone:
            new = held.tombstones(tx, self.connection_id, self.run_id, gone, since)
            circuit = replace(circuit, deletes=circuit.deletes + new)._counted(tx, new)
        if self.lasting and (circuit.living, circuit.deletes) != (self.living, self.deletes):
            held.count(tx, self.run_id, circuit.living, circuit.deletes)
        if circuit.number is not None:
            held.hold(tx, circuit.number, touched)
            return circuit
        return circuit._open(tx, circuit._why()) if circuit.tripped else circuit

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
        circuit = self._undecided(tx)
        if circuit.number is not None and not circuit.tripped:
            held.forget(tx, circuit.number)
            return replace(circuit, number=None)
        if circuit.number is not None:
            held.explain(tx, circuit.number, circuit._why())
        return circuit

    def note(self) -> str | None:
        """What the operator is to know."""
        if self.number is None:
            return None
        return (
            f"{self._why()}. The run's events are held as change set {self.number}: look at it with "
            f"`dealsync held show {self.number}`, then release or discard it"
        )

    def _undecided(self, tx: Connection) -> Circuit:
        """Nothing more is put into a change set that a person has released or discarded meanwhile: who would see it?"""
        if self.number is None:
            return self
        one = held.get(tx, self.number, lock=True)
        waits = one is not None and one.row.state == "held"
        return self if waits else replace(self, number=None, living=None, deletes=0)

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


_LIMIT = "delete_limit = {} allows fewer"
