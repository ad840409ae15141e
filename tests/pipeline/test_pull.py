"""Pull: everything at first, then what changed; nothing twice."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.faults import Fault, RateLimited, Refused, Unavailable, Unintelligible
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import Mishap, html, rate_limited, refused, truncated
from pipeline.faults import Stopped
from pipeline.pull import pull
from pipeline.redrive import list_parked
from pipeline.status import status
from pipeline.store import checkpoints, connections
from pipeline.wiring import App
from tests.pipeline.world import NAME, amounts, history, projected, rows


def cursor(app: App) -> dict | None:
    with app.store.read() as tx:
        row = connections.find(tx, NAME)
        return None if row is None else checkpoints.read(tx, row.id, "pull")


def test_the_first_pull_reads_everything_as_upserts(app: App, crm: PlanhatSimulator):
    summary = pull(app, NAME)
    assert summary.applied == summary.events == len(crm.ids())
    assert summary.read == summary.applied + summary.unchanged
    assert set(projected(app)) == {f"{NAME}:{one}" for one in crm.ids()}
    assert {kind for one in crm.ids() for kind, _, _ in history(app, one)} == {"upsert"}


def test_pulling_again_writes_no_event(app: App):
    pull(app, NAME)
    before = rows(app)
    summary = pull(app, NAME)
    assert (summary.applied, summary.events) == (0, 0)
    assert rows(app) == before


def test_an_edit_is_one_event_of_the_right_type(app: App, crm: PlanhatSimulator):
    one = crm.create(name="One", stage="Negotiation", total=100, currency="USD")
    pull(app, NAME)
    crm.clock.advance(60)
    crm.edit(one, stage="Closed Won")
    pull(app, NAME)
    crm.edit(one, total=Decimal("120.5"))
    pull(app, NAME)
    crm.edit(one, total=7, stage="Closed Lost")
    pull(app, NAME)
    assert [kind for kind, _, _ in history(app, one)] == ["upsert", "stage_change", "amount_change", "upsert"]
    assert amounts(app, one) == [10_000, 10_000, 12_050, 700]


def test_an_amount_that_swings_back_is_three_events(app: App, crm: PlanhatSimulator):
    one = crm.create(name="Swing", stage="Negotiation", total=100, currency="USD")
    pull(app, NAME)
    for total in (200, 100):
        crm.edit(one, total=total)
        pull(app, NAME)
    assert amounts(app, one) == [10_000, 20_000, 10_000]


def test_an_updated_at_that_moves_alone_is_not_a_change(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    crm.touch(crm.ids()[3])
    summary = pull(app, NAME)
    assert summary.events == 0
    assert pull(app, NAME).events == 0


def test_a_deal_that_cannot_be_mapped_is_parked_and_holds_back_nobody(app: App, crm: PlanhatSimulator):
    odd, fine = crm.ids()[:2]
    crm.edit(odd, stage="Somewhere Else")
    crm.edit(fine, stage="Closed Won")
    summary = pull(app, NAME)
    assert (summary.parked, summary.clean) == (1, False)
    (entry,) = list_parked(app)
    assert (entry["source_id"], entry["field"], entry["reason"]) == (odd, "stage", "UNKNOWN_STAGE")
    assert "Somewhere Else" in entry["message"]
    assert f"{NAME}:{odd}" not in projected(app)
    assert projected(app)[f"{NAME}:{fine}"]["stage"] == "closed_won"


def test_a_newer_record_that_maps_supersedes_the_parked_one(app: App, crm: PlanhatSimulator):
    odd = crm.ids()[0]
    crm.edit(odd, stage="Somewhere Else")
    pull(app, NAME)
    crm.edit(odd, stage="Closed Won")
    assert pull(app, NAME).parked == 0
    assert list(list_parked(app)) == []
    assert projected(app)[f"{NAME}:{odd}"]["stage"] == "closed_won"


def test_too_many_parked_stop_the_run_and_leave_the_checkpoint(open_world):
    crm = PlanhatSimulator(seed=3, deals=400, token="token-of-a-test")
    app = open_world(crm)
    pull(app, NAME)
    before = cursor(app)
    crm.rename_stage("Negotiation", "Haggling", move_updated_at=True)
    crm.rename_stage("Closed Won", "Gewonnen", move_updated_at=True)
    crm.rename_stage("Closed Lost", "Verloren", move_updated_at=True)
    with pytest.raises(Stopped, match="park_limit") as stopped:
        pull(app, NAME)
    assert stopped.value.summary.parked > 0.2 * 200
    assert cursor(app) == before
    assert len(list(list_parked(app))) > 0.8 * stopped.value.summary.parked


@pytest.mark.parametrize(("before", "state"), [(None, "ok"), (html(), "failing"), (refused(401), "refused")])
def test_a_source_that_lets_us_wait_is_as_well_as_it_was_and_status_says_for_what(
    app: App, crm: PlanhatSimulator, before: Mishap | None, state: str
):
    pull(app, NAME)
    if before is not None:
        crm.faults.sometimes(1.0, before)
        with pytest.raises(Fault):
            pull(app, NAME)
        crm.faults.clear()
    reason = status(app)["connections"][0]["reason"]
    crm.faults.sometimes(1.0, rate_limited("600"))
    with pytest.raises(RateLimited):
        pull(app, NAME)
    told = status(app)["connections"][0]
    assert told["state"] == state
    assert told["reason"] == reason if state == "refused" else "asked again in 600 s" in told["reason"]
    with pytest.raises(RateLimited):
        pull(app, NAME)
    again = status(app)["connections"][0]
    assert again["state"] == state
    assert again["reason"] == reason if state == "refused" else "is used up for another" in again["reason"]


def test_one_unreadable_record_never_costs_its_page(app: App, crm: PlanhatSimulator):
    bad, twice = crm.ids()[:2]
    crm.raw(bad, b'{"_id":"%s","updatedAt":5,"total":[],"stage":{}}' % bad.encode())
    crm.raw(twice, b'{"_id":"%s","stage":"Closed Won","total":1,"total":2}' % twice.encode())
    summary = pull(app, NAME)
    assert summary.applied == len(crm.ids()) - 2
    reasons = {entry["source_id"]: entry["reason"] for entry in list_parked(app)}
    assert reasons[twice] == "DUPLICATE_KEYS"


@pytest.mark.parametrize(
    ("mishap", "fault"),
    [(refused(401), Refused), (refused(403), Refused), (html(), Unintelligible), (truncated(), Unavailable)],
)
def test_a_page_that_fails_leaves_what_came_before_and_is_read_again(app: App, crm: PlanhatSimulator, mishap, fault):
    for number in range(8, 60):
        crm.faults.at(number, mishap)
    with pytest.raises(fault):
        pull(app, NAME)
    landed = len(projected(app))
    assert 0 < landed < len(crm.ids())
    assert status(app)["connections"][0]["state"] == ("refused" if fault is Refused else "failing")
    crm.faults.clear()
    pull(app, NAME)
    assert len(projected(app)) == len(crm.ids())
    assert status(app)["connections"][0]["state"] == "ok"
