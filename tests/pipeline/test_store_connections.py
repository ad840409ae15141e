"""What a store is told on first use, when two processes use it for the first time at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from ledger.engine import connect
from pipeline.store import connections, tables
from pipeline.store.connections import MappingRow
from pipeline.store.session import Store

WAIT_S = 0.3


def _enrol(tx: Connection, _: str) -> object:
    return connections.enrol(tx, "planhat-eu", "planhat").id


def _keep_mapping(tx: Connection, _: str) -> object:
    return connections.keep_mapping(tx, MappingRow(0, "v1", "planhat", "body", "{}", "2026-01-01T00:00:00.000Z"))


def _draw_the_epoch(tx: Connection, mine: str) -> object:
    return connections.fact(tx, "epoch", mine)


@pytest.mark.parametrize("first_use", [_enrol, _keep_mapping, _draw_the_epoch], ids=lambda use: use.__name__)
def test_two_first_uses_at_once_agree_on_the_one_that_was_committed(
    database_url: str, first_use: Callable[[Connection, str], object]
):
    engine = connect(database_url)
    tables.metadata.create_all(engine)
    store, late = Store(engine), []

    def second() -> None:
        with store.write() as tx:
            late.append(first_use(tx, "the second one's"))

    other = threading.Thread(target=second)
    with store.write() as tx:
        early = first_use(tx, "the first one's")
        other.start()
        other.join(WAIT_S)  # it waits for us: on SQLite for the writer's lock, on PostgreSQL for our row
        assert not late
    other.join()
    engine.dispose()
    assert late == [early]
