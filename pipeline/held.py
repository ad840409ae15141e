"""Held: change sets that wait for a person, who looks at them, then releases or discards them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection

from deals.diff import DELETED, Change, tombstone
from deals.events import EventType
from deals.identity import decode_json
from deals.state import DealState, from_wire
from ledger import statements
from ledger.embedded import ORG
from pipeline.apply import overrule
from pipeline.audit import Operator
from pipeline.batch import Scope
from pipeline.faults import Unknown
from pipeline.listing import streamed
from pipeline.run import scope_of
from pipeline.store import connections, held, leases, projection, runs
from pipeline.store.held import Before, ChangeSet, HeldEvent
from pipeline.store.outbox import BEGINNING, Lane
from pipeline.store.projection import DealRow
from pipeline.store.session import now
from pipeline.summary import Summary
from pipeline.wiring import App

_PAGE = 500


def list_held(
    app: App, *, connection: str | None = None, limit: int | None = None, after: int = 0
) -> list[dict[str, Any]]:
    """The change sets that wait for a person, those beyond number `after`. Raises `Unknown`."""
    if connection is not None:
        app.settings.connection(connection)
    with app.store.read() as tx:
        names = connections.names(tx)
        instant = now(tx)
        sets = held.listed(tx, after=after, limit=None if connection else limit)
        chosen = [one for one in sets if connection in (None, names[one.row.connection_id])][:limit]
        return [_shown(tx, one, names, instant) for one in chosen]


def show_held(app: App, number: int) -> Iterator[dict[str, Any]]:
    """One change set, then each of its events that still waits, streamed: first what the ledger would be told of it.

    Raises `Unknown`.
    """
    with app.store.read() as tx:
        names = connections.names(tx)
        one = _set(held.get(tx, number), number)
        yield _shown(tx, one, names, now(tx))

    def page(tx: Connection, lane: Lane, size: int) -> list[HeldEvent]:
        return held.events_of(tx, number, after=lane, limit=size)

    for event in streamed(app.store, page, attrgetter("lane"), after=BEGINNING):
        yield {
            "external_id": event.external_id,
            "revision": event.lane[2],
            "event_type": event.event_type,
            "state": decode_json(event.state),
        }


def release_held(app: App, number: int, operator: Operator) -> int:
    """Let a change set's events go to the ledger with the next publish; how many those are. Raises `Unknown`."""
    with app.store.write() as tx:
        one = _open(held.get(tx, number, lock=True), number)
        count = sum(held.tally(tx, number).values())
        held.free(tx, number)
        _decided(tx, one, "released", operator, f"{count} events released")
    return count


def discard_held(app: App, number: int, operator: Operator) -> Summary:
    """Never send a change set's events, and put its deals back to where the ledger has them.

    The events stay in the store's history, each with a receipt that says `discarded`. A deal whose latest event is one
    of them is given another, with the state of its last event that was not; later reads look at it anew. An event that
    may have reached the ledger before it was held cannot be taken back: it goes out as if it was released. `events` of
    the summary counts the new ones, `unchanged` those that could not be taken back. Raises `Unknown` (also while
    another set holds earlier events of the same deals: what stands is not known before that is decided), and `Busy`
    while somebody publishes.
    """
    with app.store.read() as tx:
        names = connections.names(tx)
        connection_id = _open(held.get(tx, number), number).row.connection_id
        name = names[connection_id]
    connected = app.connection(name)
    with leases.hold(app.store, "publish") as lease, app.store.write() as tx:
        leases.confirm(tx, lease)
        projection.lock(tx, connection_id)  # before the set, as whoever lands records and puts tombstones into it
        one = _open(held.get(tx, number, lock=True), number)
        if (first := held.comes_first(tx, number)) is not None:
            raise Unknown(
                f"change set {first} holds earlier events of the same deals: release or discard that one first"
            )
        at = now(tx)
        summary = Summary(run=runs.start(tx, "discard", connection_id, at, alone=False), connection=name)
        scope = scope_of(tx, app.store, connected, summary.run)
        held.free(tx, number)
        _discard(app, tx, number, summary)
        after = ""
        while deals := held.deals_of(tx, number, after=after, limit=_PAGE):
            summary.events += _put_back(tx, scope, deals)
            after = deals[-1]
        runs.count(tx, summary)
        runs.end(tx, summary.run, "done", now(tx))
        _decided(tx, one, "discarded", operator, f"{summary.applied} events discarded, {summary.events} deals put back")
    return summary


def _discard(app: App, tx: Connection, number: int, summary: Summary) -> None:
    """Take those events of a change set out of the outbox that the ledger cannot have, some at a time."""
    after = BEGINNING
    while waiting := held.events_of(tx, number, after=after, limit=_PAGE):
        after = waiting[-1].lane
        gone = _gone(app, tx, waiting)
        never_sent = [event.lane for event in waiting if event.dedup_key not in gone]
        held.discard(tx, never_sent, now(tx))
        summary.read += len(waiting)
        summary.applied += len(never_sent)
        summary.unchanged += len(waiting) - len(never_sent)


def _gone(app: App, tx: Connection, waiting: Sequence[HeldEvent]) -> set[str]:
    """The keys of those events that the ledger may have: sent once without an answer, before they were held."""
    sent = {event.dedup_key for event in waiting if event.attempts}
    if app.settings.ledger.kind == "embedded":  # it marks no attempts, but lies in the same database
        sent |= statements.holders(tx, ORG, [event.dedup_key for event in waiting]).keys()
    return sent


def _put_back(tx: Connection, scope: Scope, source_ids: Sequence[str]) -> int:
    """Give each of these deals whose latest event was discarded one with the state that stands."""
    stands = held.before(tx, scope.connection_id, source_ids)
    rows = projection.lookup(tx, scope.connection_id, list(stands))
    states = projection.states(tx, scope.connection_id, list(stands))
    wanted = [_back(rows[one], states[one], before) for one, before in sorted(stands.items())]
    return overrule(tx, scope, wanted).events


def _back(row: DealRow, state: DealState, before: Before) -> tuple[DealRow, Change]:
    """The deal as it stood before; that its record is another one by now lets the next read see it.

    One that the ledger was never told of ends with a tombstone: it is there once more when a read shows it.
    """
    if not before.event_type:
        return row._replace(deleted=True), tombstone(state)
    stood = from_wire(decode_json(before.state))
    deleted = DELETED in stood.custom
    row = row._replace(
        deleted=deleted,
        raw_digest=before.raw_digest,
        raw_block=before.raw_block,
        raw_position=before.raw_position,
        version=before.version,
        mapping_id=before.mapping_id,
    )
    return row, Change(EventType.DELETE if deleted else EventType.UPSERT, stood)


def _decided(tx: Connection, one: ChangeSet, state: str, operator: Operator, outcome: str) -> None:
    held.decide(tx, one.id, state, at=now(tx), who=operator.who, note=operator.why)
    action = "held release" if state == "released" else "held discard"
    operator.did(tx, action, outcome=outcome, connection_id=one.row.connection_id, target=str(one.id))


def _set(one: ChangeSet | None, number: int) -> ChangeSet:
    if one is None:
        raise Unknown(f"there is no change set {number}: `dealsync held list` shows those that wait")
    return one


def _open(one: ChangeSet | None, number: int) -> ChangeSet:
    found = _set(one, number)
    if found.row.state != "held":
        raise Unknown(f"change set {number} was {found.row.state} by {found.row.decided_by} at {found.row.decided_at}")
    return found


def _shown(tx: Connection, one: ChangeSet, names: dict[int, str], instant: str) -> dict[str, Any]:
    row, tally = one.row, held.tally(tx, one.id)
    age = datetime.fromisoformat(instant) - datetime.fromisoformat(row.since)
    return {
        "id": one.id,
        "connection": names[row.connection_id],
        "run": row.run_id,
        "reason": row.reason,
        "since": row.since,
        "age_seconds": round(age.total_seconds()),
        "state": row.state,
        "events": sum(tally.values()),
        "by_type": tally,
        "decided_at": row.decided_at,
        "decided_by": row.decided_by,
        "note": row.note,
    }
