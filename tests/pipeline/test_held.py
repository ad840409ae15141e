"""Held: a run that deletes too much tells the ledger nothing until a person has decided; nothing else waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from pipeline import held as verbs
from pipeline.audit import Operator, list_audits
from pipeline.faults import Unknown
from pipeline.held import discard_held, list_held, release_held, show_held
from pipeline.invariants import doctor
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.redrive import retry_parked
from pipeline.schedule import Due, due
from pipeline.status import status
from pipeline.store.held import events_of as held_events_of
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.test_publish import Moody
from tests.pipeline.world import NAME, TOKEN, history, ledger_states, projected, rows

ANN = Operator("ann", "asked the customer")


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=7, deals=60, token=TOKEN)


@pytest.fixture
def published(app: App) -> App:
    pull(app, NAME)
    publish(app)
    return app


def lose(app: App, crm: PlanhatSimulator, number: int) -> list[str]:
    """So many deals are deleted, and two sweeps see it."""
    gone = crm.ids()[:number]
    for one in gone:
        crm.delete(one)
    sweep(app, NAME)
    return gone


def alive(app: App) -> int:
    return sum(not state.get("deleted") for state in ledger_states(app).values())


def sound(app: App) -> bool:
    return [check for check in doctor(app) if not check.ok] == []


def test_as_many_deletes_as_the_limit_allows_go_through(published: App, crm: PlanhatSimulator):
    lose(published, crm, 6)
    assert sweep(published, NAME).clean
    publish(published)
    assert (alive(published), list_held(published)) == (54, [])


def test_more_are_held_with_all_that_the_run_decided_and_delay_no_other_deal(published: App, crm: PlanhatSimulator):
    gone = lose(published, crm, 7)
    edited, bystander = crm.ids()[0], crm.ids()[1]
    crm.edit(edited, total=77)
    summary = sweep(published, NAME)
    assert (summary.events, summary.held, summary.clean) == (8, 8, False)
    assert any("dealsync held show" in note for note in summary.notes)
    assert "held" not in summary.as_json()
    crm.edit(bystander, total=78)
    pull(published, NAME)
    assert publish(published).published == 1
    assert (alive(published), rows(published)["outbox"]) == (60, 8)
    assert ledger_states(published)[f"{NAME}:{bystander}"]["amount_cents"] == 7_800
    (one,) = list_held(published)
    assert (one["events"], one["by_type"]) == (8, {"delete": 7, "amount_change": 1})
    assert "7 of 60 deals" in one["reason"]
    head, *events = show_held(published, one["id"])
    assert head == one | {"age_seconds": head["age_seconds"]}
    assert {event["external_id"] for event in events} == {f"{NAME}:{name}" for name in [*gone, edited]}
    assert status(published)["connections"][0]["held"] == 8
    assert Due("publish", "") not in due(published)
    assert sound(published)


def test_later_events_of_a_held_deal_wait_behind_it(published: App, crm: PlanhatSimulator):
    lose(published, crm, 7)
    edited = crm.ids()[0]
    crm.edit(edited, total=77)
    sweep(published, NAME)
    crm.edit(edited, total=78)
    pull(published, NAME)
    assert publish(published).published == 0
    (one,) = list_held(published)
    assert release_held(published, one["id"], ANN) == 8
    assert publish(published).published == 9
    assert ledger_states(published) == projected(published)
    assert alive(published) == 53
    assert sound(published)


def test_a_set_is_decided_once_and_who_did_it_is_kept(published: App, crm: PlanhatSimulator):
    lose(published, crm, 7)
    sweep(published, NAME)
    (one,) = list_held(published)
    release_held(published, one["id"], ANN)
    with pytest.raises(Unknown, match="released by ann"):
        discard_held(published, one["id"], ANN)
    with pytest.raises(Unknown, match="no change set 99"):
        release_held(published, 99, ANN)
    assert list_held(published) == []
    (kept,) = list_audits(published)
    assert (kept["who"], kept["action"], kept["target"]) == ("ann", "held release", str(one["id"]))
    assert (kept["connection"], kept["reason"], kept["outcome"]) == (NAME, "asked the customer", "7 events released")


def test_discarding_puts_the_deals_back_to_where_the_ledger_has_them(published: App, crm: PlanhatSimulator):
    before = ledger_states(published)
    gone = lose(published, crm, 7)
    sweep(published, NAME)
    summary = discard_held(published, list_held(published)[0]["id"], ANN)
    assert (summary.applied, summary.unchanged, summary.events) == (7, 0, 7)
    assert sound(published)
    publish(published)
    assert ledger_states(published) == before == projected(published)
    assert [(kind, cause) for kind, cause, _ in history(published, gone[0])] == [
        ("upsert", "source_change"),
        ("delete", "source_change"),
        ("upsert", "manual"),
    ]
    assert sound(published)
    assert sweep(published, NAME).events == 0
    assert sweep(published, NAME).held == 7, "the source still says so, and it is still too much"


def test_what_is_discarded_is_looked_at_anew(published: App, crm: PlanhatSimulator):
    """A deal that comes back at the source, and an edit that was held along with the deletes."""
    lose(published, crm, 7)
    edited = crm.ids()[0]
    crm.edit(edited, total=77)
    sweep(published, NAME)
    discard_held(published, list_held(published)[0]["id"], ANN)
    assert projected(published)[f"{NAME}:{edited}"]["amount_cents"] != 7_700
    sweep(published, NAME)
    assert projected(published)[f"{NAME}:{edited}"]["amount_cents"] == 7_700
    publish(published)
    assert ledger_states(published) == projected(published)
    assert sound(published)


def test_a_discarded_event_that_a_later_one_builds_on_needs_no_putting_back(published: App, crm: PlanhatSimulator):
    lose(published, crm, 7)
    edited = crm.ids()[0]
    crm.edit(edited, total=77)
    sweep(published, NAME)
    crm.edit(edited, total=78)
    pull(published, NAME)
    assert discard_held(published, list_held(published)[0]["id"], ANN).events == 7
    publish(published)
    assert ledger_states(published)[f"{NAME}:{edited}"]["amount_cents"] == 7_800
    assert ledger_states(published) == projected(published)
    assert sound(published)


def test_an_earlier_event_that_still_waits_is_sent_although_a_later_one_was_discarded(
    published: App, crm: PlanhatSimulator
):
    edited = crm.ids()[0]
    crm.edit(edited, total=77)
    pull(published, NAME)
    assert lose(published, crm, 7)[0] == edited
    sweep(published, NAME)
    discard_held(published, list_held(published)[0]["id"], ANN)
    assert sound(published)
    publish(published)
    assert ledger_states(published)[f"{NAME}:{edited}"]["amount_cents"] == 7_700
    assert ledger_states(published) == projected(published)


def test_a_deal_that_the_ledger_never_heard_of_ends_and_comes_back(published: App, crm: PlanhatSimulator):
    lose(published, crm, 7)
    new = crm.create(name="New", total=5, stage="Negotiation", currency="USD")
    sweep(published, NAME)
    discard_held(published, list_held(published)[0]["id"], ANN)
    publish(published)
    assert ledger_states(published)[f"{NAME}:{new}"]["deleted"]
    assert sound(published)
    sweep(published, NAME)
    publish(published)
    assert ledger_states(published)[f"{NAME}:{new}"]["amount_cents"] == 500
    assert ledger_states(published) == projected(published)


def test_what_may_have_reached_the_ledger_is_let_go(published: App, crm: PlanhatSimulator):
    """An event of the run was sent, and its sender died before it could write the receipt down."""
    lose(published, crm, 7)
    edited = crm.ids()[0]
    crm.edit(edited, total=77)
    sweep(published, NAME)
    with published.store.write() as tx:
        tx.execute(text("UPDATE outbox SET attempts = 1 WHERE source_id = :id"), {"id": edited})
    summary = discard_held(published, list_held(published)[0]["id"], ANN)
    assert (summary.applied, summary.unchanged) == (7, 1)
    publish(published)
    assert ledger_states(published)[f"{NAME}:{edited}"]["amount_cents"] == 7_700
    assert ledger_states(published) == projected(published)
    assert sound(published)


def test_what_is_in_the_embedded_ledger_already_is_let_go(published: App, crm: PlanhatSimulator):
    lose(published, crm, 7)
    sweep(published, NAME)
    (one,) = list_held(published)
    with published.store.read() as tx:
        sent = tx.execute(
            text(
                "SELECT e.external_id, e.event_type, e.dedup_key, e.state FROM events e JOIN held_events h "
                "ON h.source_id = e.source_id AND h.revision = e.revision ORDER BY e.source_id LIMIT 1"
            )
        ).one()
    from deals.events import Event

    published.ledger.append([Event(sent[0], sent[1], sent[2], sent[3].encode())])
    summary = discard_held(published, one["id"], ANN)
    assert (summary.applied, summary.unchanged) == (6, 1)
    publish(published)
    assert (alive(published), sound(published)) == (59, True)


def test_a_sweep_that_finds_its_suspects_alive_holds_nothing(published: App, crm: PlanhatSimulator):
    """Lists hide deals that a get-one still shows: the events of the run are let go at its end."""
    crm.switches.hidden = frozenset(crm.ids()[:10])
    edited = crm.ids()[20]
    sweep(published, NAME)
    crm.edit(edited, total=77)
    summary = sweep(published, NAME)
    assert (summary.held, list_held(published), summary.events) == (0, [], 1)
    publish(published)
    assert ledger_states(published) == projected(published)


def test_no_tombstone_is_sent_while_a_sweep_is_still_asking(published: App, crm: PlanhatSimulator):
    lose(published, crm, 7)

    def sending(summary):
        publish(published)

    sweep(published, NAME, progress=sending)
    assert alive(published) == 60


def test_a_sweep_that_dies_leaves_its_set_to_a_person(published: App, crm: PlanhatSimulator):
    lose(published, crm, 7)

    def interrupt(summary):
        if summary.events == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(published, NAME, progress=interrupt)
    publish(published)
    (one,) = list_held(published)
    assert (alive(published), one["events"]) == (60, 3)
    assert "7 of 60 deals are missing" in one["reason"]
    release_held(published, one["id"], ANN)
    publish(published)
    assert alive(published) == 57


def test_of_few_deals_a_share_says_nothing(open_world: Callable[..., App]):
    few = PlanhatSimulator(seed=7, deals=20, token=TOKEN)
    app = open_world(few)
    pull(app, NAME)
    lose(app, few, 10)
    assert sweep(app, NAME).held == 0


def test_the_limit_is_a_setting(open_world: Callable[..., App], crm: PlanhatSimulator):
    app = open_world(crm, "delete_limit = 0.5")
    pull(app, NAME)
    lose(app, crm, 30)
    assert sweep(app, NAME).held == 0


def test_an_event_that_the_ledger_refused_stays_parked_when_its_set_is_released(published: App, crm: PlanhatSimulator):
    published.ledger = Moody()
    lose(published, crm, 7)
    sweep(published, NAME)
    (one,) = list_held(published)
    gone = next(event for event in list(show_held(published, one["id"]))[1:])
    with published.store.write() as tx:
        tx.execute(
            text(
                "INSERT INTO parked (connection_id, source_id, stage, revision, reason, message, observed_at, since, "
                "last_seen, state) VALUES (1, :id, 'event', :revision, 'x', 'x', 'x', '2026-05-01', 'x', 'open')"
            ),
            {"id": gone["external_id"].partition(":")[2], "revision": gone["revision"]},
        )
    release_held(published, one["id"], ANN)
    assert publish(published).published == 6


def test_an_event_that_the_ledger_refused_is_retried_but_not_sent_before_its_set_is_decided(
    published: App, crm: PlanhatSimulator
):
    """It was sent, and refused, before the run had deleted too much: then it was held with the rest."""
    moody = published.ledger = Moody()
    lose(published, crm, 7)
    edited = crm.ids()[0]
    crm.edit(edited, total=77)
    moody.refuse = {f"{NAME}:{edited}"}

    def sending(_):
        publish(published)

    sweep(published, NAME, progress=sending)
    (one,) = list_held(published)
    assert (one["events"], len(moody.sent)) == (8, 1)
    moody.refuse = set()
    retry_parked(published, None, NAME, operator=ANN)
    assert publish(published).published == 0
    release_held(published, one["id"], ANN)
    assert publish(published).published == 8


def test_however_many_events_a_set_has_a_few_are_in_memory_at_a_time(
    published: App, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    before = ledger_states(published)
    lose(published, crm, 7)
    for edited in crm.ids()[:4]:
        crm.edit(edited, total=77)
    sweep(published, NAME)
    together = []

    def some(tx, number, **bounds):
        found = held_events_of(tx, number, **bounds)
        together.append(len(found))
        return found

    monkeypatch.setattr(verbs, "_PAGE", 3)
    monkeypatch.setattr("pipeline.store.held.events_of", some)
    summary = discard_held(published, list_held(published)[0]["id"], ANN)
    assert (max(together), summary.read, summary.applied, summary.events) == (3, 11, 11, 11)
    publish(published)
    assert ledger_states(published) == before == projected(published)
    assert sound(published)


def test_of_two_sets_with_the_same_deals_the_earlier_one_is_decided_first(published: App, crm: PlanhatSimulator):
    """Else the deal would be put back to a state that is itself discarded afterwards, and that would be sent."""
    before = ledger_states(published)
    lose(published, crm, 7)
    edited = crm.ids()[0]
    crm.edit(edited, total=77)
    sweep(published, NAME)
    assert edited in lose(published, crm, 7)
    sweep(published, NAME)
    first, second = [one["id"] for one in list_held(published)]
    with pytest.raises(Unknown, match=f"change set {first} holds earlier events"):
        discard_held(published, second, ANN)
    for number in (first, second):
        discard_held(published, number, ANN)
    publish(published)
    assert ledger_states(published) == before == projected(published)
    assert sound(published)
