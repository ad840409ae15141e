"""Status: how every connection and the ledger are doing, in one look."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ledger.port import LedgerFault, LedgerPaced
from ledger.window import MINUTE_S
from pipeline import schedule
from pipeline.refer import lacks
from pipeline.schedule import Planned
from pipeline.store import connections, drifting, held, incidents, outbox, parking, pauses, projection, runs, windows
from pipeline.store.session import later, now
from pipeline.wiring import App


def status(app: App) -> dict[str, Any]:
    """Each configured connection with its state, its last success and what waits; then the ledger."""
    with app.store.read() as tx:
        instant = now(tx)
        next_starts, paused, waits = schedule.look_ahead(app, tx), pauses.all_of_them(tx), held.counts(tx)
        known = {row.name: row for row in connections.all_of_them(tx)}
        deals, waiting, parked = projection.counts(tx), outbox.waiting(tx), parking.counts(tx)
        verified, lacking, drifts = windows.verified(tx), lacks(tx), drifting.counts(tx)
        shown = []
        for name, settings in sorted(app.settings.connections.items()):
            row = known.get(name)
            number = row.id if row else 0
            shown.append(
                {
                    "name": name,
                    "source": settings.source,
                    "state": "paused" if number in paused else row.state if row else "new",
                    "reason": row.reason if row else None,
                    "lacks": lacking.get(number, []),
                    "last_success": row.last_success if row else None,
                    "deals": deals.get(number, 0),
                    "parked": parked.get(number, 0),
                    "outbox": waiting.get(number, 0),
                    "held": waits.get(number, 0),
                    "paused": paused[number]._asdict() if number in paused else None,
                    "next": {one.verb: _next(one, instant) for one in next_starts[name]},
                    "drift": drifts.get(number, 0),
                    "verified_through": verified[number].verified_through if number in verified else None,
                    "reconciled_at": verified[number].checked_at if number in verified else None,
                }
            )
        last = runs.last(tx, "publish", None)
        total, met = sum(waiting.values()), incidents.events(tx)
    return {
        "connections": shown,
        "ledger": {**_ledger(app), "outbox": total, "incidents": met, "last_publish": last and last["ended_at"]},
    }


def _next(one: Planned, instant: str) -> dict[str, Any]:
    """When a verb is due, and why it is not where it is not; what is overdue is due now."""
    at = None if one.at is None else max(later(one.at.isoformat(), timedelta()), instant)
    return {"at": at, "why": one.why or None}


def _ledger(app: App) -> dict[str, Any]:
    kind = app.settings.ledger.kind
    try:
        return {"kind": kind, "ok": True, "message": app.ledger.check()}
    except LedgerPaced as fault:
        return {"kind": kind, "ok": fault.wait_s <= MINUTE_S, "message": str(fault)}  # a limit that is used is no fault
    except LedgerFault as fault:
        return {"kind": kind, "ok": False, "message": str(fault)}
