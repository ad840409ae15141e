"""Totals: they are what the runs of a store came to, whenever they are read, and never fall."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import text

from connectors.faults import Refused
from connectors.planhat.simulator import PlanhatSimulator
from pipeline.audit import Operator
from pipeline.backfill import start
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.store import runs
from pipeline.sweep import sweep
from pipeline.totals import OUTCOMES, Totals
from pipeline.wiring import App
from tests.pipeline.world import NAME


def told(totals: Totals) -> dict[tuple[str, ...], float]:
    return {(one.name, *one.of): one.number for one in totals.read()}


def added_up(app: App) -> dict[tuple[str, ...], float]:
    """The same, from every run there is."""
    found: Counter[tuple[str, ...]] = Counter({("published",): 0})
    with app.store.read() as tx:
        for row in tx.execute(text("SELECT * FROM runs")).mappings():
            where = NAME if row["connection_id"] else ""
            if row["state"] in runs.OVER:
                found["runs", where, row["kind"], row["state"]] += 1
            if row["kind"] == "publish":
                found[("published",)] += row["published"]
            else:
                found["events", where] += row["events"]
                found.update({("records", where, outcome): row[outcome] for outcome in OUTCOMES})
    return dict(found)


def test_a_store_in_which_nothing_ran_has_published_nothing(app: App):
    assert told(Totals(app)) == {("published",): 0}


def test_whoever_reads_all_along_and_whoever_begins_to_are_told_the_same(app: App, crm: PlanhatSimulator):
    watching = Totals(app)
    pull(app, NAME)
    publish(app)
    deals = told(watching)["records", NAME, "applied"]
    assert deals == told(watching)["events", NAME] == told(watching)["published",] == len(crm.ids())
    crm.edit(crm.ids()[0], total=123_456)
    sweep(app, NAME)
    assert told(watching) == told(Totals(app)) == added_up(app)
    assert told(watching)["records", NAME, "applied"] == deals + 1
    assert told(watching)["runs", NAME, "sweep", "done"] == 1


def test_a_run_that_failed_is_told_and_one_under_way_counts_what_it_has_done(app: App, crm: PlanhatSimulator):
    watching = Totals(app)
    pull(app, NAME)
    crm.switches.forbidden = True
    with pytest.raises(Refused):
        pull(app, NAME)
    assert told(watching)["runs", NAME, "pull", "failed"] == 1
    crm.switches.forbidden = False
    crm.edit(crm.ids()[0], total=123_456)
    pull(app, NAME)
    with app.store.write() as tx:
        last = tx.execute(text("SELECT max(id) FROM runs")).scalar_one()
        tx.execute(text("UPDATE runs SET state = 'running', applied = applied - 1 WHERE id = :id"), {"id": last})
    before = told(watching)["records", NAME, "applied"]
    with app.store.write() as tx:
        tx.execute(text("UPDATE runs SET state = 'done', applied = applied + 1 WHERE state = 'running'"))
    assert told(watching)["records", NAME, "applied"] == before + 1
    assert told(watching) == added_up(app)


def test_a_backfill_that_is_gone_on_with_counts_no_more_than_it_read(app: App):
    watching = Totals(app)
    start(app, NAME, (None, None), operator=Operator("ann", "tests"))
    assert told(watching) == added_up(app)
    with app.store.write() as tx:
        tx.execute(text("UPDATE runs SET unchanged = unchanged + 3, state = 'failed' WHERE kind = 'backfill'"))
    assert told(watching) == added_up(app)
    with app.store.write() as tx:
        tx.execute(text("UPDATE runs SET unchanged = unchanged + 3, state = 'done' WHERE kind = 'backfill'"))
    assert told(watching) == added_up(app)
