"""Past: the runs, what the reconciles found and the backfills, the newest first, for whoever looks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pipeline.backfill_report import Standing, standing_of
from pipeline.listing import numbered
from pipeline.reconcile_windows import SIDES
from pipeline.store import backfills, connections, runs, windows
from pipeline.store.windows import WindowRow
from pipeline.wiring import App

_FIELDS = ("kind", "state", "reason", "started_at", "ended_at")


def list_runs(
    app: App, *, connection: str | None = None, kind: str | None = None, limit: int = 100, before: int | None = None
) -> list[dict[str, Any]]:
    """Runs with their counts, the newest first: at most `limit` of those that began before run `before`.

    Raises `Unknown` for a connection that is not configured.
    """
    number = numbered(app, connection)
    with app.store.read() as tx:
        names = connections.names(tx)
        found = runs.listed(tx, connection_id=number, kind=kind, before=before, limit=limit)
    return [
        {"run": run["id"], "connection": names.get(run["connection_id"])}
        | {name: run[name] for name in (*_FIELDS, *runs.COUNTS)}
        for run in found
    ]


def list_windows(app: App, connection: str) -> dict[str, Any]:
    """What the latest reconcile of a connection found in each close month, deals without a close date last, and through
    which month it is verified; then the latest months in which earlier ones found differences. Raises `Unknown`.
    """
    number = numbered(app, connection)
    with app.store.read() as tx:
        mark = windows.verified(tx).get(number or 0)
        latest = windows.of_run(tx, mark.run_id) if mark else []
        failed = windows.failed_before(tx, mark.connection_id, mark.run_id, _FAILED) if mark else []
    return {
        "connection": connection,
        "verified_through": mark.verified_through if mark else None,
        "checked_at": mark.checked_at if mark else None,
        "windows": [_window(row) for row in sorted(latest, key=lambda row: (row.month == "", row.month))],
        "failed_before": [_window(row) for row in failed],
    }


_FAILED = 100


def differing(app: App) -> dict[str, int]:
    """The connections whose latest reconcile found differences, each with the number of months that have any."""
    with app.store.read() as tx:
        names, found = connections.names(tx), windows.differing(tx)
    return {names[number]: months for number, months in found.items()}


def latest_backfills(
    app: App,
    *,
    connection: str | None = None,
    states: Sequence[str] | None = None,
    limit: int = 100,
    before: int | None = None,
) -> list[Standing]:
    """Backfills, the newest first: at most `limit` of those before number `before`. Raises `Unknown`."""
    number = numbered(app, connection)
    with app.store.read() as tx:
        found = backfills.latest(tx, connection_id=number, states=states, before=before, limit=limit)
        return [standing_of(tx, row) for row in found]


def _window(row: WindowRow) -> dict[str, Any]:
    held = json.loads(row.held)
    return {
        "run": row.run_id,
        "month": row.month or None,
        **{side: held[side] for side in SIDES},
        "ok": not row.deals_differing,
        "differing": row.deals_differing,
        "pending": row.deals_pending,
        "delta_cents": int(row.delta_cents),
        "checked_at": row.checked_at,
    }
