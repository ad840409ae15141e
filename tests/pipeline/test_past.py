"""The past on both databases: runs, reconciled months, backfills and what people did, the newest first."""

from __future__ import annotations

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from deals.identity import digest
from pipeline.audit import Operator, latest_audits
from pipeline.backfill import begin, cancel
from pipeline.faults import Unknown
from pipeline.past import differing, latest_backfills, list_runs, list_windows
from pipeline.pause import pause, resume
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.redrive import list_parked, parked_bytes
from pipeline.store import parking
from pipeline.wiring import App
from tests.pipeline.reconciling import tamper
from tests.pipeline.world import NAME

ANN = Operator("ann", "a test")


def test_runs_are_told_the_newest_first_a_page_at_a_time(app: App):
    pull(app, NAME)
    publish(app)
    pull(app, NAME)
    found = list_runs(app)
    assert [(run["kind"], run["connection"], run["state"]) for run in found] == [
        ("pull", NAME, "done"), ("publish", None, "done"), ("pull", NAME, "done"),
    ]  # fmt: skip
    assert (found[2]["read"], found[2]["applied"], found[1]["published"]) == (50, 40, 40)
    first = list_runs(app, limit=2)
    assert first + list_runs(app, limit=2, before=first[-1]["run"]) == found
    assert list_runs(app, connection=NAME) == [found[0], found[2]]
    assert list_runs(app, kind="publish") == [found[1]]
    with pytest.raises(Unknown):
        list_runs(app, connection="planhat-us")


def test_the_months_of_the_latest_reconcile_are_told_and_where_earlier_ones_failed(app: App, crm: PlanhatSimulator):
    assert list_windows(app, NAME)["windows"] == []
    pull(app, NAME)
    publish(app)
    first = reconcile(app, NAME)
    found = list_windows(app, NAME)
    assert [one["month"] for one in found["windows"]] == [window.month or None for window in first.windows]
    one, source = found["windows"][0], first.windows[0].tallies["source"]
    assert one["source"] == {"count": source.count, "sums": source.sums}
    assert (one["ok"], one["differing"], one["pending"], one["delta_cents"]) == (True, 0, 0, 0)
    assert (found["verified_through"], differing(app)) == (first.verified_through, {})
    before = tamper(app, crm.ids()[0], amount_cents=1)
    worse = reconcile(app, NAME, repair=True)
    (failed,) = (one for one in list_windows(app, NAME)["windows"] if not one["ok"])
    assert (failed["differing"], failed["delta_cents"], worse.delta_cents) == (1, 1 - before, 1 - before)
    assert (list_windows(app, NAME)["failed_before"], differing(app)) == ([], {NAME: 1})
    publish(app)
    reconcile(app, NAME)
    found = list_windows(app, NAME)
    assert all(one["ok"] for one in found["windows"])
    assert (found["failed_before"], differing(app)) == ([failed], {})


def test_what_people_did_and_their_backfills_are_told_the_newest_first(app: App):
    first = begin(app, NAME, (None, "2024-06-01T00:00:00.000Z"), "planned", operator=ANN)
    second = begin(app, NAME, ("2024-06-01T00:00:00.000Z", None), "running", operator=ANN)
    cancel(app, first, operator=ANN)
    pause(app, NAME, ANN)
    resume(app, NAME, Operator("bob"))
    assert [one.id for one in latest_backfills(app)] == [second, first]
    assert [one.id for one in latest_backfills(app, before=second, connection=NAME)] == [first]
    assert [one.id for one in latest_backfills(app, states=("running", "paused"))] == [second]
    acts = latest_audits(app)
    assert [(one["who"], one["action"], one["target"]) for one in acts[:3]] == [
        ("bob", "resume", None), ("ann", "pause", None), ("ann", "backfill cancel", f"backfill {first}"),
    ]  # fmt: skip
    assert acts[0]["connection"] == NAME
    assert acts[2:] == latest_audits(app, connection=NAME, before=acts[1]["id"], limit=9)


def test_the_bytes_of_a_parked_record_are_given_as_they_came(app: App, crm: PlanhatSimulator):
    crm.edit(crm.ids()[0], stage="Unheard Öf")
    pull(app, NAME)
    (entry,) = list_parked(app)
    raw = parked_bytes(app, entry["id"])
    assert '"stage":"Unheard Öf"'.encode() in raw
    with app.store.read() as tx:
        kept = parking.get(tx, entry["id"])
    assert kept is not None
    assert kept.row.raw_digest == digest(raw), "not a byte more or less"
    with pytest.raises(Unknown):
        parked_bytes(app, 99)
