"""What is known of deals is what they were last landed from, and nothing of those that are gone."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import update

from connectors.planhat.simulator import PlanhatSimulator
from deals.identity import decode_json
from pipeline.landed import landed
from pipeline.pull import pull
from pipeline.store import connections
from pipeline.store.tables import deals
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.world import NAME


def amounts(app: App, ids: list[str]) -> dict[str, object]:
    return {one: decode_json(record.raw.decode()).get("total") for one, record in landed(app.store, NAME)(ids).items()}


def test_nothing_is_known_of_a_connection_that_was_never_used(app: App):
    assert landed(app.store, NAME)(["anything"]) == {}


def test_known_is_the_record_last_applied_with_its_version(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    one, other = crm.ids()[:2]
    crm.edit(one, total=4321)
    pull(app, NAME)
    known = landed(app.store, NAME)([one, other, "unheard of"])
    assert known.keys() == {one, other}
    assert amounts(app, [one]) == {one: 4321}
    assert (known[one].version, known[one].kind) == (crm.get(one)["updatedAt"], "deals")


def test_a_record_that_is_parked_is_known_before_the_one_applied(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    one = crm.ids()[0]
    crm.edit(one, total=99, stage="a stage that no table knows")
    assert pull(app, NAME).parked == 1
    assert amounts(app, [one]) == {one: 99}


def test_a_deal_that_is_gone_is_not_known(open_world: Callable[..., App], crm: PlanhatSimulator):
    app = open_world(crm)
    pull(app, NAME)
    gone = crm.ids()[0]
    crm.delete(gone)
    for _ in range(2):
        sweep(app, NAME)
    assert landed(app.store, NAME)([gone]) == {}


def test_a_deal_whose_state_was_taken_from_the_ledger_has_no_record(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    one = crm.ids()[0]
    with app.store.write() as tx:
        tx.execute(update(deals).where(deals.c.source_id == one).values(mapping_id=connections.FROM_LEDGER))
    assert landed(app.store, NAME)([one]) == {}
