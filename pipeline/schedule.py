"""Schedule: which connections are due, worked out from the runs table, so that any number of beats may ask."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from pipeline.store import connections, hints, inbox, outbox, runs
from pipeline.store.session import now
from pipeline.wiring import App


class Due(NamedTuple):
    """One piece of work whose time has come. `connection` is empty for the publisher."""

    verb: str
    connection: str


def due(app: App) -> list[Due]:
    """What should be started now: pulls and sweeps by their intervals, fetches and the publisher when something waits.

    A connection that was never pulled is due at once. One whose source refuses us is left alone until a run by hand
    succeeds. Nothing is written: a message sent twice finds the lease taken, or nothing left to do.
    """
    with app.store.read() as tx:
        instant = now(tx)
        known = {row.name: row for row in connections.all_of_them(tx)}
        found = []
        for name, settings in sorted(app.settings.connections.items()):
            row = known.get(name)
            if row is not None and row.state == "refused":
                continue
            number = row.id if row else -1
            if _passed(tx, "pull", number, settings.pull_every, instant):
                found.append(Due("pull", name))
            elif row is not None and _passed(tx, "sweep", number, settings.sweep_every, instant):
                found.append(Due("sweep", name))
        next_event = outbox.next_due(tx)
        waiting, wanted = inbox.connections_waiting(tx), hints.due(tx, instant)
        for name in app.settings.connections:
            row = known.get(name)
            if row is not None and (row.id in waiting or (row.id in wanted and row.state != "refused")):
                found.append(Due("fetch", name))
    if next_event is not None and next_event <= instant:
        found.append(Due("publish", ""))
    return found


def _passed(tx: Connection, kind: str, connection_id: int, every: timedelta, instant: str) -> bool:
    last = runs.last(tx, kind, connection_id)
    if last is None:
        return True
    return datetime.fromisoformat(last["started_at"]) + every <= datetime.fromisoformat(instant)
