"""The outbox: events decided and not yet in the ledger, a lane to a deal, and the receipts of those that are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, and_, exists, func, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from deals.events import Event
from ledger import bulk
from ledger.port import Receipt
from pipeline.store.joins import same_deal
from pipeline.store.tables import events, outbox, receipts

Lane = tuple[int, str, int]
"""Connection id, source id, revision: one event's place in its lane."""

BEGINNING: Lane = (0, "", 0)

WHENEVER = "9999"
"""Later than any time: what was put off until whenever is due before it."""


class Head(NamedTuple):
    """The first event of a lane. `attempts` says how often it may have reached the ledger already."""

    lane: Lane
    event: Event
    attempts: int


class EventRow(NamedTuple):
    """One event as it is stored, in the order of the table's columns."""

    connection_id: int
    source_id: str
    revision: int
    dedup_key: str
    external_id: str
    event_type: str
    state: str
    cause: str
    raw_digest: bytes
    raw_block: int
    raw_position: int
    version: str | None
    mapping_id: int
    run_id: int
    recorded_at: str


def add(tx: Connection, rows: Sequence[EventRow]) -> None:
    """Decide events: from this commit on they exist."""
    bulk.insert(tx, events, rows)
    bulk.insert(
        tx, outbox, [(row.connection_id, row.source_id, row.revision, 0, row.recorded_at, False) for row in rows]
    )


def heads(tx: Connection, *, after: Lane, due: str, limit: int) -> list[Head]:
    """Events that may be sent now, at most one of a deal: the first of its lane, due and not parked."""
    place = (outbox.c.connection_id, outbox.c.source_id, outbox.c.revision)
    payload = and_(*(events.c[column.name] == column for column in place))
    found = (
        select(*place, events.c.external_id, events.c.event_type, events.c.dedup_key, events.c.state, outbox.c.attempts)
        .join(events, payload)
        .where(tuple_(*place) > after, _is_head(), outbox.c.due_at <= due)
        .order_by(*place)
        .limit(limit)
    )
    return [
        Head((connection_id, source_id, revision), Event(external_id, event_type, key, state.encode()), attempts)
        for connection_id, source_id, revision, external_id, event_type, key, state, attempts in tx.execute(found)
    ]


def settle(tx: Connection, settled: Sequence[tuple[Lane, Receipt, str]], at: str) -> None:
    """The ledger has these events: keep their receipts, each with its outcome, and let the next of each lane go."""
    rows = [
        (*lane, outcome, receipt.source_event_id, receipt.domain_event_id, receipt.deal_id, at)
        for lane, receipt, outcome in settled
    ]
    bulk.delete(tx, outbox, [lane for lane, _, _ in settled])
    bulk.insert(tx, receipts, rows)


def mark(tx: Connection, lanes: Sequence[Lane]) -> None:
    """From this commit on these events may have reached the ledger, whatever becomes of us."""
    bulk.change(tx, outbox, "attempts = attempts + ?", (1,), lanes)


def unmark(tx: Connection, lanes: Sequence[Lane]) -> None:
    """These events were marked, and never left us."""
    bulk.change(tx, outbox, "attempts = attempts - ?", (1,), lanes)


def put_off(tx: Connection, lanes: Sequence[Lane], *, until: str) -> None:
    """Try these events again later; their lanes wait with them."""
    bulk.change(tx, outbox, "due_at = ?", (until,), lanes)


def stop(tx: Connection, lanes: Sequence[Lane]) -> None:
    """Let the lanes stand still at these events."""
    bulk.change(tx, outbox, "parked = ?", (True,), lanes)


def reopen(tx: Connection, lanes: Sequence[Lane]) -> None:
    """Let the lanes go on that stand still at these events."""
    bulk.change(tx, outbox, "parked = ?", (False,), lanes)


def any_at_all(tx: Connection) -> bool:
    """Whether any event is not in the ledger yet."""
    return bool(tx.execute(select(exists(select(outbox.c.connection_id)))).scalar_one())


def waiting(tx: Connection) -> dict[int, int]:
    """How many events of each connection are not in the ledger yet."""
    found = select(outbox.c.connection_id, func.count()).group_by(outbox.c.connection_id)
    return {row[0]: row[1] for row in tx.execute(found)}


def never_sent(tx: Connection) -> set[int]:
    """The connections of which events wait, and none that waits was ever noted as about to be sent."""
    found = select(outbox.c.connection_id).group_by(outbox.c.connection_id).having(func.max(outbox.c.attempts) == 0)
    return set(tx.execute(found).scalars())


def lanes(tx: Connection, connection_id: int, source_ids: Sequence[str]) -> set[str]:
    """Those of these deals that have events not in the ledger yet."""
    found = select(outbox.c.source_id).where(
        outbox.c.connection_id == connection_id, bulk.among(tx, outbox.c.source_id, source_ids)
    )
    return set(tx.execute(found).scalars())


def next_due(tx: Connection) -> str | None:
    """When the earliest head of a lane that is not parked may be sent."""
    return tx.execute(select(func.min(outbox.c.due_at)).where(_is_head())).scalar_one_or_none()


def _is_head() -> ColumnElement[bool]:
    """First of its lane and not parked: a parked event holds back the later ones of its own deal, and nothing else."""
    earlier = outbox.alias("earlier")
    blocked = exists().where(same_deal(earlier, outbox), earlier.c.revision < outbox.c.revision)
    return and_(outbox.c.parked.is_(False), ~blocked)
