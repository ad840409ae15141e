"""Checkpoint: how far each stream of a connection has been read, and a person who has it read from its beginning."""

from __future__ import annotations

from typing import Any

from pipeline.audit import Operator
from pipeline.listing import NOBODYS, numbered
from pipeline.pull import STREAM
from pipeline.store import checkpoints, connections, leases
from pipeline.wiring import App


def show_checkpoints(app: App, connection: str) -> list[dict[str, Any]]:
    """The committed cursor of each stream of a connection (`pull`; `sweep` and `reconcile` while one is under way), the
    run that moved it, and when its page was asked for. Raises `Unknown`.
    """
    number = numbered(app, connection)
    with app.store.read() as tx:
        return [
            {"stream": one.stream, "cursor": one.cursor, "run": one.run_id, "moved_at": one.moved_at}
            for one in checkpoints.listed(tx, NOBODYS if number is None else number)
        ]


def reset_checkpoint(app: App, connection: str, operator: Operator) -> bool:
    """Forget how far the pulls of a connection have read: the next one reads everything. Whether they had begun.

    Deals, events and all else stay as they are: what has not changed since makes no event. Raises `Unknown`, and `Busy`
    while somebody reads the connection, who would move the checkpoint on from the old place.
    """
    chosen = app.settings.connection(connection)
    with leases.hold(app.store, f"connection {connection}") as lease, app.store.write() as tx:
        leases.confirm(tx, lease)
        row = connections.enrol(tx, connection, chosen.source)
        found = next((one for one in checkpoints.listed(tx, row.id) if one.stream == STREAM), None)
        if found is None:
            outcome = "the pulls had not begun"
        else:
            checkpoints.forget(tx, row.id, STREAM)
            outcome = f"forgot {found.text} of {found.moved_at}"
        operator.did(tx, "checkpoint reset", outcome=outcome, connection_id=row.id)
    return found is not None
