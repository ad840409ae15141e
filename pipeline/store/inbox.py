"""The inbox: verified deliveries as they came, kept until they are heeded and for some time after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, delete, func, select, update

from pipeline.store.session import CLOCK, later, now
from pipeline.store.tables import inbox

KEPT = timedelta(days=30)
"""A settled delivery is kept so long: a late repetition is known, and what was said can be looked into."""


class Delivery(NamedTuple):
    """One delivery on its way into the inbox.

    `headers` is a JSON object of those worth keeping. `lasting` says that the same name is the same happening told
    again; where it is not, a repetition is heeded again.
    """

    name: bytes
    connection_id: int
    body: bytes
    headers: str
    lasting: bool


class Told(NamedTuple):
    """A delivery that waits to be heeded."""

    name: bytes
    body: bytes


class Settled(NamedTuple):
    """What became of a delivery: `heeded`, `unknown` or `unreadable`; see the table for what it `said`."""

    name: bytes
    state: str
    said: str


_COLUMNS = ("name", "connection_id", "body", "headers")
_HEAD = "INSERT INTO inbox (name, connection_id, body, headers, received_at, state)"
_TAIL = "ON CONFLICT (name) DO NOTHING RETURNING name"
_PUT_ON_POSTGRESQL = (
    f"{_HEAD} SELECT given.*, {CLOCK['postgresql']}, 'waiting' "  # noqa: S608 - none of it is a value
    f"FROM unnest(%s::bytea[], %s::int4[], %s::bytea[], %s::text[]) AS given {_TAIL}"
)


def put(tx: Connection, deliveries: Sequence[Delivery]) -> set[bytes]:
    """Take deliveries in, in one statement; the names of those that were not there yet.

    A known one that may be another happening waits again.
    """
    unique = sorted({one.name: one for one in deliveries}.values())  # in one order, so that no two receivers deadlock
    if tx.dialect.name == "postgresql":
        columns = tuple([one[place] for one in unique] for place in range(len(_COLUMNS)))
        rows = tx.exec_driver_sql(_PUT_ON_POSTGRESQL, columns)
    else:
        marks = ", ".join([f"(?, ?, ?, ?, {CLOCK['sqlite']}, 'waiting')"] * len(unique))
        flat = tuple(value for one in unique for value in one[: len(_COLUMNS)])
        rows = tx.exec_driver_sql(f"{_HEAD} VALUES {marks} {_TAIL}", flat)
    new = {bytes(row[0]) for row in rows}
    again = [one.name for one in unique if not one.lasting and one.name not in new]
    if again:
        settled = inbox.c.name.in_(again), inbox.c.state != "waiting"
        tx.execute(update(inbox).where(*settled).values(state="waiting", received_at=now(tx), settled_at=None))
    return new


def waiting(tx: Connection, connection_id: int, limit: int) -> list[Told]:
    """Deliveries of a connection that nobody else is settling, the oldest first; they are held until the commit."""
    found = (
        select(inbox.c.name, inbox.c.body)
        .where(inbox.c.connection_id == connection_id, inbox.c.state == "waiting")
        .order_by(inbox.c.received_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [Told(*row) for row in tx.execute(found)]


def settle(tx: Connection, settled: Sequence[Settled], at: str) -> None:
    """Write down what became of deliveries."""
    if not settled:
        return
    change = "UPDATE inbox SET state = {0}, said = {0}, settled_at = {0} WHERE name = {0}"
    mark = "%s" if tx.dialect.name == "postgresql" else "?"
    tx.exec_driver_sql(change.format(mark), [(one.state, one.said, at, one.name) for one in settled])


def connections_waiting(tx: Connection) -> set[int]:
    """The connections that have deliveries nobody has heeded yet."""
    return set(tx.execute(select(inbox.c.connection_id).distinct().where(inbox.c.state == "waiting")).scalars())


def tally(tx: Connection) -> dict[tuple[int, str], int]:
    """How many deliveries of a connection are waiting, unknown or unreadable; each is counted in its own index."""
    counted: dict[tuple[int, str], int] = {}
    for states in (inbox.c.state == "waiting", inbox.c.state.in_(["unknown", "unreadable"])):
        found = select(inbox.c.connection_id, inbox.c.state, func.count()).where(states)
        for connection_id, state, number in tx.execute(found.group_by(inbox.c.connection_id, inbox.c.state)):
            counted[connection_id, state] = number
    return counted


class Kept(NamedTuple):
    """A delivery as the inbox has it, but for its bytes; see the table for what it `said`."""

    name: bytes
    connection_id: int
    received_at: str
    state: str
    said: str | None


Place: TypeAlias = tuple[str, bytes]
"""Where a delivery stands in the order of their coming: when it was received, and its name."""


def listed(tx: Connection, connection_id: int | None, states: Sequence[str], after: Place, limit: int) -> list[Kept]:
    """Deliveries in these states beyond a place, the first received first; of one connection, or of all."""
    at, name = inbox.c.received_at, inbox.c.name
    columns = name, inbox.c.connection_id, at, inbox.c.state, inbox.c.said
    beyond = at >= after[0], (at > after[0]) | (name > after[1])
    found = select(*columns).where(*beyond, inbox.c.state.in_(states))
    if connection_id is not None:
        found = found.where(inbox.c.connection_id == connection_id)
    return [Kept(bytes(row[0]), *row[1:]) for row in tx.execute(found.order_by(at, name).limit(limit))]


def place_of(tx: Connection, name: bytes) -> Place | None:
    """Where a delivery stands; None when there is none of that name."""
    at = tx.execute(select(inbox.c.received_at).where(inbox.c.name == name)).scalar_one_or_none()
    return None if at is None else (at, name)


def forget(tx: Connection, limit: int = 5_000) -> int:
    """Delete settled deliveries that are older than `KEPT`, so many at a time; how many those were."""
    old = select(inbox.c.name).where(inbox.c.received_at < later(now(tx), -KEPT), inbox.c.state != "waiting")
    oldest = old.order_by(inbox.c.received_at).limit(limit)
    gone: Any = tx.execute(delete(inbox).where(inbox.c.name.in_(oldest.scalar_subquery())))
    return int(gone.rowcount)
