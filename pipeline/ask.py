"""Ask: what a person wants done now is put down, for whoever does such work to find; nothing of it is done here."""

from __future__ import annotations

from pipeline.audit import Operator
from pipeline.backfill import Window, begin, let_go
from pipeline.backfill_report import Standing, standing
from pipeline.faults import Unknown
from pipeline.ringing import ring_for
from pipeline.schedule import VERBS
from pipeline.store import asked, connections
from pipeline.store.session import now
from pipeline.wiring import App


def ask_run(app: App, verb: str, connection: str, operator: Operator) -> None:
    """Have a connection pulled, swept or reconciled as if by hand: at the next look, whatever its intervals say, paused
    and refused ones too. Asking again before it began changes nothing. Raises `Unknown`.
    """
    chosen = app.settings.connection(connection)
    if verb not in VERBS:
        raise Unknown(f"a connection cannot be asked to {verb[:40]!r}: {', '.join(VERBS)} can be asked for")
    with app.store.write() as tx:
        row = connections.enrol(tx, connection, chosen.source)
        asked.want(tx, row.id, verb, now(tx))
        operator.did(tx, verb, outcome="asked for", connection_id=row.id)
    ring_for(app, verb, connection=connection)


def by_hand(app: App, verb: str, connection: str, operator: Operator) -> None:
    """Write down that a person has a connection pulled or swept by a command, which then does it, or rings for it and
    waits. Raises `Unknown`.
    """
    chosen = app.settings.connection(connection)
    with app.store.write() as tx:
        row = connections.enrol(tx, connection, chosen.source)
        operator.did(tx, verb, outcome="asked for", connection_id=row.id)


def ask_backfill(app: App, connection: str, window: Window, operator: Operator) -> Standing:
    """Put down a backfill to be carried out. Raises `Unknown` for a window that makes no sense, and `Busy` when another
    backfill covers part of the range.
    """
    return _left(app, begin(app, connection, window, "running", operator=operator))


def ask_on(app: App, backfill_id: int, verb: str, operator: Operator) -> Standing:
    """Have what is left of a backfill carried out (`resume`), or its failed chunks too (`retry`).

    Raises `Unknown` and `Busy`.
    """
    let_go(app, backfill_id, verb, operator)
    return _left(app, backfill_id)


def _left(app: App, backfill_id: int) -> Standing:
    stands = standing(app, backfill_id)
    ring_for(app, "backfill", connection=stands.connection)
    return stands
