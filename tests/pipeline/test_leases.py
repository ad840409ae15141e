"""Leases: one owner at a time, on the database's clock, and a stale owner cannot write."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from ledger.engine import connect
from pipeline.faults import Busy, StaleLease
from pipeline.pull import pull
from pipeline.store import leases
from pipeline.store.schema import STORE
from pipeline.store.session import Store
from pipeline.store.tables import leases as table
from tests.pipeline.world import NAME, rows


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    engine = connect(database_url)
    STORE.migrate(engine)
    yield Store(engine)
    engine.dispose()


def expire(store: Store) -> None:
    with store.write() as tx:
        tx.execute(update(table).values(expires_at="2000-01-01T00:00:00.000Z"))


def test_a_lease_that_is_held_is_refused_and_afterwards_free(store: Store):
    with leases.hold(store, "x") as lease:
        assert lease.token == 1
        with pytest.raises(Busy, match="x is being worked on"), leases.hold(store, "x"):
            pass
    with leases.hold(store, "x") as again:
        assert again.token == 2


def test_leases_of_other_names_do_not_matter(store: Store):
    with leases.hold(store, "x"), leases.hold(store, "y"):
        pass


def test_an_owner_that_was_paused_past_its_lease_cannot_write(store: Store):
    with leases.hold(store, "x") as paused:
        expire(store)
        with leases.hold(store, "x") as other:
            assert other.token == paused.token + 1
            with pytest.raises(StaleLease), store.write() as tx:
                leases.confirm(tx, paused)
            with store.write() as tx:
                leases.confirm(tx, other)
        with pytest.raises(StaleLease), store.write() as tx:
            leases.confirm(tx, paused)


def test_a_lease_is_renewed_while_its_owner_lives(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.05)
    with leases.hold(store, "x"):
        expire(store)
        time.sleep(0.4)
        with pytest.raises(Busy), leases.hold(store, "x"):
            pass


def test_two_pulls_of_one_connection_do_not_run_at_once(app, crm):
    with leases.hold(app.store, f"connection {NAME}"), pytest.raises(Busy):
        pull(app, NAME)
    assert rows(app)["events"] == 0


def test_a_pull_whose_lease_was_taken_over_writes_nothing_more(app, crm):
    """The take-over happens between two of its pages."""
    pages = []

    def take_over(_request) -> None:
        pages.append(1)
        if len(pages) == 3:
            with app.store.write() as tx:
                tx.execute(update(table).values(token=table.c.token + 1))

    crm.before_list = take_over
    with pytest.raises(StaleLease):
        pull(app, NAME)
    written = rows(app)["events"]
    assert written < len(crm.ids())
    crm.before_list = None
    expire(app.store)
    pull(app, NAME)
    assert rows(app)["events"] == len(crm.ids())
