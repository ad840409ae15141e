"""Checkpoint: it is shown as it was committed; who resets it is kept, and everything is read anew and nothing told."""

from __future__ import annotations

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from pipeline.audit import Operator, list_audits
from pipeline.checkpoint import reset_checkpoint, show_checkpoints
from pipeline.faults import Busy, Unknown
from pipeline.pause import pause
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.store import leases
from pipeline.wiring import App
from tests.pipeline.world import NAME, rows

ANN = Operator("ann", "a restore at the source")


def test_the_place_of_the_pulls_is_shown_with_the_run_that_moved_it(app: App):
    assert show_checkpoints(app, NAME) == []
    summary = pull(app, NAME)
    (one,) = show_checkpoints(app, NAME)
    assert (one["stream"], one["run"]) == ("pull", summary.run)
    assert (one["moved_at"] > "2026", bool(one["cursor"])) == (True, True)
    with pytest.raises(Unknown):
        show_checkpoints(app, "planhat-us")


def test_after_a_reset_everything_is_read_anew_and_the_ledger_is_told_nothing(app: App, crm: PlanhatSimulator):
    read = pull(app, NAME).read
    publish(app)
    pull(app, NAME)
    (before,), told = show_checkpoints(app, NAME), rows(app)
    pause(app, NAME, ANN)
    assert reset_checkpoint(app, NAME, ANN) is True
    assert show_checkpoints(app, NAME) == []
    again = pull(app, NAME)
    assert (again.read, again.events, rows(app)) == (read, 0, told)
    kept = list(list_audits(app))[-1]
    assert (kept["who"], kept["action"], kept["connection"]) == ("ann", "checkpoint reset", NAME)
    assert kept["reason"] == "a restore at the source"
    assert before["moved_at"] in kept["outcome"], "what was forgotten can still be seen"


def test_nobody_resets_it_under_whoever_reads(app: App):
    pull(app, NAME)
    with leases.hold(app.store, f"connection {NAME}"), pytest.raises(Busy):
        reset_checkpoint(app, NAME, ANN)
    assert len(show_checkpoints(app, NAME)) == 1
    assert list(list_audits(app)) == []


def test_where_the_pulls_have_not_begun_there_is_nothing_to_reset(app: App):
    assert reset_checkpoint(app, NAME, ANN) is False
    with pytest.raises(Unknown):
        reset_checkpoint(app, "planhat-us", ANN)
