"""Invariants as an operator asks for them: what is no fault is not told as one, and what is one is."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from pipeline.invariants import Check, doctor
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.wiring import App
from tests.pipeline.world import NAME


def projection(app: App) -> Check:
    return next(check for check in doctor(app) if check.name.startswith("7"))


def test_deals_of_a_connection_that_is_configured_no_more_are_still_right(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    for prefix in ("", 'external_id_prefix = "crm"'):
        app = open_world(crm, prefix)
        pull(app, NAME)
        publish(app)
        app.settings = app.settings.model_copy(update={"connections": {}})
        assert projection(app) == Check("7 projection = ledger", True, "40 deals agree in every field")


def test_a_deal_that_the_ledger_has_lost_is_told_of(app: App):
    pull(app, NAME)
    publish(app)
    with app.store.write() as tx:
        tx.execute(text("DELETE FROM ledger_deals WHERE external_id = (SELECT min(external_id) FROM ledger_deals)"))
    assert projection(app).message == "40 deals should be in the ledger, 39 are"
