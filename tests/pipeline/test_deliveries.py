"""Deliveries can be looked at: what waits, what is unknown and what nobody can read, and never what they said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, text

from connectors.planhat.simulator import PlanhatSimulator
from pipeline.deliveries import list_deliveries
from pipeline.faults import Unknown
from pipeline.listen import listen
from pipeline.pull import pull
from pipeline.wiring import App
from tests.pipeline.delivering import WEBHOOK, deliver, saying
from tests.pipeline.world import NAME

CANARY = "a-word-that-only-the-body-says"


@pytest.fixture
def app(open_world: Callable[..., App], crm: PlanhatSimulator) -> App:
    """One delivery was heeded, three tell of companies, two cannot be read, and two wait."""
    app = open_world(crm, connection=WEBHOOK)
    deliver(app, saying(crm.ids()[0]))
    for number in range(3):
        deliver(app, saying(f"{CANARY}{number}").replace('"Deal"', '"Company"'))
    for number in range(2):
        deliver(app, f'{{"{CANARY}": {number}')
    listen(app, NAME)
    for one in crm.ids()[1:3]:
        deliver(app, saying(one))
    return app


def found(app: App, **which: Any) -> list[dict[str, Any]]:
    return list(list_deliveries(app, **which))


def test_what_was_not_simply_heeded_is_listed_in_the_order_it_came(app: App):
    listed = found(app)
    assert sorted(one["state"] for one in listed) == ["unknown"] * 3 + ["unreadable"] * 2 + ["waiting"] * 2
    assert [one["received_at"] for one in listed] == sorted(one["received_at"] for one in listed)
    assert {one["connection"] for one in listed} == {NAME}
    assert all(one.keys() == {"id", "connection", "received_at", "state", "event", "why"} for one in listed)


def test_each_says_what_it_told_of_or_why_it_cannot_be_read_and_nothing_of_its_body(app: App):
    assert {(one["event"], one["why"]) for one in found(app, state="unknown")} == {("Company.update", None)}
    unreadable = found(app, state="unreadable")
    assert [one["event"] for one in unreadable] == [None, None]
    assert all(one["why"] for one in unreadable)
    assert {(one["event"], one["why"]) for one in found(app, state="waiting")} == {(None, None)}
    assert CANARY not in str(found(app))


def test_pages_follow_one_another_without_a_gap(app: App):
    whole = [one["id"] for one in found(app)]
    paged: list[str] = []
    while page := found(app, limit=2, after=paged[-1] if paged else None):
        paged += [one["id"] for one in page]
    assert paged == whole
    assert len(set(whole)) == 7


def test_deliveries_of_one_moment_are_none_of_them_passed_over(app: App):
    with app.store.write() as tx:
        tx.execute(text("UPDATE inbox SET received_at = '2026-03-02T08:00:00.000Z'"))
    test_pages_follow_one_another_without_a_gap(app)


def test_many_are_read_a_page_at_a_time_and_their_bodies_never(app: App, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.listing._PAGE", 3)
    asked: list[str] = []
    event.listen(app.store.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    assert len(found(app)) == 7
    pages = [sql for sql in asked if "FROM inbox" in sql]
    assert len(pages) == 3
    assert not any("body" in sql or "headers" in sql for sql in pages)


def test_a_connection_or_delivery_that_does_not_exist_is_told(app: App):
    assert found(app, connection=NAME) == found(app)
    with pytest.raises(Unknown):
        found(app, connection="nobody")
    for wrong in ("00" * 32, "not hex"):
        with pytest.raises(Unknown, match="no delivery"):
            found(app, after=wrong)


def test_a_connection_that_was_never_used_has_none(open_world: Callable[..., App], crm: PlanhatSimulator):
    app = open_world(crm, connection=WEBHOOK)
    assert found(app, connection=NAME) == []
    pull(app, NAME)
    assert found(app) == []
