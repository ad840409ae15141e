"""Unrecovered: a lost store is noticed before it tells a ledger of deals that the ledger has been paid on already."""

from __future__ import annotations

import structlog

from ledger.port import LedgerRefused
from pipeline.faults import Stopped
from pipeline.store import connections, outbox, rebuilding
from pipeline.summary import Summary
from pipeline.wiring import App

log = structlog.get_logger()


def refuse_unrecovered(app: App) -> None:
    """Raise `Stopped` when the store would tell a ledger of deals as if for the first time that it holds already.

    That is what a lost store looks like: events wait, none was ever sent or answered for, and the ledger lists deals
    under the connection's prefix. The ledger is asked only before a connection's very first event. Where our key may
    not read it, nobody can know, and that is logged.
    """
    prefixes = {}
    with app.store.read() as tx:
        waiting = outbox.never_sent(tx)
        for row in connections.all_of_them(tx):
            chosen = app.settings.connections.get(row.name)
            if chosen is not None and row.id in waiting and not rebuilding.deals_told(tx, row.id):
                prefixes[f"{chosen.external_id_prefix or row.name}:"] = row.name
    if not prefixes:
        return
    try:
        held = next(
            (name for deal in app.ledger.deals() for prefix, name in prefixes.items()
             if deal.external_id.startswith(prefix)), None
        )  # fmt: skip
    except LedgerRefused as refusal:
        log.warning("ledger.unread", reason=f"whether this store was lost cannot be known: {refusal}")
        return
    if held is not None:
        raise Stopped(
            f"the ledger already holds deals of {held}, and this store has never sent one: it was lost, or another "
            f"store writes to this ledger. `dealsync recover {held}` shows what differs; nothing was sent",
            Summary(run=0, connection=None),
        )
