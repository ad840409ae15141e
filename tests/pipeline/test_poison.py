"""Poison: what crashes whoever handles it is parked, blames no neighbour, and holds up nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import refused
from deals.events import Event
from ledger.port import Answer, LedgerUnavailable
from pipeline.audit import Operator
from pipeline.heed import CRASHES, heed
from pipeline.invariants import doctor
from pipeline.poison import POISON, TRIES, Sieve
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.redrive import Which, list_parked, retry_parked
from pipeline.run import Run
from pipeline.wiring import App
from tests.pipeline.delivering import WEBHOOK, deliver, gets, hinted, saying, time_passes
from tests.pipeline.test_publish import Moody
from tests.pipeline.world import NAME, amounts, ledger_states, projected

ANN = Operator("ann")


class Touchy(Moody):
    """A ledger whose code crashes over some deals; it counts how often it did."""

    def __init__(self) -> None:
        super().__init__()
        self.crashes_over: set[str] = set()
        self.crashes = 0

    def append(self, events: Sequence[Event]) -> list[Answer]:
        if self.crashes_over & {event.external_id for event in events}:
            self.crashes += 1
            raise KeyError("amount")
        return super().append(events)


@pytest.fixture
def touchy(app: App) -> Touchy:
    ledger = Touchy()
    app.ledger = Sieve(ledger)
    return ledger


def test_an_event_that_crashes_whoever_sends_it_is_parked_and_the_others_go(
    app: App, crm: PlanhatSimulator, touchy: Touchy
):
    bad = crm.ids()[4]
    touchy.crashes_over = {f"{NAME}:{bad}"}
    pull(app, NAME)
    summary = publish(app)
    assert (summary.published, summary.parked) == (len(crm.ids()) - 1, 1)
    (entry,) = list_parked(app)
    assert (entry["source_id"], entry["reason"]) == (bad, POISON)
    assert "KeyError" in entry["message"]
    before = touchy.crashes
    crm.edit(bad, total=77)
    pull(app, NAME)
    assert publish(app).published == 0, "its lane stands still"
    assert touchy.crashes == before, "and nobody tries it again by himself"
    touchy.crashes_over = set()
    retry_parked(app, None, None, like=Which(reason=POISON), operator=ANN)
    assert publish(app).published == 2
    assert ledger_states(app) == projected(app)
    assert [check for check in doctor(app) if not check.ok] == []


def test_a_ledger_that_crashes_over_everything_blames_no_event(app: App, crm: PlanhatSimulator, touchy: Touchy):
    touchy.crashes_over = {f"{NAME}:{one}" for one in crm.ids()}
    pull(app, NAME)
    with pytest.raises(KeyError):
        publish(app)
    assert list(list_parked(app)) == []
    touchy.crashes_over = set()
    assert publish(app).published == len(crm.ids())


def test_one_event_by_itself_is_blamed_once_others_have_gone_through(app: App, crm: PlanhatSimulator, touchy: Touchy):
    pull(app, NAME)
    publish(app)
    bad = crm.ids()[0]
    crm.edit(bad, total=77)
    pull(app, NAME)
    touchy.crashes_over = {f"{NAME}:{bad}"}
    assert publish(app).parked == 1
    assert touchy.crashes == 1 + TRIES


def test_an_outage_is_no_poison(app: App, crm: PlanhatSimulator, touchy: Touchy):
    pull(app, NAME)
    touchy.down, app.give_up_after_s = 10_000, 0.1
    with pytest.raises(LedgerUnavailable):
        publish(app)
    assert list(list_parked(app)) == []


@pytest.fixture
def hooked(open_world: Callable[..., App], crm: PlanhatSimulator) -> App:
    app = open_world(crm, connection=WEBHOOK)
    pull(app, NAME)
    return app


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Records that our code crashes over once they have been read."""
    bad: set[str] = set()
    really = Run.land_found

    def land_found(run, found):
        if found.record.source_id in bad:
            raise ZeroDivisionError
        return really(run, found)

    monkeypatch.setattr(Run, "land_found", land_found)
    return bad


def test_a_record_that_crashes_whoever_looks_is_parked_after_some_times_and_holds_up_nobody(
    hooked: App, crm: PlanhatSimulator, crashing: set[str]
):
    bad, good = crm.ids()[0], crm.ids()[1]
    crashing.add(bad)
    before = gets(crm, bad)
    for one in (bad, good):
        crm.edit(one, total=77)
        deliver(hooked, saying(one))
    heed(hooked, NAME)
    assert amounts(hooked, good)[-1] == 7_700
    assert hinted(hooked) == [bad]
    for _ in range(CRASHES):
        assert list(list_parked(hooked)) == []
        time_passes(hooked)
        heed(hooked, NAME)
    (entry,) = list_parked(hooked)
    assert (entry["source_id"], entry["reason"]) == (bad, POISON)
    assert (gets(crm, bad) - before, hinted(hooked)) == (CRASHES, [])
    crashing.clear()
    retry_parked(hooked, [entry["id"]], None, operator=ANN)
    heed(hooked, NAME)
    assert amounts(hooked, bad)[-1] == 7_700
    assert list(list_parked(hooked)) == []


def test_a_record_that_kills_the_process_is_found_out_and_its_neighbours_are_not_blamed(
    hooked: App, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    bad, good = crm.ids()[0], crm.ids()[1:6]
    for one in (bad, *good):
        crm.edit(one, total=77)
        deliver(hooked, saying(one))
    really = Run.land_found

    def land_found(run, found):
        if found.record.source_id == bad:
            raise SystemExit("killed")
        return really(run, found)

    monkeypatch.setattr(Run, "land_found", land_found)
    for _ in range(2 * CRASHES + 2):
        try:
            heed(hooked, NAME)
        except SystemExit:
            time_passes(hooked)
    assert [entry["source_id"] for entry in list_parked(hooked)] == [bad]
    assert {amounts(hooked, one)[-1] for one in good} == {7_700}
    assert hinted(hooked) == []


def test_a_source_that_is_away_for_long_poisons_nothing(hooked: App, crm: PlanhatSimulator):
    one = crm.ids()[0]
    crm.edit(one, total=77)
    deliver(hooked, saying(one))
    hooked.give_up_after_s = 0.0
    for number in range(len(crm.log), len(crm.log) + 200):
        crm.faults.at(number, refused(503))
    for _ in range(CRASHES + 3):
        time_passes(hooked)
        with pytest.raises(Exception, match="503"):
            heed(hooked, NAME)
    assert list(list_parked(hooked)) == []
    with hooked.store.read() as tx:
        assert tx.execute(text("SELECT crashes FROM hints")).scalars().all() == [0]


def test_a_pull_that_reads_the_record_ends_its_parking(hooked: App, crm: PlanhatSimulator, crashing: set[str]):
    bad = crm.ids()[0]
    crashing.add(bad)
    crm.edit(bad, total=77)
    deliver(hooked, saying(bad))
    for _ in range(CRASHES + 1):
        heed(hooked, NAME)
        time_passes(hooked)
    assert [entry["reason"] for entry in list_parked(hooked)] == [POISON]
    pull(hooked, NAME)
    assert amounts(hooked, bad)[-1] == 7_700
    assert list(list_parked(hooked)) == []
