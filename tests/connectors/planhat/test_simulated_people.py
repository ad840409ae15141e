"""What people do in a simulated tenant, whatever the vendor: the words are Planhat's."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.planhat.simulated_people import SECRET_HEADER
from connectors.planhat.simulator import PlanhatSimulator
from connectors.registry import source
from connectors.simulated_crm import SimulatedCrm
from connectors.simulated_sender import Outgoing


def test_it_is_a_simulated_crm():
    crm: SimulatedCrm = PlanhatSimulator(seed=1, deals=3)
    assert crm.credentials == {"token": "sandbox"}
    source("planhat").options(**crm.options)


@pytest.mark.parametrize(("model", "amount"), [("deals", "total"), ("opportunities", "arr")])
def test_a_deal_is_typed_in_priced_and_won(tenant, model, amount):
    made = tenant(model=model)
    deal = made.new_deal(amount=Decimal("10.50"), stage="Negotiation")
    assert made.get(deal)[amount] == Decimal("10.50")
    made.set_amount(deal, None)
    made.set_stage(deal, made.stages[-2])
    assert made.get(deal)[amount] is None
    word = made.get(deal)["stage" if model == "deals" else "status"]
    assert word == ("Closed Won" if model == "deals" else "won")


def test_an_opportunity_that_is_reopened_is_active_again(tenant):
    made = tenant(model="opportunities")
    deal = made.ids()[0]
    made.set_stage(deal, "Closed Lost")
    made.set_stage(deal, "Negotiation")
    assert (made.get(deal)["status"], made.get(deal)["salesStage"]) == ("active", "Negotiation")


def test_an_automation_bears_the_secret_of_the_day(tenant):
    made, got = tenant(), []

    def post(delivery: Outgoing) -> int:
        got.append(delivery.headers[SECRET_HEADER])
        return 202

    made.notify(post)
    made.touch(made.ids()[0])
    made.webhook_secret = "another"
    made.touch(made.ids()[0])
    assert got == [PlanhatSimulator.webhook_secret, "another"]
