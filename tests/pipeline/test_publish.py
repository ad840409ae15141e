"""Publish: every event once, in order for each deal, and no deal waits for another."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from deals.events import Event
from ledger.memory import MemoryLedger
from ledger.port import Answer, LedgerRefused, LedgerUnavailable, Receipt, Rejected, Unsettled
from pipeline.invariants import doctor
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.redrive import list_parked, retry_parked
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

    def append(self, events: Sequence[Event]) -> list[Answer]:
        if self.down:
            self.down -= 1
            raise LedgerUnavailable
        self.sent.extend(events)
        return [self._one(event) for event in events]

    def _one(self, event: Event) -> Answer:
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


def test_a_ledger_that_refuses_us_stops_the_publisher(app: App, moody: Moody):
    pull(app, NAME)

    def refuse(events: Sequence[Event]) -> list[Answer]:
        raise LedgerRefused("missing scope: deals:write")

    moody.append = refuse
    with pytest.raises(LedgerRefused, match="deals:write"):
        publish(app)
    assert rows(app)["receipts"] == 0


def test_the_doctor_finds_nothing_after_quiet_and_the_hole_that_is_made(app: App, crm: PlanhatSimulator):
    from pipeline.store.tables import outbox

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
