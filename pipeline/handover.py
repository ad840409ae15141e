"""Handover: ring for a run, let a worker do it, and wait for its end in the database."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection

from connectors.faults import Refused, Unavailable
from pipeline.faults import Busy, Stopped
from pipeline.refer import lacks
from pipeline.ringing import refuse_without_workers, ring_for
from pipeline.store import connections, held, leases, runs
from pipeline.summary import Progress, Summary, silent
from pipeline.wiring import App

PATIENCE_S = 30.0
"""A worker that has not begun by then, or has left off for so long, is not there, or has too much to do."""

LOOK_EVERY_S = 0.2


def hand_over(app: App, verb: str, connection: str, *, wait: bool, progress: Progress = silent) -> Summary | None:
    """Ring for `verb` (pull or sweep) on a connection. With `wait`, its summary once it has ended; else None.

    Raises what the run ended with, `Unknown` for a connection that is not configured or where there is no broker to
    ring, `Busy` when somebody reads the connection already, and `Unavailable` when no worker took the work in time, or
    when the one that did is gone and no other came.
    """
    app.settings.connection(connection)
    refuse_without_workers(app)
    with app.store.read() as tx:
        if f"connection {connection}" in leases.held(tx):  # a worker would leave it at that
            raise Busy(f"connection {connection} is being worked on by another process; try again when that has ended")
        before = _latest(tx, verb, connection)
    ring_for(app, verb, connection=connection)
    return _await(app, verb, connection, before, progress) if wait else None


def _await(app: App, verb: str, connection: str, before: int, progress: Progress) -> Summary:
    ends = time.monotonic() + PATIENCE_S
    while True:
        with app.store.read() as tx:
            at_work = f"connection {connection}" in leases.held(tx)
            run = _run_after(tx, verb, connection, before)
        if run is not None:
            summary = _summary(run, connection)
            progress(summary)
            if run["state"] != "running":
                return _ended(app, run, summary)
            if at_work:
                ends = time.monotonic() + PATIENCE_S
        if time.monotonic() > ends:
            raise Unavailable(_nobody(verb, connection, run))
        time.sleep(LOOK_EVERY_S)


def _nobody(verb: str, connection: str, run: dict[str, Any] | None) -> str:
    if run is None:
        return f"no worker began to {verb} {connection} within {PATIENCE_S:.0f} s: see that one runs"
    return (
        f"the worker of run {run['id']} ({verb} {connection}) is gone, and no other has gone on with it within "
        f"{PATIENCE_S:.0f} s: see that one runs. What was read is kept"
    )


def _ended(app: App, run: dict[str, Any], summary: Summary) -> Summary:
    """The summary of a run that ended well; otherwise the fault that it ended with."""
    reason = run["reason"] or f"run {run['id']} {run['state']}"
    if run["state"] == "done":
        summary.doubts = [run["reason"]] if run["reason"] else []
        with app.store.read() as tx:
            summary.held = held.run_held(tx, summary.run)
            summary.lacks = lacks(tx).get(run["connection_id"], [])
        return summary
    if run["state"] == "stopped":
        raise Stopped(reason, summary)
    with app.store.read() as tx:
        row = connections.find(tx, summary.connection or "")
    raise Refused(reason) if row is not None and row.state == "refused" else Unavailable(reason)


def _latest(tx: Connection, verb: str, connection: str) -> int:
    run = _last(tx, verb, connection)
    return 0 if run is None else int(run["id"])


def _run_after(tx: Connection, verb: str, connection: str, before: int) -> dict[str, Any] | None:
    run = _last(tx, verb, connection)
    return run if run is not None and run["id"] > before else None


def _last(tx: Connection, verb: str, connection: str) -> dict[str, Any] | None:
    row = connections.find(tx, connection)
    return None if row is None else runs.last(tx, verb, row.id)


def _summary(run: dict[str, Any], connection: str) -> Summary:
    counts = {name: run[name] for name in runs.COUNTS}
    return Summary(run=run["id"], connection=connection, **counts)
