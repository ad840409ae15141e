"""Ask: what a person wants done now is put down, for whoever does such work to find; nothing of it is done here."""

from __future__ import annotations

from pipeline.audit import Operator
from pipeline.backfill import Window, begin, let_go
from pipeline.backfill_report import Standing, standing
from pipeline.faults import Unknown
from pipeline.ringing import ring_for
from pipeline.schedule import VERBS
from pipeline.settings import Settings
from pipeline.store import asked, connections
from pipeline.store.session import now
from pipeline.wiring import App, migrate, open_app


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


def by_hand(app: App, verb: str, connection: str | None, operator: Operator, *, target: str | None = None) -> None:
    """Write down that a person has something done by a command, which then does it, or rings for it and waits: a run of
    a connection, or of none of them (None). Raises `Unknown`.
    """
    with app.store.write() as tx:
        number = None
        if connection is not None:
            number = connections.enrol(tx, connection, app.settings.connection(connection).source).id
        operator.did(tx, verb, outcome="asked for", connection_id=number, target=target)


def migrate_by_hand(settings: Settings, operator: Operator) -> list[str]:
    """Bring the tables to this version, and write down that a person had it done; one line for each migration applied.

    Raises as `pipeline.wiring.migrate`.
    """
    done = migrate(settings)
    if done:
        with open_app(settings) as app, app.store.write() as tx:
            operator.did(tx, "migrate", outcome=f"{len(done)} migrations applied")
    return done


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
