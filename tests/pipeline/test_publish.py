"""Publish: every event once, in order for each deal, and no deal waits for another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import event, select, text

from connectors.planhat.simulator import PlanhatSimulator
from deals.events import Event
from ledger.memory import MemoryLedger
from ledger.port import Answer, LedgerDeal, LedgerRefused, LedgerUnavailable, Receipt, Rejected, Unsettled
from pipeline.faults import Stopped
from pipeline.invariants import doctor
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.redrive import list_parked, retry_parked
from pipeline.status import status
from pipeline.store import runs
from pipeline.store.outbox import BEGINNING, WHENEVER
from pipeline.store.outbox import heads as outbox_heads
from pipeline.store.session import now
from pipeline.store.tables import outbox
from pipeline.wiring import App
from tests.pipeline.world import NAME, ledger_states, projected, rows


class Moody(MemoryLedger):
    """A ledger that answers as its script says before it behaves; it keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(now=lambda: "2026-05-01T10:00:00.000Z")
        self.sent: list[Event] = []
        self.refuse: set[str] = set()
        self.lose_answers = 0
        self.down = 0
        self.budget: int | None = None
        self.calls = 0

    def append(self, events: Sequence[Event]) -> list[Answer]:
        if self.down:
            self.down -= 1
            raise LedgerUnavailable
        self.calls += 1
        return [self._one(event) for event in events]

    def _one(self, event: Event) -> Answer:
        if self.budget is not None:
            if not self.budget:
                return Unsettled("not tried: the key's requests for this minute are used up", 0.2, tried=False)
            self.budget -= 1
        self.sent.append(event)
        if event.external_id in self.refuse:
            return Rejected("invalid_request", "state.amount_cents is not an integer")
        (answer,) = super().append([event])
        if self.lose_answers:
            self.lose_answers -= 1
            return Unsettled("the connection was reset")
        return answer


@pytest.fixture
def moody(app: App) -> Moody:
    app.ledger = Moody()
    return app.ledger


@pytest.fixture
def elsewhere(app: App, moody: Moody) -> Moody:
    """The ledger is not in the store's database."""
    app.settings = app.settings.model_copy(
        update={"ledger": app.settings.ledger.model_copy(update={"kind": "openquota"})}
    )
    return moody


def attempts(app: App) -> list[int]:
    with app.store.read() as tx:
        return list(tx.execute(select(outbox.c.attempts)).scalars())


def test_everything_reaches_the_ledger_once(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    summary = publish(app)
    assert summary.published == len(crm.ids())
    assert ledger_states(app) == projected(app)
    assert publish(app).published == 0
    assert rows(app) == {"events": len(crm.ids()), "outbox": 0, "receipts": len(crm.ids())}


def test_events_of_one_deal_are_sent_in_order(app: App, crm: PlanhatSimulator, moody: Moody):
    one = crm.create(name="One", stage="Negotiation", total=1, currency="USD")
    pull(app, NAME)
    for total in range(2, 7):
        crm.edit(one, total=total)
        pull(app, NAME)
    publish(app)
    sent = [event for event in moody.sent if event.external_id.endswith(one)]
    assert [event.dedup_key.split(":")[2] for event in sent] == ["1", "2", "3", "4", "5", "6"]


def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_bytes(app: App, crm: PlanhatSimulator, moody: Moody):
    pull(app, NAME)
    moody.lose_answers = 3
    summary = publish(app)
    assert summary.published == len(crm.ids())
    assert (summary.applied, summary.unchanged) == (len(crm.ids()) - 3, 3)
    assert len(moody.sent) == len(crm.ids()) + 3
    assert len({(event.dedup_key, event.state) for event in moody.sent}) == len(crm.ids())


def test_a_refused_event_stops_its_own_lane_only(app: App, crm: PlanhatSimulator, moody: Moody):
    bad = crm.ids()[4]
    pull(app, NAME)
    moody.refuse = {f"{NAME}:{bad}"}
    summary = publish(app)
    assert (summary.parked, summary.published) == (1, len(crm.ids()) - 1)
    crm.edit(bad, stage="Closed Won")
    crm.edit(crm.ids()[0], stage="Closed Lost")
    pull(app, NAME)
    publish(app)
    assert [event.external_id for event in moody.sent].count(f"{NAME}:{bad}") == 1
    (entry,) = list_parked(app)
    assert (entry["source_id"], entry["reason"]) == (bad, "invalid_request")
    moody.refuse = set()
    retry_parked(app, [entry["id"]], None)
    assert publish(app).published == 2
    assert ledger_states(app)[f"{NAME}:{bad}"]["stage"] == "closed_won"


def test_a_ledger_that_comes_back_in_time_is_waited_for(app: App, crm: PlanhatSimulator, moody: Moody):
    pull(app, NAME)
    moody.down = 1
    assert publish(app).published == len(crm.ids())


def test_a_ledger_that_stays_away_loses_nothing(app: App, crm: PlanhatSimulator, moody: Moody):
    pull(app, NAME)
    moody.down = 10_000
    app.give_up_after_s = 0.3
    with pytest.raises(LedgerUnavailable, match="same keys"):
        publish(app)
    moody.down, app.give_up_after_s = 0, 30.0
    assert publish(app).published == len(crm.ids())


def test_that_all_events_are_refused_takes_no_more_statements_than_that_they_are_taken(
    app: App, crm: PlanhatSimulator, moody: Moody
):
    moody.refuse = {f"{NAME}:{one}" for one in crm.ids()}
    pull(app, NAME)
    said: list[str] = []
    event.listen(app.store.engine, "before_cursor_execute", lambda *seen: said.append(seen[2]))
    assert publish(app).parked == len(crm.ids())
    assert len(said) < len(crm.ids())
    assert [entry["reason"] for entry in list_parked(app)] == ["invalid_request"] * len(crm.ids())
    assert outbox_places(app) == (0, len(crm.ids()))


def outbox_places(app: App) -> tuple[int, int]:
    """How many events may be sent, and how many wait for a person."""
    with app.store.read() as tx:
        stands = tx.execute(select(outbox.c.parked)).scalars().all()
    return stands.count(False), stands.count(True)


def test_a_ledger_that_refuses_us_stops_the_publisher(app: App, moody: Moody):
    pull(app, NAME)

    def refuse(events: Sequence[Event]) -> list[Answer]:
        raise LedgerRefused("missing scope: deals:write")

    moody.append = refuse
    with pytest.raises(LedgerRefused, match="deals:write"):
        publish(app)
    assert rows(app)["receipts"] == 0


def test_the_doctor_finds_nothing_after_quiet_and_the_hole_that_is_made(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    publish(app)
    assert [check for check in doctor(app) if not check.ok] == []
    crm.edit(crm.ids()[0], stage="Closed Lost")
    pull(app, NAME)
    with app.store.write() as tx:
        tx.execute(outbox.delete())
    assert [check.name for check in doctor(app) if not check.ok]


def test_receipts_say_which_were_new(app: App, moody: Moody):
    pull(app, NAME)
    publish(app)
    answer = moody.append([moody.sent[0]])[0]
    assert isinstance(answer, Receipt)
    assert answer.outcome == "already_there"


def change_everything(app: App, crm: PlanhatSimulator) -> None:
    """Every deal was told of, and waits to be told of again."""
    pull(app, NAME)
    publish(app)
    for one in crm.ids():
        crm.edit(one, total=777, currency="USD")
    pull(app, NAME)


def test_what_was_in_the_ledger_before_we_sent_it_is_an_incident(app: App, crm: PlanhatSimulator, elsewhere: Moody):
    change_everything(app, crm)
    with app.store.read() as tx:
        theirs = outbox_heads(tx, after=BEGINNING, due=WHENEVER, limit=2)
    MemoryLedger.append(elsewhere, [head.event for head in theirs])
    summary = publish(app)
    assert (summary.published, summary.unchanged) == (len(crm.ids()), 2)
    assert "2 events were in the ledger before we first sent them" in summary.notes[0]
    assert status(app)["ledger"]["incidents"] == 2
    (finding,) = [check for check in doctor(app) if not check.ok]
    assert "held as dom_api_" in finding.message


def test_an_event_whose_answer_we_lost_is_no_incident(app: App, crm: PlanhatSimulator, elsewhere: Moody):
    pull(app, NAME)
    elsewhere.lose_answers = 3
    assert publish(app).notes == []
    assert [check for check in doctor(app) if not check.ok] == []


def test_an_event_that_was_under_way_when_its_sender_died_is_no_incident(app: App, elsewhere: Moody):
    pull(app, NAME)
    send = elsewhere.append

    def die(events: Sequence[Event]) -> list[Answer]:
        send(events)
        raise KeyboardInterrupt

    elsewhere.append = die
    with pytest.raises(KeyboardInterrupt):
        publish(app)
    elsewhere.append = send
    summary = publish(app)
    assert summary.unchanged == summary.published > 0
    assert summary.notes == []


def test_an_event_that_never_left_us_is_as_if_it_had_not_been_tried(app: App, elsewhere: Moody):
    pull(app, NAME)
    elsewhere.budget = 3
    app.give_up_after_s = 0.0
    with pytest.raises(LedgerUnavailable, match="used up"):
        publish(app)
    assert set(attempts(app)) == {0}
    assert len(elsewhere.sent) == 3


def test_a_limit_is_waited_for_as_long_as_it_lets_something_through(app: App, crm: PlanhatSimulator, elsewhere: Moody):
    pull(app, NAME)
    elsewhere.budget = 5
    send = elsewhere.append

    def a_new_window(events: Sequence[Event]) -> list[Answer]:
        elsewhere.budget = 5
        return send(events)

    elsewhere.append = a_new_window
    app.give_up_after_s = 0.1
    assert publish(app).published == len(crm.ids())
    assert elsewhere.calls >= len(crm.ids()) // 5


def test_who_waits_for_nothing_still_sees_tried_once_what_was_put_off(
    app: App, crm: PlanhatSimulator, elsewhere: Moody
):
    pull(app, NAME)
    with app.store.write() as tx:
        tx.execute(outbox.update().values(due_at="2999-01-01T00:00:00.000Z", attempts=1))
    app.give_up_after_s = 0.0
    assert publish(app).published == len(crm.ids())


def test_a_key_that_holds_something_else_is_an_incident(app: App, crm: PlanhatSimulator, elsewhere: Moody):
    change_everything(app, crm)
    with app.store.read() as tx:
        (ours,) = outbox_heads(tx, after=BEGINNING, due=WHENEVER, limit=1)
    MemoryLedger.append(elsewhere, [Event(ours.event.external_id, "upsert", ours.event.dedup_key, b"{}")])
    assert "1 events have keys under which" in publish(app).notes[0]
    assert any("have keys" in check.message for check in doctor(app) if not check.ok)


def test_a_store_that_looks_lost_sends_nothing(app: App, elsewhere: Moody):
    pull(app, NAME)
    with app.store.read() as tx:
        (ours,) = outbox_heads(tx, after=BEGINNING, due=WHENEVER, limit=1)
    MemoryLedger.append(elsewhere, [Event(ours.event.external_id, "upsert", "a key of the lost store", b"{}")])
    sent = len(elsewhere.sent)
    with pytest.raises(Stopped, match=f"dealsync recover {NAME}"):
        publish(app)
    assert len(elsewhere.sent) == sent


def test_a_ledger_that_may_not_be_read_is_sent_to_all_the_same(app: App, crm: PlanhatSimulator, elsewhere: Moody):
    def refused() -> Iterator[LedgerDeal]:
        raise LedgerRefused("missing scope: deals:read")
        yield

    elsewhere.deals = refused
    pull(app, NAME)
    assert publish(app).published == len(crm.ids())


def test_a_publisher_whose_lease_was_taken_over_leaves_its_run_as_its_successor_found_it(app: App):
    """It was away between its last look at the outbox and its end; there is nothing else left to refuse it."""
    taken_over = False

    def take_over(*seen: Any) -> None:
        nonlocal taken_over
        if taken_over or "FROM outbox" not in seen[2]:
            return
        taken_over = True
        with app.store.write() as tx:
            tx.execute(text("UPDATE leases SET token = token + 1 WHERE name = 'publish'"))
            runs.start(tx, "publish", None, now(tx))

    event.listen(app.store.engine, "before_cursor_execute", take_over)
    summary = publish(app)
    with app.store.read() as tx:
        successor, ours = runs.latest(tx, "publish", None, 2)
    assert (ours["id"], ours["state"], successor["state"]) == (summary.run, "abandoned", "running")
