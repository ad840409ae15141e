"""Pause: a person stops a connection from being read by the schedule and by hints, and lets it go on again."""

from __future__ import annotations

from pipeline.audit import Operator
from pipeline.store import connections, pauses
from pipeline.store.pauses import Pause
from pipeline.store.session import now
from pipeline.wiring import App


def pause(app: App, connection: str, operator: Operator) -> Pause:
    """Read a connection no more by ourselves; the pause in force.

    Deliveries are still taken in and kept, what was decided is still published, and a run by hand is done as ever.
    A connection that is paused already stays paused since when it was; by whom and why is told anew only with a reason.
    Raises `Unknown`.
    """
    chosen = app.settings.connection(connection)
    with app.store.write() as tx:
        row = connections.enrol(tx, connection, chosen.source)
        before = pauses.all_of_them(tx).get(row.id)
        if before is None or operator.why is not None:
            pauses.begin(tx, row.id, Pause(now(tx), operator.who, operator.why))
        operator.did(tx, "pause", outcome="paused" if before is None else "was paused", connection_id=row.id)
        return pauses.all_of_them(tx)[row.id]


def resume(app: App, connection: str, operator: Operator) -> bool:
    """Let a connection be read again: what fell due meanwhile is due once. Whether it was paused. Raises `Unknown`."""
    chosen = app.settings.connection(connection)
    with app.store.write() as tx:
        row = connections.enrol(tx, connection, chosen.source)
        was_paused = pauses.end(tx, row.id)
        operator.did(tx, "resume", outcome="resumed" if was_paused else "was not paused", connection_id=row.id)
    return was_paused
