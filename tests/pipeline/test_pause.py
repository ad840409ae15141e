"""Pause: nothing of a paused connection is read that no person asks for by hand, whoever might think of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from pipeline import schedule
from pipeline.audit import Operator, list_audits
from pipeline.backfill import begin
from pipeline.backfill import resume as resume_backfill
from pipeline.backfill_work import work_on
from pipeline.heed import heed, needing
from pipeline.pause import pause, resume
from pipeline.pull import pull
from pipeline.schedule import Due
from pipeline.wiring import App
from tests.pipeline.delivering import WEBHOOK, deliver, hinted, saying
from tests.pipeline.world import NAME, amounts

ANN, BOB = Operator("ann", "the CRM is being mended"), Operator("bob")


@pytest.fixture
def app(open_world: Callable[..., App], crm: PlanhatSimulator) -> App:
    """A connection that was pulled and then paused."""
    app = open_world(crm, connection=WEBHOOK)
    pull(app, NAME)
    pause(app, NAME, ANN)
    crm.log.clear()
    return app


def test_a_webhook_is_kept_and_its_deal_asked_for_only_once_the_connection_goes_on(app: App, crm: PlanhatSimulator):
    one = crm.ids()[0]
    crm.edit(one, total=12)
    assert deliver(app, saying(one)) == 202
    assert heed(app, NAME) is None
    assert (hinted(app), needing(app), crm.log) == ([one], [], [])
    assert [work for work in schedule.due(app) if work.verb != "publish"] == []
    resume(app, NAME, ANN)
    assert Due("fetch", NAME) in schedule.due(app)
    heed(app, NAME)
    assert (hinted(app), amounts(app, one)[-1]) == ([], 1_200)


def test_a_backfill_stands_still_for_the_workers_and_is_done_by_hand(app: App, crm: PlanhatSimulator):
    number = begin(app, NAME, (None, None), "running")
    assert Due("backfill", NAME) not in schedule.due(app)
    assert not work_on(app, NAME)
    assert crm.log == []
    assert resume_backfill(app, number).standing.state == "done"


def test_who_pauses_what_is_paused_changes_nothing_of_since_when_nor_of_why_without_a_reason_of_their_own(app: App):
    first = pause(app, NAME, BOB)
    assert (first.who, first.reason) == (ANN.who, ANN.why)
    again = pause(app, NAME, Operator("cy", "an audit"))
    assert (again.since, again.who, again.reason) == (first.since, "cy", "an audit")
    assert [resume(app, NAME, BOB), resume(app, NAME, BOB)] == [True, False]
    assert [(one["who"], one["action"], one["outcome"]) for one in list_audits(app)] == [
        ("ann", "pause", "paused"),
        ("bob", "pause", "was paused"),
        ("cy", "pause", "was paused"),
        ("bob", "resume", "resumed"),
        ("bob", "resume", "was not paused"),
    ]
