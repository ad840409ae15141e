"""Incidents: one for each run and outcome, open until a person closes it, and known after an upgrade."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from ledger.memory import MemoryLedger
from pipeline.audit import Operator
from pipeline.faults import Unknown
from pipeline.incidents import acknowledge_incident, list_incidents, show_incident
from pipeline.levels import INCIDENTS, levels
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.store import incidents, outbox
from pipeline.store.incidents import IncidentRow
from pipeline.store.outbox import BEGINNING, WHENEVER
from pipeline.store.schema import STORE
from pipeline.wiring import App
from tests.pipeline.world import NAME, migrated_to

ANN = Operator("ann", "compared, all is well")


@pytest.fixture
def elsewhere(app: App, crm: PlanhatSimulator) -> MemoryLedger:
    """A ledger that is not in the store's database, and knows every deal."""
    app.ledger = ledger = MemoryLedger(now=lambda: "2026-05-01T10:00:00.000Z")
    settings = app.settings.ledger.model_copy(update={"kind": "openquota"})
    app.settings = app.settings.model_copy(update={"ledger": settings})
    pull(app, NAME)
    publish(app)
    return ledger


def meet(app: App, crm: PlanhatSimulator, ledger: MemoryLedger, total: int, number: int) -> None:
    """Change every deal; the ledger has so many of the events before they are first sent."""
    for one in crm.ids():
        crm.edit(one, total=total, currency="USD")
    pull(app, NAME)
    with app.store.read() as tx:
        ledger.append([head.event for head in outbox.heads(tx, after=BEGINNING, due=WHENEVER, limit=number)])
    publish(app)


def events(found: Sequence[dict[str, object]]) -> list[object]:
    return [one["events"] for one in found]


def test_the_events_of_one_run_are_one_incident_however_many_batches_they_came_in(
    app: App, crm: PlanhatSimulator, elsewhere: MemoryLedger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pipeline.publish.BATCH", 3)
    meet(app, crm, elsewhere, 777, 8)
    meet(app, crm, elsewhere, 778, 5)
    found = list_incidents(app)
    assert events(found) == [8, 5]
    assert [one["outcome"] for one in found] == ["there_before"] * 2
    first, *met = show_incident(app, found[0]["id"])
    assert (first["events"], len(met), {one["revision"] for one in met}) == (8, 8, {2})
    assert first["domain_event_id"] in {one["domain_event_id"] for one in met}


def test_monitors_see_what_is_open_and_only_that(app: App, crm: PlanhatSimulator, elsewhere: MemoryLedger):
    meet(app, crm, elsewhere, 777, 2)
    meet(app, crm, elsewhere, 778, 3)
    one, other = (int(one["id"]) for one in list_incidents(app))
    assert (INCIDENTS, "", 5) in levels(app)
    assert acknowledge_incident(app, one, ANN) == 2
    assert (INCIDENTS, "", 3) in levels(app)
    assert [one["id"] for one in list_incidents(app)] == [other]
    assert events(list_incidents(app, acknowledged=True)) == [2, 3]
    assert events(list_incidents(app, acknowledged=True, after=one)) == [3]
    assert events(list_incidents(app, acknowledged=True, limit=1)) == [2]
    with pytest.raises(Unknown, match="acknowledged by ann"):
        acknowledge_incident(app, one, ANN)


def test_what_arrives_after_an_acknowledgement_is_another_incident(app: App, elsewhere: MemoryLedger):
    row = IncidentRow(7, "there_before", 2, "2026-01-01", "2026-01-01", 1, "a", "dom_1")
    with app.store.write() as tx:
        incidents.add(tx, row)
        incidents.add(tx, row._replace(events=3, latest="2026-01-02", source_id="b", domain_event_id="dom_2"))
    (one,) = list_incidents(app)
    assert (one["events"], one["since"], one["latest"], one["source_id"]) == (5, "2026-01-01", "2026-01-02", "b")
    acknowledge_incident(app, int(one["id"]), ANN)
    with app.store.write() as tx:
        incidents.add(tx, row)
    assert events(list_incidents(app)) == [2]
    assert events(list_incidents(app, acknowledged=True)) == [5, 2]


def test_what_an_older_version_had_counted_is_open_after_the_upgrade(
    app: App, crm: PlanhatSimulator, elsewhere: MemoryLedger
):
    meet(app, crm, elsewhere, 777, 4)
    engine = app.store.engine
    with engine.begin() as tx:
        latest = tx.execute(text(f"SELECT version_num FROM {STORE.version_table}")).scalar_one()
        tx.execute(text("DROP TABLE incidents"))
        tx.execute(text("INSERT INTO store_facts (name, value) VALUES ('incidents', '4')"))
        tx.execute(text(f"UPDATE {STORE.version_table} SET version_num = '0009'"))
        migrated_to(tx, STORE, "0010")
        tx.execute(text(f"UPDATE {STORE.version_table} SET version_num = '{latest}'"))
    (one,) = list_incidents(app)
    assert (one["events"], one["outcome"], one["run"]) == (4, "there_before", None)
    assert len(list(show_incident(app, one["id"]))) == 5
    assert (INCIDENTS, "", 4) in levels(app)
    with engine.connect() as tx:
        assert tx.execute(text("SELECT count(*) FROM store_facts WHERE name = 'incidents'")).scalar_one() == 0
