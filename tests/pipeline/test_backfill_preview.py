"""Backfill preview: the plan that is shown is the plan that is carried out, and what it says comes true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import refused
from edge.words import expectation
from pipeline.backfill import cancel, resume, start
from pipeline.backfill_preview import preview
from pipeline.backfill_report import Standing, expected, listed
from pipeline.backfill_work import REMAPPED
from pipeline.faults import Interrupted
from pipeline.invariants import doctor
from pipeline.mapping_files import shipped
from pipeline.pull import pull
from pipeline.store.tables import metadata
from pipeline.wiring import App
from tests.pipeline.world import NAME, projected, rows, waiting

ALL = (None, None)
BESIDES = {"runs", "backfills", "backfill_chunks", "leases", "audits", "budgets", "mapping_versions", "connections"}
"""What a dry run may write: itself, the lease it holds, who asked for it, the requests it spent."""


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=7, deals=70, token="token-of-a-test")


def contents(app: App) -> dict[str, int]:
    with app.store.read() as tx:
        return {
            name: tx.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
            if name not in BESIDES
        }


def plan(standing: Standing) -> list[tuple[int, str, object]]:
    return [(chunk.number, chunk.plan.label, chunk.plan.place) for chunk in standing.plan]


def test_what_is_expected_of_an_empty_store_is_everything_and_nothing_lands(app: App, crm: PlanhatSimulator):
    before = contents(app)
    outcome = preview(app, NAME, ALL)
    assert outcome.standing.state == "planned"
    told = outcome.standing.expected or {}
    assert (told["creates"], told["changes"], told["no_ops"], told["parked"]) == (70, 0, 0, 0)
    worth = sum(int(record["total"] * 100) for record in crm.truth())
    assert told["money"] == {"USD": worth}
    assert (contents(app), outcome.summary.events, waiting(app)) == (before, 0, [])


def test_the_plan_is_what_is_carried_out_and_what_it_says_comes_true(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    total = sum(state["amount_cents"] or 0 for state in projected(app).values())
    crm.edit(crm.ids()[5], total=11)
    crm.edit(crm.ids()[6], stage=crm.stages[-1])
    crm.edit(crm.ids()[7], stage="Nowhere")
    crm.touch(crm.ids()[8])
    crm.new_deal(amount=None, stage=crm.stages[0])
    looked_at = preview(app, NAME, ALL)
    told = looked_at.standing.expected or {}
    assert (told["creates"], told["changes"], told["parked"], told["no_ops"]) == (1, 2, 1, 67)
    done = resume(app, looked_at.standing.id)
    assert plan(done.standing) == plan(looked_at.standing)
    summary = done.summary
    assert summary.events == told["creates"] + told["changes"] == summary.applied
    assert (summary.parked, summary.unchanged, summary.read) == (1, 67, 71)
    after = sum(state["amount_cents"] or 0 for state in projected(app).values())
    assert told["money"] == {"USD": after - total}


def test_who_carries_out_a_plan_under_another_mapping_is_told(
    app: App, open_world: Callable[..., App], crm: PlanhatSimulator, tmp_path: Path
):
    same, other = preview(app, NAME, ALL).standing.id, preview(app, NAME, ALL).standing.id
    assert REMAPPED not in resume(app, same).summary.notes
    (tmp_path / "planhat.toml").write_text(shipped("planhat").replace('"negotiation"', '"in_talks"'))
    remapped = open_world(crm, f'mapping = "{tmp_path}/planhat.toml"')
    assert resume(remapped, other).summary.notes.count(REMAPPED) == 1


def test_what_deals_in_other_currencies_move_is_told_in_the_ledgers(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    app = open_world(crm, connection='currency_policy = "pass"')
    for one, currency in zip(crm.ids(), ["EUR", "GBP", "USD"], strict=False):
        crm.edit(one, total=500, currency=currency)
    told = preview(app, NAME, ALL).standing.expected or {}
    start(app, NAME, ALL)
    states = projected(app).values()
    assert {"EUR", "GBP"} <= {state.get("currency") for state in states}
    assert told["money"] == {"USD": sum(state["amount_cents"] or 0 for state in states)}


def test_each_chunk_has_its_own_expectation_and_they_add_up(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    crm.edit(crm.ids()[5], total=11)
    standing = preview(app, NAME, ALL).standing
    parts = [chunk.expectation or {} for chunk in standing.plan]
    assert [part["changes"] for part in parts].count(1) == 1
    assert sum(part["no_ops"] for part in parts) == 69
    assert expected(parts) == standing.expected


def test_rows_that_two_pages_show_are_expected_once(app: App, crm: PlanhatSimulator):
    """In a list that keeps no order, pages show again what earlier ones have shown."""
    crm.switches.ignored_params = frozenset({"sort"})
    told = preview(app, NAME, ALL).standing.expected or {}
    assert (told["creates"], told["no_ops"]) == (70, 0)
    assert start(app, NAME, ALL).summary.read > 70


def test_a_chunk_that_cannot_be_read_is_told_and_the_others_are_looked_at(app: App, crm: PlanhatSimulator):
    crm.faults.sometimes(1.0, refused(400), where=lambda request: request.query.get("offset") == "26")
    standing = preview(app, NAME, ALL).standing
    told = standing.expected or {}
    assert (told["unreadable_chunks"], standing.failed, 50 < told["creates"] < 70) == (1, 0, True)
    crm.faults.clear()
    assert resume(app, standing.id).standing.state == "done"


def test_a_dry_run_that_was_cut_off_says_of_how_many_chunks_it_knows_nothing(app: App):
    """What it has found so far must not pass for all of it."""

    def cut_off(standing: Standing) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        preview(app, NAME, ALL, watch=cut_off)
    (standing,) = listed(app)
    told = standing.expected or {}
    assert told["unknown_chunks"] == standing.total - 1 > 0
    assert f"{standing.total - 1} chunks that it has not come to" in expectation(told, "USD")
    assert [expectation(one.expectation, "USD") == "not looked at yet" for one in standing.plan[:2]] == [False, True]


def test_a_plan_keeps_nobody_off_and_can_be_thrown_away(app: App):
    number = preview(app, NAME, ALL).standing.id
    assert start(app, NAME, ALL).standing.state == "done"
    assert cancel(app, number).state == "cancelled"


def test_a_dry_run_is_told_of_as_it_goes(app: App):
    seen: list[Standing] = []
    preview(app, NAME, ALL, watch=seen.append)
    assert len(seen) == 10
    assert {one.state for one in seen} == {"planned"}


def test_a_store_that_was_only_looked_at_is_sound(app: App):
    preview(app, NAME, ALL)
    pull(app, NAME)
    preview(app, NAME, ALL)
    assert [check for check in doctor(app) if not check.ok] == []
    assert rows(app)["events"] == 70


def test_one_that_died_while_it_looked_can_still_be_carried_out(open_world: Callable[..., App], crm: PlanhatSimulator):
    app = open_world(crm)

    def die(_standing: Standing) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preview(app, NAME, ALL, watch=die)
    assert resume(app, 1).standing.state == "done"
    assert rows(app)["events"] == 70
