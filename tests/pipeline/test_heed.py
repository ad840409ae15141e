"""Heed: what a delivery hints at is looked at once, until the source shows it; nothing but the source is believed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
from sqlalchemy import text

from connectors.faults import Refused, Unavailable
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import Mishap, html, refused
from pipeline import heed as heeding
from pipeline import schedule
from pipeline.faults import Stopped
from pipeline.heed import heed, needing
from pipeline.listen import listen
from pipeline.pull import pull
from pipeline.schedule import Due
from pipeline.status import status
from pipeline.store import hints, inbox, leases
from pipeline.store.session import now
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.delivering import (
    WEBHOOK,
    automated,
    deliver,
    gets,
    hinted,
    receiving,
    saying,
    states,
    time_passes,
)
from tests.pipeline.world import NAME, amounts, history, rows


@pytest.fixture
def app(open_world: Callable[..., App], crm: PlanhatSimulator) -> App:
    app = open_world(crm, connection=WEBHOOK)
    pull(app, NAME)
    crm.log.clear()
    return app


def test_what_is_written_arrives_without_a_pull(app: App, crm: PlanhatSimulator):
    sender = automated(app, crm)
    one, new = crm.ids()[0], crm.create(name="New", total=5, stage="Negotiation", currency="USD")
    crm.edit(one, total=4321)
    crm.settle()
    assert sender.statuses == [202, 202]
    summary = heed(app, NAME)
    assert summary is not None
    assert (summary.read, summary.applied) == (2, 2)
    assert (amounts(app, one)[-1], amounts(app, new)) == (432_100, [500])
    assert (hinted(app), states(app)) == ([], {"heeded": 2})
    assert heed(app, NAME) is None


def test_many_deliveries_about_one_deal_cost_one_request(app: App, crm: PlanhatSimulator):
    automated(app, crm)
    one = crm.ids()[0]
    for total in range(30):
        crm.edit(one, total=total)
    crm.settle()
    heed(app, NAME)
    assert gets(crm, one) == 1
    assert amounts(app, one)[-1] == 2_900


def test_what_a_pull_has_seen_since_costs_no_request(app: App, crm: PlanhatSimulator):
    automated(app, crm)
    one = crm.ids()[0]
    crm.edit(one, total=77)
    crm.settle()
    listen(app, NAME)
    assert hinted(app) == [one]
    pull(app, NAME)
    assert heed(app, NAME) is None
    assert (gets(crm, one), hinted(app)) == (0, [])


def test_a_source_that_lags_behind_its_deliveries_is_asked_until_it_shows(app: App, crm: PlanhatSimulator):
    automated(app, crm)
    one = crm.ids()[0]
    crm.switches.late_commit_s = 60
    crm.edit(one, total=99)
    crm.settle()
    heed(app, NAME)
    assert (gets(crm, one), hinted(app)) == (1, [one])
    assert heed(app, NAME) is None, "not at once"
    time_passes(app)
    heed(app, NAME)
    assert (gets(crm, one), hinted(app)) == (2, [one])
    crm.clock.advance(61)
    time_passes(app)
    heed(app, NAME)
    assert (amounts(app, one)[-1], hinted(app)) == (9_900, [])


def test_a_new_deal_that_does_not_show_yet_is_no_deleted_one(app: App, crm: PlanhatSimulator):
    automated(app, crm)
    crm.switches.late_commit_s = 60
    new = crm.create(name="New", total=5, stage="Negotiation", currency="USD")
    crm.settle()
    heed(app, NAME)
    assert (history(app, new), hinted(app)) == ([], [new])
    crm.clock.advance(61)
    time_passes(app)
    heed(app, NAME)
    assert (amounts(app, new), hinted(app)) == ([500], [])


def test_an_announced_delete_is_believed_when_the_deal_cannot_be_had_any_more(app: App, crm: PlanhatSimulator):
    one = crm.ids()[0]
    deliver(app, saying(one, "delete"))
    heed(app, NAME)
    assert [kind for kind, _, _ in history(app, one)] == ["upsert"], "the source shows it still"
    assert hinted(app) == [one]
    crm.delete(one)
    time_passes(app)
    heed(app, NAME)
    assert [kind for kind, _, _ in history(app, one)] == ["upsert", "delete"]
    assert (amounts(app, one)[-1], hinted(app)) == (0, [])


def test_a_delivery_that_lies_about_a_delete_deletes_nothing(app: App, crm: PlanhatSimulator):
    one = crm.ids()[0]
    deliver(app, saying(one, "delete"))
    for _ in range(3):
        heed(app, NAME)
        time_passes(app)
    assert [kind for kind, _, _ in history(app, one)] == ["upsert"]


def test_a_deal_hidden_from_us_is_not_deleted_although_its_end_was_announced(app: App, crm: PlanhatSimulator):
    one = crm.ids()[0]
    crm.switches.hidden = frozenset({one})
    deliver(app, saying(one, "delete"))
    heed(app, NAME)
    assert [kind for kind, _, _ in history(app, one)] == ["upsert"]
    assert hinted(app) == [one]


def test_a_deal_deleted_restored_and_deleted_again_is_gone_although_both_deliveries_look_alike(
    app: App, crm: PlanhatSimulator
):
    sender = automated(app, crm)
    one = crm.ids()[0]
    for verb in (crm.delete, crm.restore, crm.delete):
        verb(one)
        crm.settle()
        heed(app, NAME)
        time_passes(app)
        pull(app, NAME)
    deliver(app, saying(one))
    heed(app, NAME)
    assert 200 in sender.statuses
    assert history(app, one)[-1][0] == "delete"


@pytest.mark.parametrize("op", ["update", "delete"])
def test_what_never_shows_is_given_up_after_the_read_lag_limit_and_said(
    open_world: Callable[..., App], crm: PlanhatSimulator, op: str
):
    app = open_world(crm, connection=WEBHOOK, extra='read_lag_limit = "0s"')
    pull(app, NAME)
    gone, kept = "65f0c0ffee00dea1ffffffff", crm.ids()[0]
    deliver(app, saying(gone if op == "update" else kept, op))
    summary = heed(app, NAME)
    assert summary is not None
    assert "does not show" in summary.notes[0]
    assert (hinted(app), len(history(app, kept))) == ([], 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b"{'id': 1}",
        b'{"model":"Deal"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"model":"Deal","op":"update","id":"a","id":"b"}',
        b'{"model":"Deal","op":"update","id":"a","x":{"y":1,"\\u0079":2}}',
        b'{"model":"Deal","op":"update","id":"a","x":NaN}',
        b'{"model":"Deal","op":"update","id":7}',
        b'{"model":"Deal","op":"update","id":"a\\u0000b"}',
        b'{"model":"Deal","op":"update","id":"' + b"x" * 10_000 + b'"}',
    ],
    ids=range(16),
)
def test_a_proven_delivery_of_nonsense_is_kept_and_counted_and_asks_for_a_pull(
    app: App, crm: PlanhatSimulator, body: bytes
):
    one = crm.ids()[0]
    crm.edit(one, total=12)
    assert deliver(app, body) == 202
    assert heed(app, NAME) is None, "a pull for nonsense is not made at once"
    assert (states(app), hinted(app)) == ({"unreadable": 1}, [""])
    time_passes(app)
    heed(app, NAME)
    assert (amounts(app, one)[-1], hinted(app)) == (1_200, [])


def test_nonsense_holds_back_no_other_delivery(app: App, crm: PlanhatSimulator):
    one = crm.ids()[0]
    crm.edit(one, total=12)
    deliver(app, b"{")
    deliver(app, saying(one))
    heed(app, NAME)
    assert amounts(app, one)[-1] == 1_200


def test_an_event_of_no_interest_is_acknowledged_and_counted(app: App, crm: PlanhatSimulator):
    before = len(crm.log)
    assert deliver(app, '{"model":"Company","op":"update","id":"c1"}') == 202
    assert heed(app, NAME) is None
    assert (states(app), hinted(app), len(crm.log)) == ({"unknown": 1}, [], before)
    with app.store.read() as tx:
        assert list(inbox.tally(tx).items()) == [((1, "unknown"), 1)]


def test_a_delivery_that_names_no_deal_asks_for_a_pull(app: App, crm: PlanhatSimulator):
    one = crm.ids()[0]
    crm.edit(one, total=12)
    deliver(app, saying("undefined"))
    heed(app, NAME)
    assert amounts(app, one)[-1] == 1_200


def test_a_burst_is_pulled_instead_of_fetched_deal_by_deal(app: App, crm: PlanhatSimulator):
    automated(app, crm)
    pull(app, NAME)
    changed = crm.ids()[:30]
    for one in changed:
        crm.edit(one, total=3)
    crm.settle()
    before = len(crm.log)
    heed(app, NAME)
    assert all(amounts(app, one)[-1] == 300 for one in changed)
    assert len(crm.log) - before < len(changed) / 2
    assert hinted(app) == []


def test_while_somebody_pulls_the_deals_are_fetched_all_the_same(app: App, crm: PlanhatSimulator):
    automated(app, crm)
    changed = crm.ids()[:25]
    for one in changed:
        crm.edit(one, total=3)
    crm.settle()
    with leases.hold(app.store, f"connection {NAME}"):
        heed(app, NAME)
    assert all(amounts(app, one)[-1] == 300 for one in changed)


def test_a_source_that_refuses_us_is_left_alone_and_its_hints_are_kept(app: App, crm: PlanhatSimulator):
    one = crm.ids()[0]
    crm.edit(one, total=12)
    deliver(app, saying(one))
    crm.switches.host = "elsewhere"  # the token is unknown here
    with pytest.raises(Refused):
        heed(app, NAME)
    time_passes(app)
    before = len(crm.log)
    assert heed(app, NAME) is None
    assert (len(crm.log), hinted(app)) == (before, [one])
    crm.switches.host = None
    pull(app, NAME)
    time_passes(app)
    deliver(app, saying(one))
    heed(app, NAME)
    assert (amounts(app, one)[-1], hinted(app)) == (1_200, [])


def test_what_is_left_after_many_rounds_was_never_taken_in_hand_and_is_due_at_once(
    app: App, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    """What is taken and not looked at waits for two minutes, and is suspected of having crashed whoever looked."""
    monkeypatch.setattr(heeding, "RECORDS", 2)
    monkeypatch.setattr(heeding, "ROUNDS", 3)
    for one in crm.ids()[:10]:
        deliver(app, saying(one))
    with leases.hold(app.store, f"connection {NAME}"):
        heed(app, NAME)
        with app.store.read() as tx:
            left = tx.execute(text("SELECT crashes FROM hints")).scalars().all()
            assert (left, hints.number_due(tx, 1, now(tx))) == ([0] * 4, 4)
        heed(app, NAME)
    assert hinted(app) == []


def said(app: App) -> tuple[str, str | None, str]:
    """What the status says of the connection: its state, why, and when it was last read."""
    (one,) = status(app)["connections"]
    return one["state"], one["reason"], one["last_success"]


def test_a_deal_that_is_looked_at_does_not_hide_that_pulls_were_stopped(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    app = open_world(crm, connection=WEBHOOK)
    for _ in range(200):
        crm.create(name="New", total=5, stage="Negotiation", currency="USD")
    pull(app, NAME)
    for one in crm.ids()[:100]:
        crm.edit(one, stage="Odd")
    with pytest.raises(Stopped):
        sweep(app, NAME)
    before = said(app)
    deliver(app, saying(crm.ids()[-1]))
    assert heed(app, NAME) is not None
    assert said(app) == before
    assert before[0] == "failing"


def test_a_source_that_did_not_answer_when_a_deal_was_looked_at_is_there_again_once_it_does(
    app: App, crm: PlanhatSimulator
):
    before = said(app)
    deliver(app, saying(crm.ids()[0]))
    there, app.transports = app.transports, {NAME: Away()}
    with pytest.raises(Unavailable):
        heed(app, NAME)
    assert said(app)[0] == "failing"
    app.transports = there
    time_passes(app)
    heed(app, NAME)
    assert said(app) == before


class Away(httpx.BaseTransport):
    """Nobody answers; `asked` are the paths."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.add(request.url.path)
        raise httpx.ConnectError("refused", request=request)


def test_during_an_outage_a_hint_waits_and_is_not_taken_for_shown_late(app: App, crm: PlanhatSimulator):
    one = crm.ids()[0]
    crm.edit(one, total=12)
    deliver(app, saying(one))
    there, app.transports = app.transports, {NAME: Away()}
    with pytest.raises(Unavailable):
        heed(app, NAME)
    assert heed(app, NAME) is None, "not at once"
    with app.store.read() as tx:
        assert tx.execute(text("SELECT due_at FROM hints")).scalar_one() > now(tx)
        assert tx.execute(text("SELECT behind_since FROM hints")).scalar_one() is None
    app.transports = there
    time_passes(app)
    heed(app, NAME)
    assert (amounts(app, one)[-1], hinted(app)) == (1_200, [])


class Interrupting(httpx.BaseTransport):
    """Whoever waits for this answer is told to stop meanwhile."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt


def test_who_is_told_to_stop_gives_back_what_was_taken_and_suspects_at_most_the_deal_in_hand(
    app: App, crm: PlanhatSimulator
):
    changed = crm.ids()[:4]
    for one in changed:
        crm.edit(one, total=12)
        deliver(app, saying(one))
    there, app.transports = app.transports, {NAME: Interrupting()}
    with pytest.raises(KeyboardInterrupt):
        heed(app, NAME)
    with app.store.read() as tx:
        assert tx.execute(text("SELECT crashes FROM hints ORDER BY crashes")).scalars().all() == [0, 0, 0, 1]
        assert hints.number_due(tx, 1, now(tx)) == 4
    app.transports = there
    heed(app, NAME)
    assert (hinted(app), [amounts(app, one)[-1] for one in changed]) == ([], [1_200] * 4)


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_deal_that_the_source_never_answers_for_holds_up_no_other(app: App, crm: PlanhatSimulator, place: int):
    changed = crm.ids()[:4]
    for one in changed:
        crm.edit(one, total=12)
        deliver(app, saying(one))
    crm.faults.sometimes(1.0, refused(500), where=lambda request: request.path.endswith(changed[place]))
    summary = heed(app, NAME)
    assert summary is not None
    assert any(changed[place] in note for note in summary.notes)
    assert hinted(app) == [changed[place]]
    assert [amounts(app, one)[-1] for one in changed if one not in hinted(app)] == [1_200] * 3


@pytest.mark.parametrize("mishap", [refused(500), html(200)])
def test_a_deal_that_cannot_be_had_is_given_up_once_a_pull_has_read_what_changed_since(
    open_world: Callable[..., App], crm: PlanhatSimulator, mishap: Mishap
):
    app = open_world(crm, connection=WEBHOOK, extra='read_lag_limit = "0s"')
    pull(app, NAME)
    one = crm.ids()[0]
    crm.edit(one, total=12)
    deliver(app, saying(one, updated_at="2099-01-01T00:00:00.000Z"))  # which no pull will show
    crm.faults.sometimes(1.0, mishap, where=lambda request: request.path.endswith(one))
    for _ in range(3):
        with suppress(Unavailable):
            heed(app, NAME)
        assert hinted(app) == [one]
        time_passes(app)
    pull(app, NAME)
    with suppress(Unavailable):
        heed(app, NAME)
    assert (hinted(app), amounts(app, one)[-1]) == ([], 1_200)


def test_a_source_that_does_not_answer_twice_in_a_row_is_left_alone(app: App, crm: PlanhatSimulator):
    changed = crm.ids()[:4]
    for one in changed:
        crm.edit(one, total=12)
        deliver(app, saying(one))
    away = Away()
    app.transports = {NAME: away}
    with pytest.raises(Unavailable):
        heed(app, NAME)
    assert hinted(app) == sorted(changed)
    assert len(away.asked) == 2


def test_a_hint_that_comes_while_its_deal_is_looked_at_is_looked_at_again(app: App, crm: PlanhatSimulator):
    one = crm.ids()[0]
    deliver(app, saying(one))
    listen(app, NAME)
    with app.store.write() as tx:
        [taken] = hints.take(tx, 1, now(tx), 10, pulls=False)
    deliver(app, saying(one, updated_at="2026-01-01T00:00:00.000Z"))
    listen(app, NAME)
    with app.store.write() as tx:
        hints.settle(tx, 1, [taken])
        hints.put_off(tx, 1, taken, "2999-01-01T00:00:00.000Z", behind_since=None)
    with app.store.read() as tx:
        assert hints.number_due(tx, 1, now(tx)) == 1


def test_of_several_hints_the_newest_version_and_any_delete_are_remembered(app: App):
    for op, version in (
        ("update", "2026-05-04T09:12:31.000Z"),
        ("delete", "undefined"),
        ("update", "2026-01-01T00:00:00Z"),
    ):
        deliver(app, saying("d", op, version))
        listen(app, NAME)
    with app.store.write() as tx:
        [taken] = hints.take(tx, 1, now(tx), 10, pulls=False)
    assert (taken.version, taken.deleted) == ("2026-05-04T09:12:31.000Z", True)


def test_several_processes_heed_one_connection_and_look_at_each_deal_once(app: App, crm: PlanhatSimulator):
    automated(app, crm)
    changed = crm.ids()[:18]
    for one in changed:
        crm.edit(one, total=3)
    crm.settle()
    before = {one: gets(crm, one) for one in changed}
    faults: list[BaseException] = []

    def work() -> None:
        try:
            heed(app, NAME)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert all(amounts(app, one)[-1] == 300 for one in changed)
    assert {one: gets(crm, one) - 1 for one in changed} == before
    assert (hinted(app), states(app)) == ([], {"heeded": 18})


def test_the_schedule_rings_for_deliveries_that_nobody_rang_for(app: App, crm: PlanhatSimulator):
    one = crm.ids()[0]
    assert Due("fetch", NAME) not in schedule.due(app)
    deliver(app, saying(one))
    assert Due("fetch", NAME) in schedule.due(app)
    assert needing(app) == [NAME]
    heed(app, NAME)
    assert Due("fetch", NAME) not in schedule.due(app)
    assert needing(app) == []


def test_old_deliveries_are_forgotten_once_they_are_settled(app: App, crm: PlanhatSimulator):
    for number in range(4):
        deliver(app, saying(crm.ids()[number]))
    heed(app, NAME)
    deliver(app, saying(crm.ids()[5]))
    with app.store.write() as tx:
        tx.execute(text("UPDATE inbox SET received_at = '2000-01-01T00:00:00.000Z'"))
    deliver(app, saying(crm.ids()[6]))
    heed_free = states(app)
    assert heed_free == {"heeded": 4, "waiting": 2}
    with app.store.write() as tx:
        assert inbox.forget(tx, limit=3) == 3
        assert inbox.forget(tx) == 1
        assert inbox.forget(tx) == 0
    assert states(app) == {"waiting": 2}


def test_a_wrong_secret_puts_nothing_into_the_inbox(app: App, crm: PlanhatSimulator):
    post = receiving(app)
    sender = crm.automate(post, headers=lambda: {"X-Planhat-Secret": "guessed"})
    crm.edit(crm.ids()[0], total=1)
    crm.settle()
    assert (sender.statuses, states(app), rows(app)["events"]) == ([401], {}, len(crm.ids()))
