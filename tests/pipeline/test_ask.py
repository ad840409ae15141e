"""Ask: what a person wants now is due at once, first, once, and whatever stands in the schedule's way."""

from __future__ import annotations

import pytest

from connectors.faults import Refused
from connectors.planhat.simulator import PlanhatSimulator
from pipeline import schedule
from pipeline.ask import ask_backfill, ask_on, ask_run
from pipeline.audit import Operator, list_audits
from pipeline.backfill import cancel
from pipeline.backfill_work import work_on
from pipeline.faults import Busy, Unknown
from pipeline.pause import pause
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.schedule import Due
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.world import NAME, waiting

ANN = Operator("ann", "finance asks")


@pytest.fixture
def quiet(app: App) -> App:
    """Everything was just done."""
    pull(app, NAME)
    sweep(app, NAME)
    publish(app)
    assert schedule.due(app) == []
    return app


@pytest.mark.parametrize(("verb", "does"), [("pull", pull), ("sweep", sweep), ("reconcile", reconcile)])
def test_what_is_asked_for_is_due_until_it_has_begun_once(quiet: App, verb: str, does: object):
    ask_run(quiet, verb, NAME, ANN)
    ask_run(quiet, verb, NAME, ANN)
    assert schedule.due(quiet) == [Due(verb, NAME)]
    assert callable(does)
    does(quiet, NAME)
    assert schedule.due(quiet) == []
    kept = [(one["who"], one["action"], one["reason"], one["outcome"]) for one in list_audits(quiet)]
    assert kept == [("ann", verb, "finance asks", "asked for")] * 2


def test_another_verb_is_no_answer(quiet: App):
    ask_run(quiet, "sweep", NAME, ANN)
    pull(quiet, NAME)
    assert schedule.due(quiet) == [Due("sweep", NAME)]


def test_what_is_asked_for_goes_before_what_has_waited_longest(app: App):
    ask_run(app, "reconcile", NAME, ANN)
    assert schedule.due(app) == [Due("reconcile", NAME)], "although it was never pulled"


def test_what_is_asked_for_is_a_run_by_hand_of_a_paused_and_of_a_refused_connection(quiet: App, crm: PlanhatSimulator):
    pause(quiet, NAME, ANN)
    ask_run(quiet, "pull", NAME, ANN)
    assert schedule.due(quiet) == [Due("pull", NAME)]
    crm.switches.forbidden = True
    with pytest.raises(Refused):
        pull(quiet, NAME)
    assert schedule.due(quiet) == [], "it was tried, and is not tried for ever"
    ask_run(quiet, "pull", NAME, ANN)
    assert schedule.due(quiet) == [Due("pull", NAME)]


def test_only_what_connections_do_can_be_asked_for(app: App):
    with pytest.raises(Unknown, match="cannot be asked to 'publish'"):
        ask_run(app, "publish", NAME, ANN)
    with pytest.raises(Unknown, match="no connection"):
        ask_run(app, "pull", "planhat-us", ANN)
    assert list(list_audits(app)) == []


def test_a_backfill_that_is_asked_for_is_left_to_whoever_works_on_backfills(app: App):
    stands = ask_backfill(app, NAME, (None, None), ANN)
    assert (stands.state, stands.total) == ("running", 0)
    assert waiting(app) == [NAME]
    with pytest.raises(Busy):
        ask_backfill(app, NAME, (None, None), ANN)
    cancel(app, stands.id, operator=ANN)
    assert waiting(app) == []
    assert ask_on(app, stands.id, "resume", ANN).state == "running"
    while work_on(app, NAME):
        pass
    assert ask_on(app, stands.id, "retry", ANN).state == "done"
