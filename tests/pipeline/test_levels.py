"""Levels: what monitors are told of a store, in each situation that a person should hear of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from connectors.faults import Refused
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import refused
from pipeline.audit import Operator
from pipeline.backfill import cancel, start
from pipeline.heed import heed
from pipeline.levels import BUDGET_LEFT, INCIDENTS, LEVELS, levels
from pipeline.pause import pause
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.store import connections, references
from pipeline.store.references import ReadRow
from pipeline.store.session import later, now
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.delivering import WEBHOOK, deliver, saying, time_passes
from tests.pipeline.world import NAME

ANN = Operator("ann", "tests")


def told(app: App, of: str = NAME) -> dict[str, float]:
    return {name: number for name, where, number in levels(app) if where == of}


def ago(app: App, table: str, column: str, by: timedelta) -> None:
    """Everything in a table is so much older."""
    with app.store.write() as tx:
        tx.execute(text(f"UPDATE {table} SET {column} = :at"), {"at": later(now(tx), -by)})


def test_a_connection_that_was_never_used_has_every_level_and_none_is_high(app: App):
    found = told(app)
    assert found.keys() == {*LEVELS, BUDGET_LEFT}
    assert (found.pop("pull_interval_seconds"), found.pop(BUDGET_LEFT)) == (300, 1_000_000)
    assert set(found.values()) == {0}
    assert told(app, "") == {INCIDENTS: 0}


def test_the_latest_pull_that_came_to_its_end_is_told_and_not_one_that_failed(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    with app.store.read() as tx:
        (ended,) = tx.execute(text("SELECT ended_at FROM runs WHERE kind = 'pull'")).scalars()
    first = told(app)["last_pull_timestamp_seconds"]
    assert first == pytest.approx(_epoch(ended))
    sweep(app, NAME)
    assert told(app)["last_pull_timestamp_seconds"] == first, "who only sweeps does not pull"
    crm.switches.forbidden = True
    with pytest.raises(Refused):
        pull(app, NAME)
    found = told(app)
    assert (found["last_pull_timestamp_seconds"], found["stopped"]) == (first, 1)


def _epoch(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()


def test_a_small_quota_shows_in_how_far_pulls_lie_apart(app: App, monkeypatch: pytest.MonkeyPatch):
    options = type(app.settings.connection(NAME).options)
    monkeypatch.setattr(options, "least_interval", lambda _: timedelta(hours=2))
    assert told(app)["pull_interval_seconds"] == 7200


def test_the_oldest_event_that_could_be_in_the_ledger_is_told_until_it_is_there(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    with app.store.write() as tx:
        tx.execute(
            text("UPDATE events SET recorded_at = :at WHERE source_id = :deal"),
            {"at": later(now(tx), -timedelta(hours=1)), "deal": crm.ids()[0]},
        )
    assert 3600 <= told(app)["oldest_event_seconds"] < 3700
    with app.store.write() as tx:
        tx.execute(text("UPDATE outbox SET parked = :yes"), {"yes": True})
    assert (told(app)["oldest_event_seconds"], told(app)["unpublished"]) == (0, 40)
    with app.store.write() as tx:
        tx.execute(text("UPDATE outbox SET parked = :no"), {"no": False})
    publish(app)
    assert (told(app)["oldest_event_seconds"], told(app)["unpublished"]) == (0, 0)


def test_the_oldest_delivery_and_the_oldest_hint_are_told_until_they_are_heeded(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    app = open_world(crm, extra=WEBHOOK)
    pull(app, NAME)
    deal = crm.ids()[0]
    assert [deliver(app, saying(deal)), deliver(app, saying(deal, "delete"))] == [202, 202]
    ago(app, "inbox", "received_at", timedelta(minutes=10))
    found = told(app)
    assert (found["waiting"], found["hinted"], found["oldest_hint_seconds"]) == (2, 0, 0)
    assert 600 <= found["oldest_delivery_seconds"] < 700
    heed(app, NAME)
    ago(app, "hints", "hinted_at", timedelta(hours=2))
    found = told(app)
    assert (found["waiting"], found["oldest_delivery_seconds"], found["hinted"]) == (0, 0, 1), "it is still there"
    assert 7200 <= found["oldest_hint_seconds"] < 7300
    crm.delete(deal)
    time_passes(app)
    heed(app, NAME)
    assert told(app)["oldest_hint_seconds"] == 0


def test_what_waits_for_a_person_is_told(open_world: Callable[..., App], crm: PlanhatSimulator):
    app = open_world(crm, connection="delete_limit = 0.0\nsweep_every = '1s'")
    pull(app, NAME)
    crm.edit(crm.ids()[0], stage="Nowhere")
    pull(app, NAME)
    pause(app, NAME, ANN)
    found = told(app)
    assert (found["parked"], found["paused"], found["held"]) == (1, 1, 0)


def test_what_a_source_refuses_to_show_beside_its_deals_is_told(app: App):
    pull(app, NAME)
    with app.store.write() as tx:
        row = connections.find(tx, NAME)
        assert row is not None
        for name, why in (("users", "403"), ("accounts", "403"), ("quotes", None)):
            references.note(tx, ReadRow(row.id, name, None, False, False, why))
    assert told(app)["lacking"] == 2


def test_a_backfill_is_told_while_it_runs_and_while_chunks_of_it_failed(app: App, crm: PlanhatSimulator):
    during: list[tuple[float, float]] = []

    def look(_: object) -> None:
        found = told(app)
        during.append((found["backfills_running"], found["backfill_chunks_failed"]))

    crm.faults.sometimes(1.0, refused(400), where=lambda request: request.query.get("offset") == "26")
    stands = start(app, NAME, (None, None), watch=look).standing
    assert (during[0], stands.failed) == ((1, 0), 1)
    assert (told(app)["backfills_running"], told(app)["backfill_chunks_failed"]) == (0, 1)
    cancel(app, stands.id)
    assert told(app)["backfill_chunks_failed"] == 0, "nobody wants them any more"


def test_what_is_left_of_a_budget_is_told_of_its_account(open_world: Callable[..., App], crm: PlanhatSimulator):
    app = open_world(crm, connection='account = "acme"', extra="requests_per_hour = 50")
    app.epoch = crm.clock.epoch
    assert told(app, "acme") == {BUDGET_LEFT: 50}
    permits = app.permits(NAME, "fetch")
    for _ in range(3):
        assert permits.take() == 0
    permits.close()
    assert told(app, "acme") == {BUDGET_LEFT: 47}
    assert BUDGET_LEFT not in told(app)
