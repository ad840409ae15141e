"""Backfill: read a range of a source's deals again, beside the live traffic, chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from connectors.faults import Refused, Unavailable
from pipeline.audit import NOBODY, Operator
from pipeline.backfill_report import Outcome, Standing, Watch, found, standing, standing_of, unwatched
from pipeline.backfill_work import summary_of, work
from pipeline.faults import Busy, Unknown
from pipeline.handover import LOOK_EVERY_S, PATIENCE_S
from pipeline.ringing import has_workers, refuse_without_workers, ring_for
from pipeline.store import backfills, connections, leases, pauses
from pipeline.store.backfills import BackfillRow
from pipeline.store.session import now
from pipeline.wiring import App

Window = tuple[str | None, str | None]
"""Deals created from the first instant on and before the second; None is no bound."""

RESUMABLE = ("planned", "running", "paused", "cancelled", "failed")
STOPPABLE = ("planned", "running", "paused", "failed")


def start(
    app: App,
    connection: str,
    window: Window,
    *,
    wait: bool = True,
    watch: Watch = unwatched,
    operator: Operator = NOBODY,
) -> Outcome:
    """Plan a backfill and carry it out; without `wait`, leave both to the workers.

    One of the very same range that was cut off, and that nobody works on, is gone on with. Raises `Unknown` for a
    connection or a window that makes no sense, `Busy` when another backfill covers part of the range, and as `pull`.
    """
    refuse_without_workers(app, waits=wait)
    number = begin(app, connection, window, "running", join=not has_workers(app), operator=operator)
    return _go_on(app, number, wait=wait, watch=watch)


def begin(
    app: App, connection: str, window: Window, state: str, *, join: bool = False, operator: Operator = NOBODY
) -> int:
    """Put down a new backfill in a state; its number. With `join`, one of the same range that was cut off will do."""
    connected = app.connection(connection)
    with app.store.write() as tx:
        row = connections.enrol(tx, connection, connected.settings.source)
        backfills.lock(tx, row.id)
        _sensible(window, now(tx))
        other = backfills.overlapping(tx, row.id, *window) if state == "running" else None
        if other is None:
            number = backfills.start(tx, row.id, state, window)
            _write_down(tx, operator, "start", BackfillRow(number, row.id, state, None, *window, False, "", ""), state)
            return number
        cut_off = other.state == "running" and (other.since, other.until) == window
        if join and cut_off and backfills.lease_name(other.id) not in leases.held(tx):
            backfills.resume(tx, other.id, ("running",))
            _write_down(tx, operator, "start", other, "gone on with")
            return other.id
        raise _covered(other)


def resume(
    app: App, backfill_id: int, *, wait: bool = True, watch: Watch = unwatched, operator: Operator = NOBODY
) -> Outcome:
    """Carry out what is left of a backfill that was planned, paused, cancelled or cut off; failed chunks stay failed.

    Raises `Unknown`, and as `start`.
    """
    refuse_without_workers(app, waits=wait)
    let_go(app, backfill_id, "resume", operator)
    return _go_on(app, backfill_id, wait=wait, watch=watch)


def retry(
    app: App, backfill_id: int, *, wait: bool = True, watch: Watch = unwatched, operator: Operator = NOBODY
) -> Outcome:
    """Carry out the chunks of a backfill that failed, and those still missing; nothing that is done.

    Raises `Unknown`, and as `start`.
    """
    refuse_without_workers(app, waits=wait)
    let_go(app, backfill_id, "retry", operator)
    return _go_on(app, backfill_id, wait=wait, watch=watch)


def pause(app: App, backfill_id: int, *, operator: Operator = NOBODY) -> Standing:
    """Let nothing more land in a running backfill until it is resumed, whoever works on it.

    Raises `Unknown` when it does not run.
    """
    return _stop(app, backfill_id, ("pause", "paused"), ("running", "paused"), operator)


def cancel(app: App, backfill_id: int, *, operator: Operator = NOBODY) -> Standing:
    """Let nothing more land in a backfill, and free its range; what has landed stays. It can still be resumed.

    Raises `Unknown` when it is done.
    """
    return _stop(app, backfill_id, ("cancel", "cancelled"), (*STOPPABLE, "cancelled"), operator)


def let_go(app: App, backfill_id: int, verb: str, operator: Operator) -> None:
    """Let a backfill be gone on with, by whoever comes first; `verb` is resume or retry. Raises `Unknown`, `Busy`."""
    with app.store.write() as tx:
        row = found(tx, backfill_id)
        backfills.lock(tx, row.connection_id)
        row = found(tx, backfill_id)
        other = backfills.overlapping(tx, row.connection_id, row.since, row.until, but=row.id)
        if other is not None and row.state != "done":
            raise _covered(other)
        if verb == "retry":
            backfills.reopen(tx, row.id)
        elif row.laid_out and row.state == "failed" and backfills.next_chunk(tx, row.id) is None:
            raise Unknown(
                f"all that is left of backfill {row.id} are chunks that failed: `dealsync backfill retry {row.id}` "
                "tries them again"
            )
        changed = backfills.resume(tx, row.id, RESUMABLE)
        _write_down(tx, operator, verb, row, "gone on with" if changed else f"was {row.state}")


def _stop(app: App, backfill_id: int, what: tuple[str, str], among: Sequence[str], operator: Operator) -> Standing:
    verb, state = what
    with app.store.write() as tx:
        row = found(tx, backfill_id)
        if not backfills.set_state(tx, row.id, state, f"{state} by {operator.who}", among):
            raise Unknown(f"backfill {row.id} is {row.state}: it cannot be {state}")
        _write_down(tx, operator, verb, row, state)
        return standing_of(tx, found(tx, row.id))


def _write_down(tx: Connection, operator: Operator, verb: str, row: BackfillRow, outcome: str) -> None:
    target = f"backfill {row.id}"
    operator.did(tx, f"backfill {verb}", outcome=outcome, connection_id=row.connection_id, target=target)


def _go_on(app: App, backfill_id: int, *, wait: bool, watch: Watch) -> Outcome:
    """Do the work here where there is no broker; else ring for the workers, and wait for them if so wished."""
    if not has_workers(app):
        summary = work(app, backfill_id, watch=watch)
        return Outcome(summary, standing(app, backfill_id))
    ring_for(app, "backfill", connection=standing(app, backfill_id).connection)
    return _await(app, backfill_id, watch) if wait else _outcome(app, backfill_id)


def _await(app: App, backfill_id: int, watch: Watch) -> Outcome:
    ends = time.monotonic() + PATIENCE_S
    while True:
        with app.store.read() as tx:
            taken = leases.held(tx)
            row, at = found(tx, backfill_id), now(tx)
            stands = standing_of(tx, row)
            pause = pauses.all_of_them(tx).get(row.connection_id)
        watch(stands)
        if row.state != "running":
            return _ended(app, row)
        if pause is not None and backfills.lease_name(row.id) not in taken:
            raise Unavailable(
                f"{stands.connection} was paused by {pause.who} at {pause.since}: the workers go on with backfill "
                f"{row.id} after `dealsync resume {stands.connection}`"
            )
        if row.reason is not None and row.due_at > at:
            raise Unavailable(f"{row.reason}. The workers go on with backfill {row.id} at {row.due_at}")
        if _at_work(row, taken):
            ends = time.monotonic() + PATIENCE_S
        elif time.monotonic() > ends:
            raise Unavailable(_nobody(row, stands))
        time.sleep(LOOK_EVERY_S)


def _at_work(row: BackfillRow, taken: Collection[str]) -> bool:
    """Whether somebody works on the backfill, or, once it was begun, on any: it has its turn again after that."""
    any_of_them = row.laid_out and any(name.startswith(backfills.lease_name("")) for name in taken)
    return any_of_them or backfills.lease_name(row.id) in taken


def _nobody(row: BackfillRow, stands: Standing) -> str:
    if not row.laid_out:
        return f"no worker began backfill {row.id} within {PATIENCE_S:.0f} s: see that one runs"
    return (
        f"nobody has gone on with backfill {row.id} for {PATIENCE_S:.0f} s, and {stands.pending} of its {stands.total} "
        "chunks are still to be read: see that a worker runs"
    )


def _ended(app: App, row: BackfillRow) -> Outcome:
    if row.state == "failed" and row.reason is not None:
        with app.store.read() as tx:
            refused = next(one for one in connections.all_of_them(tx) if one.id == row.connection_id)
        if refused.state == "refused" and refused.reason == row.reason:
            raise Refused(row.reason)
    return _outcome(app, row.id)


def _outcome(app: App, backfill_id: int) -> Outcome:
    with app.store.read() as tx:
        row = found(tx, backfill_id)
    return Outcome(summary_of(app, row), standing(app, backfill_id))


def _sensible(window: Window, at: str) -> None:
    since, until = window
    if since is not None and until is not None and since >= until:
        raise Unknown(f"the range is empty: it begins at {since} and ends before {until}")
    if since is not None and since > at:
        raise Unknown(f"the range begins in the future, at {since}")


def _covered(other: BackfillRow) -> Busy:
    since, until = other.since or "the beginning", other.until or "now"
    advice = {
        "running": f"wait for it, or go on with it by `dealsync backfill resume {other.id}` if its process died",
        "paused": f"resume it by `dealsync backfill resume {other.id}`, or cancel it",
    }
    return Busy(f"backfill {other.id} ({other.state}) covers {since} to {until}: {advice[other.state]}")
