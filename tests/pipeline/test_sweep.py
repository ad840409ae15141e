"""Sweep: nothing is deleted by absence alone."""

from __future__ import annotations

import pytest

from connectors.faults import Unavailable, Unintelligible
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import refused, saying
from pipeline.fetch import fetch
from pipeline.pull import pull
from pipeline.store import absences
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.world import NAME, by_type, history, projected, rows


def deleted(app: App, source_id: str) -> bool:
    return history(app, source_id)[-1][0] == "delete"


def test_a_deal_missed_by_two_sweeps_and_denied_by_a_get_gets_one_tombstone(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    gone = crm.ids()[5]
    crm.delete(gone)
    assert sweep(app, NAME).events == 0
    assert not deleted(app, gone)
    assert sweep(app, NAME).events == 1
    kind, _, state = history(app, gone)[-1]
    assert (kind, state["amount_cents"], state["deleted"]) == ("delete", 0, True)
    assert sweep(app, NAME).events == 0
    assert by_type(app)["delete"] == 1


def test_a_deal_that_is_back_before_the_second_sweep_was_never_gone(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    gone = crm.ids()[5]
    for _ in range(2):
        crm.delete(gone)
        sweep(app, NAME)
        crm.restore(gone)
        sweep(app, NAME)
    assert by_type(app)["delete"] == 0


def test_a_restored_deal_comes_back_with_the_same_state(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    gone = crm.ids()[5]
    alive = history(app, gone)[-1][2]
    crm.delete(gone)
    sweep(app, NAME)
    sweep(app, NAME)
    crm.restore(gone)
    assert sweep(app, NAME).events == 1
    kind, cause, state = history(app, gone)[-1]
    assert (kind, cause, state) == ("upsert", "undelete", alive)


@pytest.mark.parametrize("not_found", ["400", "null", "{}"])
def test_only_a_404_or_410_proves_a_delete(app: App, crm: PlanhatSimulator, not_found: str):
    pull(app, NAME)
    crm.switches.not_found = not_found
    crm.delete(crm.ids()[5])
    sweep(app, NAME)
    summary = sweep(app, NAME)
    assert by_type(app)["delete"] == 0
    assert summary.notes


def test_an_empty_list_deletes_nothing_however_often(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    for _ in range(3):
        crm.switches.hidden = frozenset(crm.ids())
        summary = sweep(app, NAME)
        assert summary.doubts
        assert not summary.clean
    assert by_type(app)["delete"] == 0


def test_hidden_deals_are_not_deleted(app: App, crm: PlanhatSimulator):
    """A permission that was taken away hides rows from lists and answers 403 to a get."""
    pull(app, NAME)
    crm.switches.hidden = frozenset(crm.ids()[:8])
    for _ in range(3):
        summary = sweep(app, NAME)
    assert by_type(app)["delete"] == 0
    assert any("403" in note for note in summary.notes)


def test_a_company_that_takes_its_deals_along(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    company = next(iter(crm.truth()))["companyId"]
    doomed = [record["_id"] for record in crm.truth() if record["companyId"] == company]
    crm.delete_company(company)
    sweep(app, NAME)
    sweep(app, NAME)
    assert by_type(app)["delete"] == len(doomed)


def test_a_sweep_that_is_cut_off_is_resumed_and_counts_once(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    gone = crm.ids()[35]
    crm.delete(gone)
    for number in range(len(crm.log) + 3, len(crm.log) + 60):
        crm.faults.at(number, refused(503))
    with pytest.raises(Unavailable):
        sweep(app, NAME)
    crm.faults.clear()
    assert sweep(app, NAME).events == 0
    assert sweep(app, NAME).events == 1
    assert deleted(app, gone)


def test_a_sweep_that_is_cut_off_behind_its_last_page_only_draws_its_conclusion(
    app: App, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    pull(app, NAME)
    gone = crm.ids()[35]
    crm.delete(gone)

    def die(*_: object) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as killed:
        killed.setattr(absences, "witness", die)
        with pytest.raises(SystemExit):
            sweep(app, NAME)
    before = len(crm.log)
    assert sweep(app, NAME).read == 0
    assert [call for call in crm.log[before:] if call.path == "/deals"] == []
    assert sweep(app, NAME).events == 1, "the second witness"
    assert deleted(app, gone)


def test_sweeping_an_unchanged_source_writes_nothing(app: App):
    pull(app, NAME)
    before = rows(app)
    summary = sweep(app, NAME)
    assert (summary.applied, summary.unchanged) == (0, summary.read)
    assert rows(app) == before


def test_a_sweep_finds_what_changed_without_moving_updated_at(app: App, crm: PlanhatSimulator):
    one = crm.create(name="One", stage="Negotiation", total=100, currency="USD")
    pull(app, NAME)
    crm.silent(one, total=300)
    assert pull(app, NAME).events in (0, 1)
    sweep(app, NAME)
    assert projected(app)[f"{NAME}:{one}"]["amount_cents"] == 30_000


def test_a_fetch_of_a_missing_deal_deletes_nothing(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    gone = crm.ids()[0]
    crm.delete(gone)
    summary = fetch(app, NAME, gone)
    assert (summary.read, summary.events) == (0, 0)
    assert "404" in summary.notes[0]


def test_a_fetch_lands_one_deal(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    one = crm.ids()[0]
    crm.edit(one, stage="Closed Lost")
    summary = fetch(app, NAME, one)
    assert (summary.read, summary.events) == (1, 1)
    assert projected(app)[f"{NAME}:{one}"]["stage"] == "closed_lost"
    assert pull(app, NAME).events == 0


def test_a_get_that_answers_for_another_deal_is_not_believed(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    one, other = crm.ids()[:2]
    crm.faults.sometimes(1.0, saying(crm.served(other)), where=lambda request: request.path.endswith(one))
    with pytest.raises(Unintelligible, match=one):
        fetch(app, NAME, one)
    assert rows(app)["events"] == len(crm.ids())


def test_an_answer_nobody_can_read_keeps_its_own_deal_only(app: App, crm: PlanhatSimulator):
    app.give_up_after_s = 0.0
    pull(app, NAME)
    odd, *gone = crm.ids()[3:6]
    for one in (odd, *gone):
        crm.delete(one)
    crm.faults.sometimes(1.0, saying(b"<html>"), where=lambda request: request.path.endswith(odd))
    sweep(app, NAME)
    summary = sweep(app, NAME)
    assert [deleted(app, one) for one in (odd, *gone)] == [False, True, True]
    assert any(odd in note for note in summary.notes)
    crm.faults.clear()
    sweep(app, NAME)
    assert deleted(app, odd)


def test_a_source_that_answers_nonsense_for_every_deal_fails_the_sweep(app: App, crm: PlanhatSimulator):
    app.give_up_after_s = 0.0
    pull(app, NAME)
    gone = crm.ids()[3:9]
    for one in gone:
        crm.delete(one)
    crm.faults.sometimes(1.0, saying(b"<html>"), where=lambda request: request.path.rpartition("/")[2] in gone)
    sweep(app, NAME)
    with pytest.raises(Unintelligible):
        sweep(app, NAME)
    assert by_type(app)["delete"] == 0
    crm.faults.clear()
    sweep(app, NAME)
    assert by_type(app)["delete"] == 6
