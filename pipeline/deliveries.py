"""Deliveries: what came and was not simply heeded, streamed to whoever looks; never what a delivery said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

from pipeline.faults import Unknown
from pipeline.listing import numbered, streamed
from pipeline.store import connections, inbox
from pipeline.store.inbox import Kept, Place
from pipeline.wiring import App

STATES = ("waiting", "unknown", "unreadable")
"""`waiting` for somebody to heed it, of an `unknown` event that nothing need be done about, or `unreadable`."""


def list_deliveries(
    app: App,
    *,
    connection: str | None = None,
    state: str | None = None,
    limit: int | None = None,
    after: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Deliveries in the order of their coming, at most `limit` of those behind the one with the id `after`; of one
    connection and in one state, or in any of `STATES`.

    Raises `Unknown` for a connection that is not configured, and for an id that no delivery has (any more).
    """
    number = numbered(app, connection)
    place = _place(app, after) if after else ("", b"")
    states = STATES if state is None else (state,)
    with app.store.read() as tx:
        names = connections.names(tx)

    def page(tx: Connection, place: Place, size: int) -> list[Kept]:
        return inbox.listed(tx, number, states, place, size)

    for one in streamed(app.store, page, lambda one: (one.received_at, one.name), after=place, limit=limit):
        yield {
            "id": one.name.hex(),
            "connection": names[one.connection_id],
            "received_at": one.received_at,
            "state": one.state,
            "event": one.said if one.state == "unknown" else None,
            "why": one.said if one.state == "unreadable" else None,
        }


def _place(app: App, after: str) -> Place:
    try:
        name = bytes.fromhex(after)
    except ValueError:
        name = b""
    with app.store.read() as tx:
        place = inbox.place_of(tx, name)
    if place is None:
        raise Unknown(f"there is no delivery {after[:64]!r}; `dealsync deliveries list` shows their ids")
    return place
