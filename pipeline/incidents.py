"""Incidents: what the ledger answered that is no retry of ours, shown to a person, who acknowledges it."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection

from pipeline.audit import Operator
from pipeline.faults import Unknown
from pipeline.listing import streamed
from pipeline.store import connections, incidents
from pipeline.store.incidents import ACKNOWLEDGED, OPEN, Incident, Met
from pipeline.store.outbox import BEGINNING, Lane
from pipeline.store.session import now
from pipeline.wiring import App


def list_incidents(
    app: App, *, acknowledged: bool = False, limit: int | None = None, after: int = 0
) -> list[dict[str, Any]]:
    """The incidents that are open, or all of them with those `acknowledged`: those beyond number `after`."""
    with app.store.read() as tx:
        names = connections.names(tx)
        found = incidents.listed(tx, state=None if acknowledged else OPEN, after=after, limit=limit)
    return [_shown(one, names) for one in found]


def show_incident(app: App, number: int) -> Iterator[dict[str, Any]]:
    """One incident, then each of its events, streamed: the deal, its revision, and what the ledger holds for it.

    Raises `Unknown`.
    """
    with app.store.read() as tx:
        names = connections.names(tx)
        one = _known(incidents.get(tx, number), number)
    yield _shown(one, names)

    def page(tx: Connection, lane: Lane, size: int) -> list[Met]:
        return incidents.met(tx, one.row, after=lane, limit=size)

    for event in streamed(app.store, page, attrgetter("lane"), after=BEGINNING):
        connection_id, source_id, revision = event.lane
        yield {
            "connection": names[connection_id],
            "source_id": source_id,
            "revision": revision,
            "domain_event_id": event.domain_event_id,
            "settled_at": event.settled_at,
        }


def acknowledge_incident(app: App, number: int, operator: Operator) -> int:
    """Close an incident: store and ledger were compared, and what was to be done is done; how many events it had.

    Nothing is changed in the ledger or in the outbox. Raises `Unknown`, also for one that is closed already.
    """
    with app.store.write() as tx:
        one = _known(incidents.get(tx, number, lock=True), number)
        row = one.row
        if row.state == ACKNOWLEDGED:
            raise Unknown(f"incident {number} was acknowledged by {row.decided_by} at {row.decided_at}")
        incidents.acknowledge(tx, number, at=now(tx), who=operator.who, note=operator.why)
        outcome = f"{row.events} events that {incidents.MEANINGS[row.outcome].partition(':')[0]}"
        operator.did(tx, "incidents acknowledge", outcome=outcome, target=str(number))
    return row.events


def _known(one: Incident | None, number: int) -> Incident:
    if one is None:
        raise Unknown(f"there is no incident {number}: `dealsync incidents list` shows those that are open")
    return one


def _shown(one: Incident, names: dict[int, str]) -> dict[str, Any]:
    row = one.row
    return {
        "id": one.id,
        "run": row.run_id,
        "outcome": row.outcome,
        "meaning": incidents.MEANINGS[row.outcome],
        "events": row.events,
        "since": row.since,
        "latest": row.latest,
        "connection": names[row.connection_id],
        "source_id": row.source_id,
        "domain_event_id": row.domain_event_id,
        "state": row.state,
        "decided_at": row.decided_at,
        "decided_by": row.decided_by,
        "note": row.note,
    }
