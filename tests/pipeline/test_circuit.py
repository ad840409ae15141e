"""Circuit: what many runs delete within a day is held as what one run deletes is, and nothing else with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from pipeline.audit import Operator
from pipeline.heed import heed
from pipeline.held import discard_held, list_held, release_held
from pipeline.invariants import doctor
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.run import running
from pipeline.summary import Summary, silent
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.delivering import WEBHOOK, deliver, saying
from tests.pipeline.world import NAME, TOKEN, ledger_states, projected, rows

ANN = Operator("ann", "asked the customer")


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=7, deals=60, token=TOKEN)


@pytest.fixture
def published(open_world: Callable[..., App], crm: PlanhatSimulator) -> App:
    app = open_world(crm, connection=WEBHOOK)
    pull(app, NAME)
    publish(app)
    return app


def told_gone(app: App, crm: PlanhatSimulator, gone: Sequence[str]) -> Summary:
    """These deals are deleted, a delivery for each says so, and one run heeds them all."""
    for one in gone:
        crm.delete(one)
        assert deliver(app, saying(one, "delete")) == 202
    summary = heed(app, NAME)
    assert summary is not None
    return summary


def alive(app: App) -> int:
    return sum(not state.get("deleted") for state in ledger_states(app).values())


def sound(app: App) -> bool:
    return [check for check in doctor(app) if not check.ok] == []


def a_day_later(app: App) -> None:
    with app.store.write() as tx:
        moved = text(
            "UPDATE store_facts SET value = replace(value, substr(value, 3, 4), '2001') WHERE name LIKE 'deleted in a%'"
        )
        assert tx.execute(moved).rowcount == 1


def test_a_mass_delete_told_in_slices_is_held_from_where_the_day_has_had_too_much(
    published: App, crm: PlanhatSimulator
):
    ids = crm.ids()
    for slice_of in (ids[:3], ids[3:6]):
        assert told_gone(published, crm, slice_of).held == 0
        publish(published)
    crm.edit(ids[20], total=77)
    assert deliver(published, saying(ids[20])) == 202
    third = told_gone(published, crm, ids[6:9])
    assert (third.events, third.held, third.clean) == (4, 3, False)
    assert any("dealsync held show" in note for note in third.notes)
    assert publish(published).published == 1, "the edit of a deal that nobody deleted"
    fourth = told_gone(published, crm, ids[9:12])
    assert (fourth.held, publish(published).published) == (3, 0)
    (one,) = list_held(published)
    assert (one["events"], one["by_type"]) == (6, {"delete": 6})
    assert one["reason"].startswith("12 of 60 deals were deleted within a day")
    assert (alive(published), sound(published)) == (54, True)


def test_what_waits_of_the_day_when_it_has_had_too_much_is_held_as_well(published: App, crm: PlanhatSimulator):
    ids = crm.ids()
    told_gone(published, crm, ids[:5])
    told_gone(published, crm, ids[5:7])
    assert publish(published).published == 0
    assert list_held(published)[0]["events"] == 7
    assert alive(published) == 60


def test_sweeps_count_with_what_was_told(published: App, crm: PlanhatSimulator):
    ids = crm.ids()
    for one in ids[:5]:
        crm.delete(one)
    sweep(published, NAME)
    assert sweep(published, NAME).events == 5
    publish(published)
    told_gone(published, crm, ids[5:7])
    assert (publish(published).published, alive(published)) == (0, 55)


def test_a_caution_that_came_to_little_counts_with_the_rest_of_the_day(published: App, crm: PlanhatSimulator):
    """A sweep suspects ten deals and finds four gone: its set is let go, and three more are too many."""
    ids = crm.ids()
    for one in ids[:4]:
        crm.delete(one)
    crm.switches.hidden = frozenset(ids[10:16])
    sweep(published, NAME)
    assert (sweep(published, NAME).held, publish(published).published) == (0, 4)
    told_gone(published, crm, ids[4:7])
    assert publish(published).published == 0


def test_what_a_runs_own_set_holds_counts_for_no_day(published: App, crm: PlanhatSimulator):
    ids = crm.ids()
    for one in ids[:7]:
        crm.delete(one)
    sweep(published, NAME)
    assert sweep(published, NAME).held == 7
    assert told_gone(published, crm, ids[7:12]).held == 0
    assert (publish(published).published, len(list_held(published))) == (5, 1)


def test_once_a_person_has_decided_the_day_counts_anew(published: App, crm: PlanhatSimulator):
    ids = crm.ids()
    told_gone(published, crm, ids[:7])
    (one,) = list_held(published)
    release_held(published, one["id"], ANN)
    assert publish(published).published == 7
    assert told_gone(published, crm, ids[7:12]).held == 0
    assert (publish(published).published, list_held(published)) == (5, [])
    told_gone(published, crm, ids[12:14])
    assert len(list_held(published)) == 1
    assert sound(published)


def test_the_next_day_counts_anew_unless_a_set_still_waits(published: App, crm: PlanhatSimulator):
    ids = crm.ids()
    told_gone(published, crm, ids[:6])
    a_day_later(published)
    told_gone(published, crm, ids[6:11])
    assert (publish(published).published, list_held(published)) == (11, [])
    told_gone(published, crm, ids[11:13])
    a_day_later(published)
    told_gone(published, crm, ids[13:14])
    assert publish(published).published == 0
    assert [one["events"] for one in list_held(published)] == [3]


def test_deals_that_came_within_the_day_lived_in_it(open_world: Callable[..., App]):
    crm = PlanhatSimulator(seed=7, deals=20, token=TOKEN)
    app = open_world(crm, connection=WEBHOOK)
    pull(app, NAME)
    assert told_gone(app, crm, crm.ids()[:8]).held == 0, "of few deals a share says nothing"
    for number in range(100):
        crm.create(name=str(number), total=5, stage="Negotiation", currency="USD")
    pull(app, NAME)
    assert told_gone(app, crm, crm.ids()[:4]).held == 0, "twelve of a hundred and twenty"
    assert publish(app).published == 20 + 8 + 100 + 4
    told_gone(app, crm, crm.ids()[:1])
    assert (publish(app).published, len(list_held(app))) == (0, 1)


def test_runs_that_delete_at_the_same_time_count_together(published: App, crm: PlanhatSimulator):
    ids, together = crm.ids(), threading.Barrier(2)

    def buries(gone: Sequence[str]) -> None:
        with running(published, NAME, "fetch", progress=silent, exclusive=False) as run:
            for one in gone:
                together.wait(timeout=30)
                run.bury(one, published.store.now())

    workers = [threading.Thread(target=buries, args=(ids[place : place + 4],)) for place in (0, 4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    (one,) = list_held(published)
    assert (one["events"], publish(published).published) == (8, 0)


def test_the_days_set_is_discarded_as_any_other(published: App, crm: PlanhatSimulator):
    before = ledger_states(published)
    ids = crm.ids()
    told_gone(published, crm, ids[:4])
    told_gone(published, crm, ids[4:8])
    summary = discard_held(published, list_held(published)[0]["id"], ANN)
    assert (summary.applied, summary.events) == (8, 8)
    publish(published)
    assert ledger_states(published) == before == projected(published)
    assert sound(published)


def test_a_limit_of_all_deals_is_none(open_world: Callable[..., App], crm: PlanhatSimulator):
    app = open_world(crm, connection="delete_limit = 1.0\n" + WEBHOOK)
    pull(app, NAME)
    ids = crm.ids()
    for place in range(0, 60, 20):
        told_gone(app, crm, ids[place : place + 20])
    later = [crm.create(name=str(number), total=5, stage="Negotiation", currency="USD") for number in range(5)]
    pull(app, NAME)
    told_gone(app, crm, later)
    assert list_held(app) == []
    assert rows(app)["outbox"] == 2 * 65
