"""Invariants as an operator asks for them: what is no fault is not told as one, and what is one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from ledger.port import LedgerDeal
from pipeline.invariants import Check, doctor
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.recover import recover
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.world import CONFIG, NAME, by_type, ledger_states


def projection(app: App) -> Check:
    return next(check for check in doctor(app) if check.name.startswith("7 projection"))


@pytest.fixture
def _unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that does not ask whether the prefix was changed: a store of before, or one that was edited by hand."""
    monkeypatch.setattr("pipeline.run.prefixes.told_otherwise", lambda *_: None)


@pytest.mark.parametrize("prefix", ["", 'external_id_prefix = "crm"'])
def test_deals_of_a_connection_that_is_configured_no_more_are_still_right(
    open_world: Callable[..., App], crm: PlanhatSimulator, prefix: str
):
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


def unwell(app: App) -> list[str]:
    return [check.message for check in doctor(app) if not check.ok]


@pytest.mark.usefixtures("_unguarded")
def test_deals_stay_where_they_were_told_of_when_the_prefix_changes(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    app = open_world(crm)
    pull(app, NAME)
    publish(app)
    app = open_world(crm, 'external_id_prefix = "crm"')
    crm.create(total=5)
    pull(app, NAME)
    publish(app)
    assert unwell(app) == []
    assert projection(app).message == "41 deals agree in every field"


@pytest.mark.usefixtures("_unguarded")
def test_a_deal_that_is_in_the_ledger_under_two_ids_is_paid_on_twice(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    app = open_world(crm)
    pull(app, NAME)
    publish(app)
    app = open_world(crm, 'external_id_prefix = "crm"')
    twice = crm.ids()[7]
    crm.edit(twice, total=99)
    pull(app, NAME)
    publish(app)
    (said,) = unwell(app)
    assert f"as {NAME}:{twice} and as crm:{twice}" in said
    assert "external_id_prefix" in said


@pytest.mark.usefixtures("_unguarded")
def test_a_deal_that_was_deleted_under_its_former_id_is_paid_on_once(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    app, back = open_world(crm), crm.ids()[0]
    pull(app, NAME)
    crm.delete(back)
    for _ in range(2):
        sweep(app, NAME)
    publish(app)
    app = open_world(crm, 'external_id_prefix = "crm"')
    crm.restore(back)
    sweep(app, NAME)
    publish(app)
    assert f"crm:{back}" in ledger_states(app)
    assert unwell(app) == []


def test_a_connection_that_another_one_has_taken_over_is_not_asked_for_its_own(
    open_world: Callable[..., App], crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    app = open_world(crm)
    pull(app, NAME)
    publish(app)
    monkeypatch.setattr("tests.pipeline.conftest.CONFIG", CONFIG.replace(NAME, "successor"))
    app = open_world(crm, f'external_id_prefix = "{NAME}"')
    app.transports = {"successor": crm.transport()}
    recover(app, "successor", send=True)
    crm.edit(crm.ids()[0], total=77)
    pull(app, "successor")
    publish(app)
    assert unwell(app) == []


class Shortened:
    """The app's ledger, but for the deals that are deleted, as one with `hide_deleted` lists them."""

    def __init__(self, app: App) -> None:
        self._ledger = app.ledger

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)

    def deals(self) -> Iterator[LedgerDeal]:
        return (deal for deal in self._ledger.deals() if not deal.state["custom"].get("deleted"))


def test_a_ledger_need_not_list_what_is_deleted(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    crm.delete(crm.ids()[0])
    for _ in range(2):
        sweep(app, NAME)
    publish(app)
    assert by_type(app)["delete"] == 1
    assert unwell(app) == []
    app.ledger = Shortened(app)
    assert unwell(app) == []
    assert projection(app).message == "39 deals agree in every field"


def test_a_deleted_deal_does_not_stand_in_for_one_that_is_lost(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    crm.delete(crm.ids()[0])
    for _ in range(2):
        sweep(app, NAME)
    publish(app)
    with app.store.write() as tx:
        tx.execute(text("DELETE FROM ledger_deals WHERE external_id = :id"), {"id": f"{NAME}:{crm.ids()[0]}"})
    assert unwell(app) == ["39 deals should be in the ledger, 38 are"]


class Busy(Shortened):
    """The app's ledger, to which somebody publishes while it is listed."""

    def __init__(self, app: App, meanwhile: Callable[[], object]) -> None:
        super().__init__(app)
        self._meanwhile = meanwhile

    def deals(self) -> Iterator[LedgerDeal]:
        listed = list(self._ledger.deals())
        yield from listed[:20]
        self._meanwhile()
        yield from listed[20:]


def test_what_is_published_while_the_ledger_is_listed_is_no_fault(
    app: App, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pipeline.invariants._BATCH", 10)
    pull(app, NAME)
    publish(app)

    def meanwhile() -> None:
        for one in crm.ids():
            crm.edit(one, total=4711)
        crm.create(total=5)
        pull(app, NAME)
        publish(app)

    app.ledger = Busy(app, meanwhile)
    assert unwell(app) == []
