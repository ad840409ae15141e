"""Held: change sets, and their events, which lie in the outbox until a person has decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, delete, exists, func, insert, literal, select, update
from sqlalchemy.sql.elements import ColumnElement

from deals.events import EventType
from ledger import bulk
from pipeline.store.joins import same_deal, same_event
from pipeline.store.operator_tables import held_events, held_sets
from pipeline.store.outbox import Lane
from pipeline.store.tables import deals, events, facts, outbox, parked, receipts

DISCARDED = "discarded"
"""The outcome of a receipt that no ledger gave: a person decided that the event is never sent."""


_COUNTED = "deletes of run {}"


class SetRow(NamedTuple):
    """One change set, in the order of the table's columns (its number left out)."""

    connection_id: int
    run_id: int
    reason: str
    since: str
    state: str = "held"
    decided_at: str | None = None
    decided_by: str | None = None
    note: str | None = None


class ChangeSet(NamedTuple):
    """A change set with its number."""

    id: int
    row: SetRow


class HeldEvent(NamedTuple):
    """One event of a change set; `attempts` says how often it may have reached the ledger already."""

    lane: Lane
    external_id: str
    event_type: str
    dedup_key: str
    state: str
    attempts: int


def living(tx: Connection, connection_id: int) -> int:
    """How many deals of a connection are not deleted."""
    alive = select(func.count()).select_from(deals)
    alive = alive.where(deals.c.connection_id == connection_id, deals.c.deleted.is_(False))
    return int(tx.execute(alive).scalar_one())


def tombstones(tx: Connection, connection_id: int, run_id: int, source_ids: Sequence[str], since: str) -> int:
    """How many of these deals a run has deleted since a time."""
    found = select(func.count()).select_from(events)
    found = found.where(
        events.c.connection_id == connection_id,
        bulk.among(tx, events.c.source_id, source_ids),
        events.c.run_id == run_id,
        events.c.event_type == EventType.DELETE,
        events.c.recorded_at >= since,
    )
    return int(tx.execute(found).scalar_one())


def count(tx: Connection, run_id: int, living: int | None, deletes: int) -> None:
    """Write down how many deals a run has deleted, and how many lived before, for whoever goes on with it."""
    bulk.upsert(tx, facts, [(_COUNTED.format(run_id), f"{deletes} of {living}")])


def counted(tx: Connection, run_id: int) -> tuple[int | None, int]:
    """How many deals lived before a run, None if nobody counted them, and how many it has deleted."""
    known = tx.execute(select(facts.c.value).where(facts.c.name == _COUNTED.format(run_id))).scalar_one_or_none()
    deletes, _, living = (known or "0 of None").partition(" of ")
    return None if living == "None" else int(living), int(deletes)


def uncount(tx: Connection, run_id: int) -> None:
    """Nobody goes on with a run any more."""
    tx.execute(delete(facts).where(facts.c.name == _COUNTED.format(run_id)))


def waiting_set(tx: Connection, run_id: int) -> int | None:
    """The change set of a run that waits for a person, if there is one."""
    found = select(held_sets.c.id).where(held_sets.c.run_id == run_id, held_sets.c.state == "held")
    return tx.execute(found.order_by(held_sets.c.id.desc()).limit(1)).scalar_one_or_none()


def open_set(tx: Connection, row: SetRow) -> int:
    """Begin a change set; its number."""
    return int(tx.execute(insert(held_sets).values(**row._asdict()).returning(held_sets.c.id)).scalar_one())


def explain(tx: Connection, number: int, reason: str) -> None:
    """Say anew why a change set is held."""
    tx.execute(update(held_sets).where(held_sets.c.id == number).values(reason=reason))


def hold(tx: Connection, number: int, source_ids: Sequence[str] | None = None) -> None:
    """Hold what waits in the outbox of the set's run: all of it, or the events of these deals."""
    run_id = tx.execute(select(held_sets.c.run_id).where(held_sets.c.id == number)).scalar_one()
    _hold(tx, number, events.c.run_id == run_id, source_ids)


def hold_tombstones(tx: Connection, number: int, since: str, source_ids: Sequence[str] | None = None) -> None:
    """Hold the tombstones since a time that wait in the outbox, whatever run decided them: all of the connection, or
    those of these deals.
    """
    _hold(tx, number, and_(events.c.event_type == EventType.DELETE, events.c.recorded_at >= since), source_ids)


def _hold(tx: Connection, number: int, which: ColumnElement[bool], source_ids: Sequence[str] | None) -> None:
    connection_id = tx.execute(select(held_sets.c.connection_id).where(held_sets.c.id == number)).scalar_one()
    place = (outbox.c.connection_id, outbox.c.source_id, outbox.c.revision)
    same = and_(*(events.c[column.name] == column for column in place))
    already = exists().where(and_(*(held_events.c[column.name] == column for column in place)))
    waiting = (
        select(*place, literal(number))
        .join(events, same)
        .where(outbox.c.connection_id == connection_id, which, ~already)
    )
    if source_ids is not None:
        waiting = waiting.where(bulk.among(tx, outbox.c.source_id, source_ids))
    tx.execute(insert(held_events).from_select([*(column.name for column in place), "set_id"], waiting))
    stopped = update(outbox).where(outbox.c.connection_id == connection_id, outbox.c.parked.is_(False), _in_set(number))
    if source_ids is not None:
        stopped = stopped.where(bulk.among(tx, outbox.c.source_id, source_ids))
    tx.execute(stopped.values(parked=True))


def free(tx: Connection, number: int) -> None:
    """Let the events of a change set be sent; one that the ledger has refused stays parked."""
    refused = exists().where(
        same_event(parked, outbox),
        parked.c.stage == "event",
        parked.c.state == "open",
    )
    tx.execute(update(outbox).where(_in_set(number), ~refused).values(parked=False))


def forget(tx: Connection, number: int) -> None:
    """A change set was begun out of caution, and there was no need for it."""
    free(tx, number)
    tx.execute(delete(held_events).where(held_events.c.set_id == number))
    tx.execute(delete(held_sets).where(held_sets.c.id == number))


def discard(tx: Connection, lanes: Sequence[Lane], at: str) -> None:
    """These events are never sent: they leave the outbox, each with a receipt that says so."""
    bulk.delete(tx, outbox, lanes)
    bulk.insert(tx, receipts, [(*lane, DISCARDED, "", "", "", at) for lane in lanes])


def decide(tx: Connection, number: int, state: str, *, at: str, who: str, note: str | None) -> None:
    """Write down what a person decided."""
    change = update(held_sets).where(held_sets.c.id == number)
    tx.execute(change.values(state=state, decided_at=at, decided_by=who, note=note))


def get(tx: Connection, number: int, *, lock: bool = False) -> ChangeSet | None:
    """One change set by its number, whatever its state; with `lock`, nobody else decides before the commit."""
    found = select(held_sets).where(held_sets.c.id == number)
    row = tx.execute(found.with_for_update() if lock else found).one_or_none()
    return None if row is None else ChangeSet(row[0], SetRow._make(row[1:]))


def waits(tx: Connection, number: int) -> bool:
    """Whether a person has yet to decide about a change set: nobody does before the commit."""
    one = get(tx, number, lock=True)
    return one is not None and one.row.state == "held"


def listed(tx: Connection, *, after: int, limit: int | None) -> list[ChangeSet]:
    """The change sets that wait for a person, in the order they were begun."""
    found = select(held_sets).where(held_sets.c.state == "held", held_sets.c.id > after)
    return [ChangeSet(row[0], SetRow._make(row[1:])) for row in tx.execute(found.order_by(held_sets.c.id).limit(limit))]


def undecided(tx: Connection, connection_id: int, source_ids: Sequence[str]) -> set[Lane]:
    """Those events of these deals that wait for a person's decision."""
    place = (held_events.c.connection_id, held_events.c.source_id, held_events.c.revision)
    found = select(*place).join(held_sets, held_sets.c.id == held_events.c.set_id)
    found = found.where(held_events.c.connection_id == connection_id, held_sets.c.state == "held")
    found = found.where(bulk.among(tx, held_events.c.source_id, source_ids))
    return {(row[0], row[1], row[2]) for row in tx.execute(found)}


def comes_first(tx: Connection, number: int) -> int | None:
    """The first change set that waits as well, and that holds an earlier event of a deal of this one; None mostly."""
    mine = held_events.alias()
    found = select(func.min(held_events.c.set_id)).join(held_sets, held_sets.c.id == held_events.c.set_id)
    found = found.join(mine, same_deal(mine, held_events) & (mine.c.revision > held_events.c.revision))
    return tx.execute(
        found.where(mine.c.set_id == number, held_sets.c.state == "held", held_sets.c.id != number)
    ).scalar()


def tally(tx: Connection, number: int) -> dict[str, int]:
    """How many events of each type a change set has."""
    found = select(events.c.event_type, func.count()).join(held_events, same_event(events, held_events))
    return {
        row[0]: row[1] for row in tx.execute(found.where(held_events.c.set_id == number).group_by(events.c.event_type))
    }


def counts(tx: Connection) -> dict[int, int]:
    """How many events of each connection wait for a decision."""
    found = select(held_sets.c.connection_id, func.count()).join(held_events, held_events.c.set_id == held_sets.c.id)
    return {
        row[0]: row[1]
        for row in tx.execute(found.where(held_sets.c.state == "held").group_by(held_sets.c.connection_id))
    }


def events_of(tx: Connection, number: int, *, after: Lane, limit: int) -> list[HeldEvent]:
    """The events of a change set that still wait, in the order of their lanes."""
    return [
        HeldEvent((connection_id, source_id, revision), external_id, event_type, key, state, attempts)
        for connection_id, source_id, revision, external_id, event_type, key, state, attempts in tx.execute(
            _waiting(number, after).limit(limit)
        )
    ]


def deals_of(tx: Connection, number: int, *, after: str, limit: int) -> list[str]:
    """The deals of which a change set has events, whatever was decided of these, by id: those beyond `after`."""
    mine = held_events.c.set_id == number, held_events.c.source_id > after
    found = select(held_events.c.source_id).distinct().where(*mine).order_by(held_events.c.source_id).limit(limit)
    return list(tx.execute(found).scalars())


def run_held(tx: Connection, run_id: int) -> int:
    """How many events of a run are held, in a change set of its own or in that of a day."""
    found = select(func.count()).select_from(held_events).join(held_sets, held_sets.c.id == held_events.c.set_id)
    found = found.join(events, same_event(events, held_events))
    return int(tx.execute(found.where(events.c.run_id == run_id, held_sets.c.state == "held")).scalar_one())


class Before(NamedTuple):
    """A deal as the last event says that a person let stand; `event_type` is empty where there is none."""

    event_type: str
    state: str
    raw_digest: bytes
    raw_block: int
    raw_position: int
    version: str | None
    mapping_id: int


def before(tx: Connection, connection_id: int, source_ids: Sequence[str]) -> dict[str, Before]:
    """For each of these deals whose latest event was discarded: what its last event that was not says."""
    thrown = exists().where(same_event(receipts, events), receipts.c.outcome == DISCARDED)
    columns = [events.c[name] for name in Before._fields]
    found = (
        select(events.c.source_id, deals.c.revision == events.c.revision, thrown, *columns)
        .join(deals, same_deal(deals, events))
        .where(events.c.connection_id == connection_id, bulk.among(tx, events.c.source_id, source_ids))
        .order_by(events.c.source_id, events.c.revision)
    )
    stands: dict[str, Before] = {}
    headless: set[str] = set()
    nothing = Before("", "", b"", 0, 0, None, 0)
    for source_id, is_head, gone, *rest in tx.execute(found):
        if gone:
            stands.setdefault(source_id, nothing)
            if is_head:
                headless.add(source_id)
        else:
            stands[source_id] = Before._make(rest)
    return {source_id: one for source_id, one in stands.items() if source_id in headless}


def _waiting(number: int, after: Lane) -> Select[Any]:
    place = (held_events.c.connection_id, held_events.c.source_id, held_events.c.revision)
    further = (held_events.c.source_id > after[1]) | (
        (held_events.c.source_id == after[1]) & (held_events.c.revision > after[2])
    )
    return (
        select(*place, events.c.external_id, events.c.event_type, events.c.dedup_key, events.c.state, outbox.c.attempts)
        .join(events, same_event(events, held_events))
        .join(outbox, same_event(outbox, held_events))
        .where(held_events.c.set_id == number, further)
        .order_by(held_events.c.source_id, held_events.c.revision)
    )


def _in_set(number: int) -> ColumnElement[bool]:
    return exists().where(same_event(held_events, outbox), held_events.c.set_id == number)
