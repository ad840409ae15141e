"""Flags: what was read in a way that a person may like to know of is told at the end of the run."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from connectors.planhat.simulator import PlanhatSimulator
from pipeline.explain import explain
from pipeline.pull import pull
from pipeline.wiring import App
from tests.pipeline.world import NAME, amounts


def flagged(notes: list[str]) -> dict[str, str]:
    return {note.rpartition("(")[2].rstrip(")"): note for note in notes if note.endswith(")")}


def test_the_first_line_item_is_told_of_when_it_changes_the_amount(app: App, crm: PlanhatSimulator):
    jumps = crm.create(stage="Negotiation", total=100, currency="USD")
    stays = crm.create(stage="Negotiation", total=500, currency="USD")
    pull(app, NAME)
    crm.attach_line_item(jumps, mrr=10, value=320)
    crm.attach_line_item(stays, mrr=10, value=500)
    notes = flagged(pull(app, NAME).notes)
    assert notes["amount_became_derived"].startswith("1 record: ")
    assert amounts(app, jumps) == [10_000, 32_000]
    crm.edit(jumps, total=330)
    assert "amount_became_derived" not in flagged(pull(app, NAME).notes)


def test_what_was_rounded_or_assumed_is_counted(open_world: Callable[..., App], crm: PlanhatSimulator):
    app = open_world(crm)
    pull(app, NAME)
    one, other = crm.ids()[:2]
    crm.edit(one, total=Decimal("1.005"), currency="USD")
    crm.drop(other, "currency")
    notes = flagged(pull(app, NAME).notes)
    assert notes["amount_rounded"].startswith("1 record: ")
    assert notes["currency_defaulted"].startswith("1 record: ")
    assert explain(app, f"{NAME}:{one}")["event"]["flags"] == ["amount_rounded"]
    assert flagged(pull(app, NAME).notes) == {}
