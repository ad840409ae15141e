"""Reconcile: what source, projection and ledger do not agree on is found, named, priced and mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, text

from connectors.faults import Unavailable
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import refused
from ledger.port import LedgerUnavailable
from pipeline.audit import Operator, list_audits
from pipeline.fetch import fetch
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import Reconciliation, reconcile
from pipeline.status import status
from pipeline.store import audits, sides, windows
from pipeline.store.tables import raw_blocks, runs
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.reconciling import append, causes, lose, named, tamper, with_ledger
from tests.pipeline.world import NAME, amounts, history, ledger_states, projected, rows


@pytest.fixture(params=["embedded", "memory", "remote"])
def settled(request: pytest.FixtureRequest, app: App) -> Iterator[App]:
    """Everything was pulled and published, into a ledger of each kind."""
    with with_ledger(app, request.param) as chosen:
        pull(chosen, NAME)
        publish(chosen)
        yield chosen


@pytest.fixture
def quiet(app: App) -> App:
    pull(app, NAME)
    publish(app)
    return app


def found(result: Reconciliation) -> dict[str, tuple[str, int]]:
    return {one.source_id: (one.kind, one.delta_cents) for one in result.differences}


def untouched(app: App) -> tuple[object, ...]:
    with app.store.read() as tx:
        raws = tx.execute(select(raw_blocks.c.id)).scalars().all()
    return rows(app), projected(app), raws


def test_sides_that_agree_are_verified_through_the_last_month(settled: App):
    result = reconcile(settled, NAME)
    assert result.differences == []
    document = result.as_json()
    assert all(window["ok"] for window in document["windows"])
    assert document["verified_through"] == max(filter(None, (window["month"] for window in document["windows"])))
    assert result.summary.clean


def test_windows_add_up_to_what_the_ledger_holds_in_count_money_stage_and_owner(settled: App):
    document = reconcile(settled, NAME).as_json()
    held = ledger_states(settled).values()
    for side in ("source", "projection", "ledger"):
        tallies = [window[side] for window in document["windows"]]
        assert sum(tally["count"] for tally in tallies) == len(held)
        assert sum(sum(tally["sums"].values()) for tally in tallies) == sum(one["amount_cents"] or 0 for one in held)
        for kind, name in (("stages", "stage"), ("owners", "owner_external_id")):
            counted: dict[str, int] = {}
            for tally in tallies:
                for key, part in tally[kind].items():
                    counted[key] = counted.get(key, 0) + part["count"]
            assert counted == {
                key: sum((one[name] or "") == key for one in held) for key in {one[name] or "" for one in held}
            }


def test_one_altered_one_missing_and_one_extra_are_exactly_the_three_that_are_found(
    settled: App, crm: PlanhatSimulator
):
    altered = crm.ids()[3]
    before = tamper(settled, altered, amount_cents=999_999_00)
    missing = crm.create(total=1234, currency="USD", stage="Closed Won", closeDate="2026-03-05T00:00:00.000Z")
    append(settled, named("nobody"), {"amount_cents": 50, "stage": "x", "close_date": None, "owner_external_id": None})
    held = untouched(settled)
    result = reconcile(settled, NAME)
    assert found(result) == {
        altered: ("differs", 999_999_00 - before),
        missing: ("missing", -123_400),
        "nobody": ("extra", 50),
    }
    assert result.delta_cents == 999_999_00 - before - 123_400 + 50
    assert untouched(settled) == held
    document = result.as_json()
    failed = [window["month"] for window in document["windows"] if not window["ok"]]
    assert "2026-03" in failed
    assert None in failed
    assert sum(window["delta_cents"] for window in document["windows"]) == result.delta_cents


def test_repair_mends_what_is_wrong_and_leaves_alone_what_is_only_extra(settled: App, crm: PlanhatSimulator):
    altered = crm.ids()[3]
    tamper(settled, altered, stage="somewhere")
    missing = crm.create(total=1234, currency="USD")
    append(settled, named("nobody"), {"amount_cents": 50, "stage": "x", "close_date": None, "owner_external_id": None})
    result = reconcile(settled, NAME, repair=True)
    assert result.summary.events == 2
    assert causes(settled) == sorted([(altered, "upsert", "repair"), (missing, "upsert", "repair")])
    publish(settled)
    again = reconcile(settled, NAME)
    assert found(again) == {"nobody": ("extra", 50)}
    assert ledger_states(settled)[named(altered)] == projected(settled)[named(altered)]
    assert named("nobody") in ledger_states(settled)


def test_a_repair_is_written_down_with_who_and_why_before_anything_is_mended(
    quiet: App, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    tamper(quiet, crm.ids()[0], amount_cents=1)
    reconcile(quiet, NAME)
    assert list(list_audits(quiet)) == [], "the schedule is nobody, and changes nothing"
    with monkeypatch.context() as broken:
        broken.setattr(audits, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            reconcile(quiet, NAME, repair=True, operator=Operator("ann", "a test"))
    assert rows(quiet)["outbox"] == 0
    done = reconcile(quiet, NAME, repair=True, operator=Operator("ann", "a test"))
    (kept,) = list_audits(quiet)
    assert (kept["who"], kept["action"], kept["connection"]) == ("ann", "reconcile --repair", NAME)
    assert (kept["reason"], kept["outcome"]) == ("a test", f"1 deal differs in run {done.summary.run}")
    assert rows(quiet)["outbox"] == 1


def test_a_repair_twice_before_it_is_sent_is_one_event(settled: App, crm: PlanhatSimulator):
    tamper(settled, crm.ids()[3], amount_cents=1)
    assert reconcile(settled, NAME, repair=True).summary.events == 1
    second = reconcile(settled, NAME, repair=True)
    assert (second.summary.events, dict(second.pending)) == (0, {"waiting": 1})


def test_a_change_that_every_pull_misses_is_found_and_landed(quiet: App, crm: PlanhatSimulator):
    """An edit that moves no version, older than any overlap."""
    deal = oldest(crm)
    crm.silent(deal, total=4711)
    assert pull(quiet, NAME).events == 0
    result = reconcile(quiet, NAME)
    assert [(one.source_id, one.where, one.fields) for one in result.differences] == [
        (deal, "both", ("amount_cents",)),
    ]
    repaired = reconcile(quiet, NAME, repair=True)
    assert history(quiet, deal)[-1][1] == "repair"
    assert amounts(quiet, deal)[-1] == 471_100
    counts = repaired.summary
    assert counts.read == counts.applied + counts.unchanged + counts.superseded + counts.parked + counts.out_of_scope
    assert counts.applied == 1
    publish(quiet)
    assert reconcile(quiet, NAME).differences == []


def test_a_change_since_the_last_pull_is_nobodys_fault(quiet: App, crm: PlanhatSimulator):
    deal = crm.ids()[3]
    with quiet.store.read() as tx:
        now = tx.execute(text("SELECT max(moved_at) FROM checkpoints")).scalar_one()
    with quiet.store.write() as tx:  # as if the pull had been made when the simulated clock stood where it stands
        tx.execute(text("UPDATE checkpoints SET moved_at = :then"), {"then": crm.clock.text()})
    crm.clock.advance(60)
    crm.edit(deal, total=4711)
    result = reconcile(quiet, NAME)
    assert (result.differences, dict(result.pending)) == ([], {"unread": 1})
    with quiet.store.write() as tx:
        tx.execute(text("UPDATE checkpoints SET moved_at = :now"), {"now": now})
    assert found(reconcile(quiet, NAME)).keys() == {deal}


def test_what_waits_for_the_ledger_is_no_difference_and_not_verified_either(quiet: App, crm: PlanhatSimulator):
    crm.edit(crm.ids()[3], total=4711)
    pull(quiet, NAME)
    result = reconcile(quiet, NAME)
    assert (result.differences, dict(result.pending)) == ([], {"waiting": 1})
    waiting = [window for window in result.windows if window.pending]
    assert [window.state for window in waiting] == ["pending"] * len(waiting)
    assert waiting
    assert result.verified_through is None or result.verified_through < min(one.month for one in waiting)
    publish(quiet)
    assert not reconcile(quiet, NAME).pending


def test_a_parked_deal_is_no_difference(quiet: App, crm: PlanhatSimulator):
    crm.edit(crm.ids()[3], stage="Nowhere")
    pull(quiet, NAME)
    result = reconcile(quiet, NAME)
    assert (result.differences, dict(result.pending)) == ([], {"parked": 1})
    assert result.summary.parked == 0  # this run parked nothing


def test_a_parked_deal_of_no_known_month_lets_the_mark_go_back_but_not_on(quiet: App, crm: PlanhatSimulator):
    mark = reconcile(quiet, NAME).verified_through
    assert mark is not None
    crm.create(total=5, currency="USD", stage="Nowhere", closeDate="2031-01-05T00:00:00.000Z")
    pull(quiet, NAME)
    result = reconcile(quiet, NAME)
    assert (dict(result.pending), result.verified_through) == ({"parked": 1}, mark)
    assert any("any month" in note for note in result.summary.notes)
    tamper(quiet, oldest(crm), amount_cents=1)
    back = reconcile(quiet, NAME, repair=True).verified_through
    publish(quiet)
    assert back is None or back < mark
    again = reconcile(quiet, NAME)
    assert (again.differences, again.verified_through) == ([], back)


def test_a_deal_fetched_while_we_read_is_moving(quiet: App, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch):
    """Somebody edits a deal that we have read already, a hint has it fetched and published, all before we compare."""
    deal = oldest(crm)
    listing = quiet.ledger.deals

    def late() -> Iterator[Any]:
        listed = list(listing())
        crm.edit(deal, total=4711)
        fetch(quiet, NAME, deal)
        publish(quiet)
        return iter(listed)

    monkeypatch.setattr(quiet.ledger, "deals", late)
    result = reconcile(quiet, NAME)
    assert (result.differences, dict(result.pending)) == ([], {"moving": 1})


def test_a_deal_published_while_the_ledger_is_listed_is_moving(
    quiet: App, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    """The list shows the state of before, and nothing waits any more when we compare."""
    crm.edit(oldest(crm), total=4711)
    pull(quiet, NAME)
    listing = quiet.ledger.deals

    def early() -> Iterator[Any]:
        listed = list(listing())
        publish(quiet)
        return iter(listed)

    monkeypatch.setattr(quiet.ledger, "deals", early)
    result = reconcile(quiet, NAME)
    assert (result.differences, dict(result.pending)) == ([], {"moving": 1})


def test_a_failed_window_stays_on_record_and_the_mark_goes_back_until_it_passes(quiet: App, crm: PlanhatSimulator):
    first = reconcile(quiet, NAME)
    deal = oldest(crm)
    month = projected(quiet)[named(deal)]["close_date"][:7]
    before = tamper(quiet, deal, amount_cents=1)
    failed = reconcile(quiet, NAME, repair=True)
    assert failed.verified_through is None or failed.verified_through < month
    assert mark(quiet) == failed.verified_through  # the repair alone verifies nothing
    publish(quiet)
    assert reconcile(quiet, NAME).verified_through == first.verified_through == mark(quiet)
    with quiet.store.read() as tx:
        on_record = windows.failed_before(tx, 1, 10**6, 10)
    assert [(one.month, one.deals_differing, one.delta_cents) for one in on_record] == [(month, 1, str(1 - before))]


def test_a_deal_in_another_month_fails_both_months(quiet: App, crm: PlanhatSimulator):
    deal = oldest(crm)
    state = projected(quiet)[named(deal)]
    tamper(quiet, deal, close_date="2019-01-31")
    result = reconcile(quiet, NAME)
    deltas = {one.month: one.delta_cents for one in result.windows if one.differing}
    assert deltas == {"2019-01": state["amount_cents"], state["close_date"][:7]: -state["amount_cents"]}
    assert result.delta_cents == 0
    assert result.verified_through is None


def test_two_states_that_changed_places_are_found(quiet: App, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch):
    """Count and sums agree in every part of the month: only digests that know whose state it is do not."""
    monkeypatch.setattr(sides, "BUCKETS", 1)
    one, other = (crm.create(total=5, currency="USD", closeDate="2026-03-05T00:00:00.000Z") for _ in range(2))
    pull(quiet, NAME)
    publish(quiet)
    states = projected(quiet)
    append(quiet, named(one), states[named(other)])
    append(quiet, named(other), states[named(one)])
    assert found(reconcile(quiet, NAME)).keys() == {one, other}


def test_amounts_of_any_size_add_up_to_the_cent(quiet: App, crm: PlanhatSimulator):
    deal = oldest(crm)
    for amount in (10**30, -(10**30) - 1, 0, None):
        tamper(quiet, deal, amount_cents=amount)
        document = reconcile(quiet, NAME).as_json()
        sums = sum(sum(window["ledger"]["sums"].values()) for window in document["windows"])
        assert sums == sum(one["amount_cents"] or 0 for one in ledger_states(quiet).values())


def test_a_tombstone_that_the_ledger_lost_is_told_again(quiet: App, crm: PlanhatSimulator):
    deal = crm.ids()[3]
    alive = projected(quiet)[named(deal)]
    crm.delete(deal)
    sweep(quiet, NAME)
    assert found(reconcile(quiet, NAME)) == {deal: ("extra", alive["amount_cents"])}
    sweep(quiet, NAME)
    publish(quiet)
    assert reconcile(quiet, NAME).differences == []
    append(quiet, named(deal), alive)
    assert found(reconcile(quiet, NAME, repair=True)) == {deal: ("extra", alive["amount_cents"])}
    assert history(quiet, deal)[-1][:2] == ("delete", "repair")
    publish(quiet)
    assert reconcile(quiet, NAME).differences == []


def test_a_deal_that_the_ledger_lost_is_told_again(quiet: App, crm: PlanhatSimulator):
    deal = crm.ids()[3]
    lose(quiet, deal)
    result = reconcile(quiet, NAME, repair=True)
    assert [(one.source_id, one.kind, one.where) for one in result.differences] == [(deal, "missing", "ledger")]
    publish(quiet)
    assert reconcile(quiet, NAME).differences == []
    assert len(history(quiet, deal)) == 2


def test_a_deal_absent_from_the_source_is_deleted_by_no_repair(quiet: App, crm: PlanhatSimulator):
    deal = crm.ids()[3]
    crm.delete(deal)
    for _ in range(3):
        result = reconcile(quiet, NAME, repair=True)
        assert [(one.kind, one.remedy) for one in result.differences] == [("extra", None)]
    assert rows(quiet)["outbox"] == 0
    assert not causes(quiet)


def test_an_empty_list_proves_nothing(quiet: App, crm: PlanhatSimulator):
    before = reconcile(quiet, NAME).verified_through
    crm.switches.hidden = frozenset(crm.ids())
    result = reconcile(quiet, NAME, repair=True)
    assert result.differences == []
    assert dict(result.pending) == {"unwitnessed": len(crm.ids())}
    assert result.summary.doubts
    assert result.verified_through is None
    assert before is not None
    assert rows(quiet)["outbox"] == 0


def test_other_connections_deals_are_none_of_its_business(quiet: App):
    append(quiet, "planhat-eu2:x", {"amount_cents": 5})
    append(quiet, "elsewhere:x", {"amount_cents": 5})
    assert reconcile(quiet, NAME).differences == []


def test_nobody_having_any_deal_is_agreement(open_world: Callable[..., App]):
    empty = open_world(PlanhatSimulator(seed=1, deals=0, token="token-of-a-test"))
    result = reconcile(empty, NAME)
    assert (result.windows, result.differences, result.summary.doubts) == ([], [], [])


def test_a_source_that_breaks_off_leaves_the_mark_and_no_window(quiet: App, crm: PlanhatSimulator):
    before = reconcile(quiet, NAME)
    tamper(quiet, crm.ids()[0], amount_cents=1)
    crm.faults.sometimes(1.0, refused(503), where=lambda request: request.query.get("offset", "0") != "0")
    with pytest.raises(Unavailable):
        reconcile(quiet, NAME)
    assert mark(quiet) == before.verified_through


def test_a_ledger_that_cannot_be_read_ends_it_and_the_run_says_so(quiet: App, monkeypatch: pytest.MonkeyPatch):
    def away() -> Iterator[Any]:
        raise LedgerUnavailable("it is away")

    monkeypatch.setattr(quiet.ledger, "deals", away)
    with pytest.raises(LedgerUnavailable):
        reconcile(quiet, NAME)
    with quiet.store.read() as tx:
        state = tx.execute(select(runs.c.state).where(runs.c.kind == "reconcile")).scalar_one()
    assert state == "failed"


def test_nothing_of_the_comparison_outlives_it(quiet: App):
    for _ in range(3):
        reconcile(quiet, NAME)
    with quiet.store.read() as tx:
        if tx.dialect.name == "sqlite":
            left = tx.execute(text("SELECT name FROM sqlite_temp_master")).all()
        else:
            left = tx.execute(text("SELECT 1 FROM pg_class WHERE relname = 'source_side'")).all()
    assert left == []


def mark(app: App) -> Any:
    return status(app)["connections"][0]["verified_through"]


def oldest(crm: PlanhatSimulator) -> str:
    """The deal with a close date whose last change lies furthest back: no overlap reads it again."""
    dated = [one for one in crm.ids() if crm.get(one).get("closeDate")]
    return min(dated, key=lambda one: str(crm.get(one)["updatedAt"]))
