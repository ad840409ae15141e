"""Schedule: due times as a pure function of a clock, and what is due in a store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text

from connectors.faults import RateLimited, Refused
from connectors.leadlex.simulated_switches import Switches
from connectors.leadlex.simulator import LeadlexSimulator
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import rate_limited
from ledger.port import LedgerUnavailable
from pipeline import schedule
from pipeline.audit import Operator
from pipeline.faults import Interrupted
from pipeline.pause import pause, resume
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.schedule import JITTER, LONGEST_JITTER, VERBS, Attempt, Due, next_start
from pipeline.status import status
from pipeline.store import connections, leases, runs
from pipeline.store.session import later, now
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.test_backfill_sources import world
from tests.pipeline.test_publish import Moody
from tests.pipeline.world import NAME

T = datetime(2026, 5, 1, tzinfo=UTC)
ANN = Operator("ann", "the CRM is being mended")
intervals = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=7))
histories = st.lists(st.booleans(), min_size=1, max_size=8)


def attempts(failed: list[bool]) -> list[Attempt]:
    return [Attempt(100 - place, T - place * timedelta(hours=1), one) for place, one in enumerate(failed)]


@given(intervals, intervals, histories, st.text())
def test_work_is_due_no_sooner_than_is_bearable_and_little_later_than_was_asked(every, least, failed, name):
    at = next_start(name, every, least, attempts(failed))
    asked = max(every, least)
    assert at - T >= least
    assert at - T <= asked + min(asked * JITTER, LONGEST_JITTER)
    if not failed[0]:
        assert at - T >= asked
    assert at == next_start(name, every, least, attempts(failed)), "everybody who asks is told the same"


def test_connections_that_were_pulled_together_are_not_pulled_together_again():
    every = timedelta(minutes=5)
    starts = sorted(next_start(f"c{n} pull", every, every, [Attempt(7, T, False)]) - T for n in range(1000))
    assert starts[0] >= every
    assert starts[-1] <= every * 1.1
    seconds = [sum(int(one.total_seconds()) == second for one in starts) for second in range(300, 330)]
    assert max(seconds) < 100, "a thousand of them come evenly over half a minute"


@given(intervals, st.lists(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3)), min_size=1, max_size=20))
def test_two_pulls_are_never_closer_than_their_interval_however_late_anybody_looks(every, delays):
    """A pull's interval is the least that is bearable; missed slots are made up for by one pull."""
    history = [Attempt(1, T, False)]
    for delay in delays:
        at = next_start("eu pull", every, every, history)
        started = at + delay
        assert started - history[0].started_at >= every
        history.insert(0, Attempt(history[0].run + 1, started, delay < timedelta(hours=1)))


def test_what_failed_again_and_again_is_tried_less_and_less_often():
    day, minute = timedelta(days=1), timedelta(minutes=1)

    def mean(failures: int) -> timedelta:
        tried = [next_start(f"{n}", day, minute, attempts([True] * failures)) - T for n in range(300)]
        return sum(tried, timedelta()) / len(tried)

    assert mean(1) < mean(3) < mean(5) <= timedelta(hours=1)


@given(intervals, intervals, histories, st.timedeltas(min_value=timedelta(days=-9), max_value=timedelta(days=9)))
def test_what_its_source_lets_wait_is_not_tried_before_and_not_later_for_it(every, least, failed, wait):
    usual = next_start("eu pull", every, least, past := attempts(failed))
    past[0] = past[0]._replace(resumes_at=T + wait)
    assert next_start("eu pull", every, least, past) == max(usual, T + wait)


def names(app: App) -> list[Due]:
    return schedule.due(app)


def age(app: App, kind: str, by: timedelta) -> None:
    """The latest run of a kind began so much earlier."""
    with app.store.write() as tx:
        tx.execute(
            text("UPDATE runs SET started_at = :at WHERE id = (SELECT max(id) FROM runs WHERE kind = :kind)"),
            {"at": later(now(tx), -by), "kind": kind},
        )


def test_a_new_connection_is_pulled_then_swept_and_reconciled_only_after_a_while(app: App):
    assert names(app) == [Due("pull", NAME)]
    pull(app, NAME)
    assert names(app) == [Due("sweep", NAME), Due("publish", "")]
    sweep(app, NAME)
    publish(app)
    assert names(app) == []
    with app.store.write() as tx:
        tx.execute(text("UPDATE runs SET started_at = '2020-01-01T00:00:00.000Z' WHERE kind = 'pull'"))
    pull(app, NAME)
    assert names(app) == [Due("reconcile", NAME)], "it has waited longest: since the first pull and an interval"


def test_the_verb_that_has_waited_longest_goes_first(app: App):
    pull(app, NAME)
    sweep(app, NAME)
    publish(app)
    age(app, "pull", timedelta(minutes=10))
    assert names(app) == [Due("pull", NAME)]
    age(app, "sweep", timedelta(days=2))
    assert names(app) == [Due("sweep", NAME)], "pulls that are always due do not starve it"


def test_nothing_is_started_beside_a_run_that_is_under_way(app: App):
    with leases.hold(app.store, f"connection {NAME}"):
        assert names(app) == []
        shown = status(app)["connections"][0]["next"]["pull"]
        assert shown == {"at": None, "why": "a run is under way"}
    assert names(app) == [Due("pull", NAME)]


@pytest.mark.parametrize("place", range(12))
def test_a_run_that_ends_while_somebody_looks_is_not_taken_for_one_that_died(app: App, place: int):
    """Wherever among the questions it ends: one that died is tried again long before its interval is over."""
    with app.store.write() as tx:
        row = connections.enrol(tx, NAME, "planhat")
        for verb in VERBS:
            runs.end(tx, runs.start(tx, verb, row.id, now(tx)), "done", now(tx))
        sweeping = runs.start(tx, "sweep", row.id, later(now(tx), -timedelta(hours=1)))
    with ExitStack() as stack:
        stack.enter_context(leases.hold(app.store, f"connection {NAME}"))
        asked = 0

        def end_it(*_: object) -> None:
            nonlocal asked
            asked += 1
            if asked == place:
                with app.store.write() as tx:
                    runs.end(tx, sweeping, "done", now(tx))
                stack.close()

        event.listen(app.store.engine, "after_cursor_execute", end_it)
        assert names(app) == []


def test_a_history_goes_back_as_far_as_runs_did_not_come_to_their_end(app: App):
    stories = {
        "fine": ["failed", "failed", "done"],
        "ill": ["done", "failed", "abandoned", "failed"],
        "alive": ["failed", "stopped", "running"],
        "always": ["failed"] * 12,
        "new": [],
    }
    with app.store.write() as tx:
        numbers = {name: connections.enrol(tx, name, "planhat").id for name in stories}
        for name, states in stories.items():
            for state in states:
                runs.end(tx, runs.start(tx, "pull", numbers[name], now(tx)), state, now(tx))
            runs.end(tx, runs.start(tx, "sweep", numbers[name], now(tx)), "done", now(tx))
        found = runs.histories(tx, ("pull", "sweep"), 6)
    told = {name: [past.state for past in found.get((number, "pull"), [])] for name, number in numbers.items()}
    assert told == {
        "fine": ["done"],
        "ill": ["failed", "abandoned", "failed"],
        "alive": ["running"],
        "always": ["failed"] * 6,
        "new": [],
    }
    assert [[past.state for past in found[number, "sweep"]] for number in numbers.values()] == [["done"]] * 5
    order = [past.id for past in found[numbers["always"], "pull"]]
    assert order == sorted(order, reverse=True)


def lookout(**changes: Any) -> schedule.Seen:
    """One connection that was pulled, swept and reconciled just now, and whatever is different."""
    row = connections.ConnectionRow(3, NAME, "planhat", "ok", None, None, None)
    histories = {(3, verb): [Attempt(7, T, False)] for verb in VERBS}
    seen = schedule.Seen(T.isoformat(), {NAME: row}, set(), set(), set(), histories, {3: T.isoformat()})
    return seen._replace(**changes)


def test_what_is_planned_follows_from_what_was_seen_and_the_settings_alone(app: App):
    chosen = app.settings.connection(NAME)

    def plan(**changes: Any) -> list[tuple[str, str]]:
        (plans,) = schedule.planned({NAME: chosen}, lookout(**changes)).values()
        return [(one.verb, one.why or ("due" if one.at is not None and one.at <= T else "later")) for one in plans]

    assert plan() == [("pull", "later"), ("sweep", "later"), ("reconcile", "later")]
    assert plan(rows={}) == [("pull", "due"), *[(verb, "waits for the first pull") for verb in VERBS[1:]]]
    assert plan(histories={}) == [("pull", "due"), ("sweep", "due"), ("reconcile", "later")]
    assert plan(histories={}, first_pulls={})[2] == ("reconcile", "waits for the first pull")
    assert plan(paused={3}, wanted={(3, "sweep")}) == [("pull", "paused"), ("sweep", "due"), ("reconcile", "paused")]
    assert {why for _, why in plan(held={f"connection {NAME}"}, wanted={(3, "pull")})} == {"a run is under way"}
    long_ago = {(3, "pull"): [Attempt(7, T - timedelta(days=1), False)]}
    assert plan(histories=long_ago)[0] == ("pull", "due")


def test_a_small_quota_stretches_the_interval(app: App, monkeypatch: pytest.MonkeyPatch):
    pull(app, NAME)
    sweep(app, NAME)
    publish(app)
    age(app, "pull", timedelta(hours=1))
    assert names(app) == [Due("pull", NAME)]
    options = type(app.settings.connection(NAME).options)
    monkeypatch.setattr(options, "least_interval", lambda _: timedelta(hours=2))
    assert names(app) == []


def test_a_day_of_the_smallest_leadlex_plan_is_enough_for_whatever_the_schedule_starts(tmp_path: Path, sqlite_url: str):
    """However often the settings want to pull: the tenant allows 100 calls a day, and counts them itself."""
    crm = LeadlexSimulator(seed=3, deals=60, switches=Switches(requests_per_day=100))
    begun = (crm.clock.now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    crm.clock.advance(begun - crm.clock.now)
    with world(
        tmp_path, sqlite_url, "leadlex", crm, plan="starter", requests_per_minute=1000, requests_per_day=80
    ) as app:
        chosen = app.settings.connection("eu")
        least = max(timedelta(minutes=1), chosen.options.least_interval())
        verbs = {"pull": (pull, timedelta(minutes=1)), "sweep": (sweep, chosen.sweep_every)}
        verbs["reconcile"] = (reconcile, chosen.reconcile_every)
        histories = {verb: [Attempt(0, begun - every, False)] for verb, (_, every) in verbs.items()}
        while True:
            starts = {
                verb: next_start(f"eu {verb}", max(every, least), least, histories[verb])
                for verb, (_, every) in verbs.items()
            }
            verb = min(starts, key=lambda one: starts[one])
            at = max(starts[verb], crm.clock.now)
            if at >= begun + timedelta(days=1):
                break
            crm.clock.advance(at - crm.clock.now)
            verbs[verb][0](app, "eu")
            histories[verb].insert(0, Attempt(histories[verb][0].run + 1, at, False))
    pulls = len(histories["pull"]) - 1
    assert (pulls >= 10, len(histories["sweep"]) - 1, len(histories["reconcile"]) - 1) == (True, 1, 1)
    assert len(crm.log) <= 80, "and a fifth is left to the customer's other integrations"
    assert {call.status for call in crm.log} == {200}


def test_a_source_that_refuses_us_is_left_alone_until_a_run_by_hand_succeeds(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    crm.switches.forbidden = True
    with pytest.raises(Refused):
        pull(app, NAME)
    assert Due("sweep", NAME) not in names(app)
    assert status(app)["connections"][0]["next"]["pull"] == {"at": None, "why": "refused"}
    crm.switches.forbidden = False
    pull(app, NAME)
    assert Due("sweep", NAME) in names(app)


def test_a_verb_that_its_source_lets_wait_is_not_begun_before_and_no_other_waits_with_it(
    app: App, crm: PlanhatSimulator
):
    pull(app, NAME)
    crm.faults.sometimes(1.0, rate_limited("800"))
    with pytest.raises(RateLimited):
        sweep(app, NAME)
    crm.faults.clear()
    began, upto = (timedelta(seconds=wait) for wait in (790, 801))
    age(app, "pull", timedelta(minutes=10))
    with app.store.read() as tx:
        (run,) = runs.latest(tx, "sweep", connections.all_of_them(tx)[0].id, 1)
    assert later(run["started_at"], began) < run["resumes_at"] < later(run["started_at"], upto)
    (shown,) = status(app)["connections"]
    assert shown["next"]["sweep"] == {"at": run["resumes_at"], "why": None}
    assert names(app) == [Due("pull", NAME), Due("publish", "")]
    age(app, "sweep", timedelta(hours=1))
    with app.store.write() as tx:
        tx.execute(text("UPDATE runs SET resumes_at = started_at WHERE kind = 'sweep'"))
    assert Due("sweep", NAME) in names(app), "it has failed, so is tried again long before its interval is over"


def test_a_paused_connection_is_left_alone_until_it_is_resumed(app: App, open_world: Callable[..., App]):
    pause(app, NAME, ANN)
    assert names(app) == []
    (shown,) = status(app)["connections"]
    assert (shown["state"], shown["paused"]["who"], shown["next"]["pull"]["why"]) == ("paused", "ann", "paused")
    pull(app, NAME)
    assert names(app) == [Due("publish", "")], "what was decided is still published"
    assert resume(app, NAME, ANN)
    assert Due("sweep", NAME) in names(app)
    assert not resume(app, NAME, ANN)


def test_a_ledger_that_stays_away_is_given_time(app: App):
    moody = app.ledger = Moody()
    pull(app, NAME)
    sweep(app, NAME)
    assert names(app) == [Due("publish", "")]
    moody.down, app.give_up_after_s = 10_000, 0.1
    for _ in range(5):
        with pytest.raises(LedgerUnavailable):
            publish(app)
    with app.store.write() as tx:
        tx.execute(text("UPDATE outbox SET due_at = '2020-01-01T00:00:00.000Z'"))
        number = runs.latest(tx, "publish", None, 1)[0]["id"]
        share = schedule._share(f"publish {number}")
    age(app, "publish", timedelta(seconds=300 * share - 2))
    assert names(app) == []
    age(app, "publish", timedelta(seconds=301))
    assert names(app) == [Due("publish", "")]


def test_while_somebody_publishes_nobody_looks_through_the_outbox(app: App):
    """It is as long as the ledger is behind, and whoever looks does so every second."""
    pull(app, NAME)
    sweep(app, NAME)
    asked: list[str] = []
    event.listen(app.store.engine, "before_cursor_execute", lambda *seen: asked.append(seen[2]))
    with leases.hold(app.store, "publish"):
        assert names(app) == []
    assert not [one for one in asked if "outbox" in one]
    assert names(app) == [Due("publish", "")]


def test_a_publisher_that_was_told_to_end_says_nothing_of_the_ledger(app: App, crm: PlanhatSimulator):
    """A signal raises what no verb expects; the run was interrupted, and the next publisher begins at once."""
    pull(app, NAME)
    sweep(app, NAME)

    def told_to_end(_: object) -> None:
        raise SystemExit(-253)

    app.ledger = Moody()
    with pytest.raises(SystemExit):
        publish(app, progress=told_to_end)
    with app.store.read() as tx:
        (run,) = runs.latest(tx, "publish", None, 1)
    assert (run["state"], run["reason"]) == ("failed", str(Interrupted()))
    crm.edit(crm.ids()[0], total=5)
    pull(app, NAME)
    assert Due("publish", "") in names(app)


def test_when_work_is_due_next_can_be_seen(app: App):
    pull(app, NAME)
    (shown,) = status(app)["connections"]
    assert set(shown["next"]) == {"pull", "sweep", "reconcile"}
    with app.store.read() as tx:
        row = connections.find(tx, NAME)
        assert row is not None
        began = runs.first_started(tx, "pull")[row.id]
        assert later(began, timedelta(minutes=5)) <= shown["next"]["pull"]["at"] <= later(began, timedelta(minutes=5.5))
        assert shown["next"]["sweep"]["at"] <= now(tx), "overdue is now"
        assert shown["next"]["reconcile"]["at"] >= later(began, timedelta(hours=24))
