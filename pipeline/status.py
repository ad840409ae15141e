"""Status: how every connection and the ledger are doing, in one look."""

from __future__ import annotations

from typing import Any

from ledger.port import LedgerFault
from pipeline.store import connections, drifting, outbox, parking, projection, runs, windows
from pipeline.wiring import App


def status(app: App) -> dict[str, Any]:
    """Each configured connection with its state, its last success and what waits; then the ledger."""
    with app.store.read() as tx:
        known = {row.name: row for row in connections.all_of_them(tx)}
        deals, waiting, parked = projection.counts(tx), outbox.waiting(tx), parking.counts(tx)
        verified = windows.verified(tx)
        shown = []
        for name, settings in sorted(app.settings.connections.items()):
            row = known.get(name)
            number = row.id if row else 0
            shown.append(
                {
                    "name": name,
                    "source": settings.source,
                    "state": row.state if row else "new",
                    "reason": row.reason if row else None,
                    "last_success": row.last_success if row else None,
                    "deals": deals.get(number, 0),
                    "parked": parked.get(number, 0),
                    "outbox": waiting.get(number, 0),
                    "drift": len(drifting.listed(tx, number)) if row else 0,
                    "verified_through": verified[number].verified_through if number in verified else None,
                    "reconciled_at": verified[number].checked_at if number in verified else None,
                }
            )
        last = runs.last(tx, "publish", None)
        total, incidents = sum(waiting.values()), outbox.incidents(tx)
    return {
        "connections": shown,
        "ledger": {**_ledger(app), "outbox": total, "incidents": incidents, "last_publish": last and last["ended_at"]},
    }


def _ledger(app: App) -> dict[str, Any]:
    kind = app.settings.ledger.kind
    try:
        return {"kind": kind, "ok": True, "message": app.ledger.check()}
    except LedgerFault as fault:
        return {"kind": kind, "ok": False, "message": str(fault)}
