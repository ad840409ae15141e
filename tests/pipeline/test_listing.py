"""Listings are whole, in order and no longer than asked for, whatever their pages are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from connectors.planhat.simulator import PlanhatSimulator
from ledger.engine import connect
from pipeline.faults import Unknown
from pipeline.listing import NOBODYS, numbered, streamed
from pipeline.pull import pull
from pipeline.store import connections
from pipeline.store.session import Store
from pipeline.wiring import App
from tests.pipeline.world import NAME

LONGEST = 1000


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    engine = connect(sqlite_url)
    yield Store(engine)
    engine.dispose()


@pytest.mark.parametrize("limit", [None, 0, 1, 999, 1000, 1001, 2000, 2001, 3000])
@pytest.mark.parametrize("many", [0, 1, 999, 1000, 1001, 2500])
def test_rows_come_in_order_and_no_more_than_asked_for(store: Store, many: int, limit: int | None):
    asked = []

    def page(_: Connection, place: int, size: int) -> Iterator[int]:
        asked.append(size)
        return iter(range(place + 1, min(place + size, many) + 1))

    after = 0 if many < 2 else 1
    found = list(streamed(store, page, lambda row: row, after=after, limit=limit))
    assert found == list(range(after + 1, many + 1))[:limit]
    assert max(asked, default=0) <= LONGEST


def test_nothing_is_read_that_nobody_looks_at(store: Store):
    asked = []

    def page(_: Connection, place: int, size: int) -> Iterator[int]:
        asked.append(place)
        return iter(range(place + 1, place + size + 1))

    rows = streamed(store, page, lambda row: row, after=0)
    assert [next(rows) for _ in range(LONGEST)] == list(range(1, LONGEST + 1))
    assert asked == [0]


def test_a_connection_is_asked_for_by_its_number(app: App, crm: PlanhatSimulator):
    assert numbered(app, None) is None
    assert numbered(app, NAME) == NOBODYS
    pull(app, NAME)
    with app.store.read() as tx:
        assert connections.names(tx) == {numbered(app, NAME): NAME}
    with pytest.raises(Unknown):
        numbered(app, "nope")
