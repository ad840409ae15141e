"""Incidents: what the ledger answered that is no retry of ours; each is open until a person acknowledges it."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, insert, select, tuple_, update

from pipeline.store.operator_tables import incidents
from pipeline.store.outbox import Lane
from pipeline.store.tables import receipts

THERE_BEFORE, CONFLICT = "there_before", "conflict"

MEANINGS = {
    THERE_BEFORE: "were in the ledger before we first sent them: this store was restored, or somebody sends beside it",
    CONFLICT: "have keys under which the ledger holds something else",
}
"""Outcomes of receipts that are no retries of ours: the event is settled, and a person should know."""

OPEN, ACKNOWLEDGED = "open", "acknowledged"


class IncidentRow(NamedTuple):
    """One incident, in the order of the table's columns (its number left out).

    The events of one run that met the same `outcome`, how many they are, and when the first and the latest were
    settled; the run is None where an older version only counted them. The latest one stands for all.
    """

    run_id: int | None
    outcome: str
    events: int
    since: str
    latest: str
    connection_id: int
    source_id: str
    domain_event_id: str
    state: str = OPEN
    decided_at: str | None = None
    decided_by: str | None = None
    note: str | None = None


class Incident(NamedTuple):
    """An incident with its number."""

    id: int
    row: IncidentRow


class Met(NamedTuple):
    """One event of an incident: its place, and what the ledger holds for it."""

    lane: Lane
    domain_event_id: str
    settled_at: str


def add(tx: Connection, row: IncidentRow) -> None:
    """Note events that met something; they join the open incident of their run and outcome, if there is one."""
    mine = (incidents.c.run_id == row.run_id) & (incidents.c.outcome == row.outcome) & (incidents.c.state == OPEN)
    newest = {name: getattr(row, name) for name in ("latest", "connection_id", "source_id", "domain_event_id")}
    joined = update(incidents).where(mine).values(events=incidents.c.events + row.events, **newest)
    if not tx.execute(joined).rowcount:
        tx.execute(insert(incidents).values(**row._asdict()))


def listed(tx: Connection, *, state: str | None, after: int, limit: int | None) -> list[Incident]:
    """Incidents in the order of their numbers, those beyond `after`, of one state or of any."""
    found = select(incidents).where(incidents.c.id > after)
    if state is not None:
        found = found.where(incidents.c.state == state)
    return [_incident(row) for row in tx.execute(found.order_by(incidents.c.id).limit(limit))]


def get(tx: Connection, number: int, *, lock: bool = False) -> Incident | None:
    """An incident by its number; `lock` keeps others from changing it until the transaction ends."""
    found = select(incidents).where(incidents.c.id == number)
    row = tx.execute(found.with_for_update() if lock else found).one_or_none()
    return None if row is None else _incident(row)


def acknowledge(tx: Connection, number: int, *, at: str, who: str, note: str | None) -> None:
    """Close an incident."""
    decided = {"state": ACKNOWLEDGED, "decided_at": at, "decided_by": who, "note": note}
    tx.execute(update(incidents).where(incidents.c.id == number).values(**decided))


def events(tx: Connection) -> int:
    """How many events open incidents have."""
    total = select(func.coalesce(func.sum(incidents.c.events), 0)).where(incidents.c.state == OPEN)
    return int(tx.execute(total).scalar_one())


def met(tx: Connection, row: IncidentRow, *, after: Lane, limit: int) -> list[Met]:
    """The events of an incident beyond `after`, by their places: publishers take turns, so no other run's are among
    those that were settled between its first and its latest."""
    place = (receipts.c.connection_id, receipts.c.source_id, receipts.c.revision)
    of_it = receipts.c.outcome == row.outcome, receipts.c.settled_at.between(row.since, row.latest)
    found = select(*place, receipts.c.domain_event_id, receipts.c.settled_at).where(*of_it, tuple_(*place) > after)
    return [Met((one[0], one[1], one[2]), one[3], one[4]) for one in tx.execute(found.order_by(*place).limit(limit))]


def _incident(row: Row[Any]) -> Incident:
    return Incident(row[0], IncidentRow._make(row[1:]))
