"""Listing: rows of the store streamed to whoever looks, a page at a time: constant memory, and no long transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from sqlalchemy import Connection

from pipeline.store import connections
from pipeline.store.session import Store
from pipeline.wiring import App

Row = TypeVar("Row")
Place = TypeVar("Place")

_PAGE = 1000
NOBODYS: Final = -1
"""In the place of a connection's number: no row is of it."""


def streamed(
    store: Store,
    page: Callable[[Connection, Place, int], Iterable[Row]],
    place_of: Callable[[Row], Place],
    *,
    after: Place,
    limit: int | None = None,
) -> Iterator[Row]:
    """Rows beyond the place `after`, at most `limit` of them (None: all).

    `page` reads so many rows beyond a place, in their order; `place_of` says which place a row has in it.
    """
    place, left = after, limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        with store.read() as tx:
            rows = list(page(tx, place, size))
        yield from rows
        if len(rows) < size:
            return
        place = place_of(rows[-1])
        left = None if left is None else left - len(rows)


def numbered(app: App, connection: str | None) -> int | None:
    """The number of the connection whose rows are asked for; None where those of all are. Raises `Unknown`.

    A connection that is configured and was never used has no rows: `NOBODYS`.
    """
    if connection is None:
        return None
    app.settings.connection(connection)
    with app.store.read() as tx:
        row = connections.find(tx, connection)
    return NOBODYS if row is None else row.id
