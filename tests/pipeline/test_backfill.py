"""Backfill: planned in chunks, landed beside live traffic, stopped and gone on with at any time, never done twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from connectors.faults import RateLimited, Refused, Unavailable
from connectors.planhat.simulated_switches import Switches
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import Request, rate_limited, refused
from pipeline import backfill_work
from pipeline.audit import Operator
from pipeline.backfill import cancel, pause, resume, retry, start
from pipeline.backfill_report import Standing, listed, standing
from pipeline.backfill_work import work, work_on
from pipeline.faults import Busy, StaleLease, Stopped, Unknown
from pipeline.fetch import fetch
from pipeline.held import list_held
from pipeline.pause import pause as pause_connection
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.schedule import due
from pipeline.store import backfills, held, leases
from pipeline.store.held import SetRow
from pipeline.store.session import now
from pipeline.store.tables import events
from pipeline.wiring import App
from tests.connectors.planhat.reading import both
from tests.pipeline.world import NAME, TOKEN, by_type, history, ledger_states, projected, rows, waiting

ALL = (None, None)
MIDDLE = "2025-03-01T00:00:00.000Z"


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=7, deals=70, token="token-of-a-test")


def causes(app: App) -> set[str]:
    with app.store.read() as tx:
        return set(tx.execute(select(events.c.cause)).scalars())


class Between(httpx.BaseTransport):
    """Does something once: when a page of the list has been read, and before anybody has it in hand."""

    def __init__(self, crm: PlanhatSimulator, which: Callable[[int, bytes], bool], then: Callable[[], object]) -> None:
        self.through, self.which, self.then, self.asked = crm.transport(), which, then, 0
        self.over = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self.through.handle_request(request)
        if request.url.path == "/deals" and request.url.params["limit"] == "10":
            self.asked += 1
            if not self.over and self.which(self.asked, response.read()):
                self.over = True
                self.then()
        return response


def on_page(app: App, crm: PlanhatSimulator, number: int, then: Callable[[], object]) -> None:
    """Does something while the `number`-th whole page of the list is on its way."""
    app.transports = {NAME: Between(crm, lambda asked, _: asked == number, then)}


def in_database(app: App, statement: str) -> None:
    with app.store.write() as tx:
        tx.execute(text(statement))


def test_a_backfill_lands_every_deal_and_says_why(app: App, crm: PlanhatSimulator):
    outcome = start(app, NAME, ALL)
    summary, stands = outcome
    assert (summary.run, summary.read, summary.applied, summary.events) == (stands.id, 70, 70, 70)
    assert (stands.state, stands.done, stands.total, stands.percent, stands.eta_seconds) == ("done", 10, 10, 100, 0)
    assert (outcome.clean, causes(app)) == (True, {"backfill"})
    with app.store.read() as tx:
        assert set(tx.execute(select(events.c.run_id)).scalars()) == {stands.id}
    publish(app)
    assert len(ledger_states(app)) == 70
    assert pull(app, NAME).events == 0


def test_a_backfill_over_unchanged_deals_writes_nothing(app: App):
    pull(app, NAME)
    outcome = start(app, NAME, ALL)
    assert (outcome.summary.unchanged, outcome.summary.events) == (70, 0)


def test_only_the_range_is_read(app: App, crm: PlanhatSimulator):
    made = {record["_id"]: record["createdAt"] for record in crm.truth()}
    outcome = start(app, NAME, (None, MIDDLE))
    assert set(projected(app)) == {f"{NAME}:{one}" for one, at in made.items() if at < MIDDLE}
    assert outcome.standing.until == MIDDLE
    rest = start(app, NAME, (MIDDLE, None))
    assert (len(projected(app)), rest.summary.read + outcome.summary.read) == (70, 70)


def test_conservation_holds_for_a_backfill(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    crm.edit(crm.ids()[3], total=5)
    crm.edit(crm.ids()[9], stage="Nowhere")
    summary = start(app, NAME, ALL).summary
    assert summary.read == summary.applied + summary.unchanged + summary.superseded + summary.parked
    assert (summary.applied, summary.parked, summary.clean) == (1, 1, False)


def test_a_page_that_is_refused_fails_its_own_chunk_and_retry_reads_only_that(app: App, crm: PlanhatSimulator):
    crm.faults.sometimes(1.0, refused(400), where=lambda request: request.query.get("offset") == "26")
    outcome = start(app, NAME, ALL)
    stands = outcome.standing
    assert (stands.state, stands.failed, stands.done, outcome.clean) == ("failed", 1, 9, False)
    [failed] = [chunk for chunk in stands.plan if chunk.state == "failed"]
    assert "400" in (failed.reason or "")
    assert 50 < len(projected(app)) < 70
    crm.faults.clear()
    crm.log.clear()
    again = retry(app, stands.id)
    assert (again.standing.state, again.clean, len(projected(app))) == ("done", True, 70)
    assert len([call for call in crm.log if call.path == "/deals"]) <= 3
    assert (again.summary.run, again.summary.read) == (stands.id, 70)


def test_failed_chunks_are_retried_by_retry_and_not_by_resume(app: App, crm: PlanhatSimulator):
    crm.faults.sometimes(1.0, refused(422), where=lambda request: request.query.get("offset") == "26")
    number = start(app, NAME, ALL).standing.id
    with pytest.raises(Unknown, match=f"backfill retry {number}"):
        resume(app, number)


@pytest.mark.parametrize("by", [pause, cancel])
def test_nothing_lands_once_somebody_else_has_stopped_it(
    by: Callable[[App, int], Standing], app: App, crm: PlanhatSimulator
):
    records: list[int] = []

    def stop() -> None:
        by(app, 1)
        records.append(standing(app, 1).records)

    on_page(app, crm, 6, stop)
    outcome = start(app, NAME, ALL)
    assert records == [outcome.summary.read]
    assert outcome.standing.state == ("paused" if by is pause else "cancelled")
    landed = len(projected(app))
    assert 0 < landed < 70
    assert (outcome.clean, outcome.standing.eta_seconds, waiting(app)) == (False, None, [])
    assert work(app, 1).read == outcome.summary.read
    assert len(projected(app)) == landed
    done = resume(app, 1)
    assert (done.standing.state, done.standing.percent, len(projected(app))) == ("done", 100, 70)
    assert rows(app)["events"] == 70


def test_two_backfills_of_one_range_are_refused(app: App, crm: PlanhatSimulator):
    told: list[str] = []

    def another() -> None:
        for window in (ALL, (None, MIDDLE), (MIDDLE, None)):
            with pytest.raises(Busy, match="backfill 1") as refusal:
                start(app, NAME, window)
            told.append(str(refusal.value))
        with pytest.raises(Busy):
            resume(app, 1)

    on_page(app, crm, 6, another)
    assert start(app, NAME, ALL).standing.state == "done"
    assert len(told) == 3
    assert [one.id for one in listed(app)] == [1]


def test_ranges_that_do_not_touch_go_side_by_side(app: App, crm: PlanhatSimulator):
    on_page(app, crm, 3, lambda: start(app, NAME, (MIDDLE, None)))
    assert start(app, NAME, (None, MIDDLE)).standing.state == "done"
    assert [one.state for one in listed(app)] == ["done", "done"]
    assert rows(app)["events"] == len(projected(app)) == 70


def test_a_paused_one_keeps_its_range_and_a_cancelled_one_frees_it(app: App, crm: PlanhatSimulator):
    on_page(app, crm, 6, lambda: pause(app, 1))
    start(app, NAME, ALL)
    with pytest.raises(Busy, match="backfill resume 1"):
        start(app, NAME, ALL)
    cancel(app, 1)
    assert start(app, NAME, ALL).standing.id == 2
    assert standing(app, 1).state == "cancelled"


def test_one_that_was_cut_off_is_joined_by_the_same_command(app: App, crm: PlanhatSimulator):
    def die() -> None:
        raise KeyboardInterrupt

    on_page(app, crm, 6, die)
    with pytest.raises(KeyboardInterrupt):
        start(app, NAME, ALL)
    before = standing(app, 1)
    assert (before.state, 0 < before.done < 10) == ("running", True)
    crm.log.clear()
    outcome = start(app, NAME, ALL)
    assert (outcome.standing.id, outcome.standing.state, rows(app)["events"]) == (1, "done", 70)
    assert len(crm.log) <= 2 * (10 - before.done) + 5


def test_what_live_traffic_saw_later_is_left_as_it_is(app: App, crm: PlanhatSimulator):
    """The deal's page is read, then the deal changes and is fetched, and only then the page lands."""
    pull(app, NAME)
    one = crm.ids()[35]
    crm.edit(one, total=100)

    def live() -> None:
        crm.edit(one, total=200)
        fetch(app, NAME, one)

    app.transports = {NAME: Between(crm, lambda _, body: one.encode() in body, live)}
    start(app, NAME, ALL)
    assert history(app, one)[-1][2]["amount_cents"] == 20_000
    assert pull(app, NAME).events == 0


def test_pulls_go_on_beside_a_backfill(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    late: list[int] = []

    def live() -> None:
        crm.edit(crm.ids()[0], total=777)
        crm.new_deal(amount=Decimal(5), stage=crm.stages[0])
        late.append(pull(app, NAME).events)

    on_page(app, crm, 5, live)
    outcome = start(app, NAME, ALL)
    assert (late, outcome.standing.state) == ([2], "done")
    assert history(app, crm.ids()[0])[-1][2]["amount_cents"] == 77_700
    assert pull(app, NAME).events == 0
    assert by_type(app)["upsert"] == 71


def test_a_quota_that_is_used_up_puts_it_off_until_it_is_renewed(app: App, crm: PlanhatSimulator):
    crm.faults.at(22, rate_limited("600"))
    with pytest.raises(RateLimited):
        start(app, NAME, ALL)
    stands = standing(app, 1)
    assert (stands.state, "429" in (stands.reason or "")) == ("running", True)
    assert waiting(app) == []
    in_database(app, "UPDATE backfills SET due_at = '2000-01-01T00:00:00.000Z'")
    in_database(app, "DELETE FROM budgets")
    assert waiting(app) == [NAME]
    assert resume(app, 1).standing.state == "done"
    assert rows(app)["events"] == 70


def test_the_time_that_is_left_counts_the_wait_for_a_quota_and_is_unknown_while_the_connection_is_paused(
    app: App, crm: PlanhatSimulator
):
    crm.faults.at(22, rate_limited("600"))
    with pytest.raises(RateLimited):
        start(app, NAME, ALL)
    waits = standing(app, 1).eta_seconds
    in_database(app, "UPDATE backfills SET due_at = '2000-01-01T00:00:00.000Z'")
    works = standing(app, 1).eta_seconds
    assert waits is not None
    assert works is not None
    assert works < 300 < waits <= 600 + works
    pause_connection(app, NAME, Operator("ann", "the CRM is being mended"))
    assert standing(app, 1).eta_seconds is None


def test_a_source_that_is_away_leaves_the_chunk_for_later(app: App, crm: PlanhatSimulator):
    app.give_up_after_s = 0.0
    crm.faults.sometimes(1.0, refused(503), where=lambda request: request.query.get("offset") == "26")
    with pytest.raises(Unavailable):
        start(app, NAME, ALL)
    stands = standing(app, 1)
    assert (stands.state, stands.failed) == ("running", 0)
    crm.faults.clear()
    assert resume(app, 1).standing.state == "done"


def test_refused_rights_end_it_until_a_person_retries(app: App, crm: PlanhatSimulator):
    on_page(app, crm, 6, lambda: setattr(crm.switches, "forbidden", True))
    with pytest.raises(Refused):
        start(app, NAME, ALL)
    stands = standing(app, 1)
    assert (stands.state, "403" in (stands.reason or ""), waiting(app)) == ("failed", True, [])
    crm.switches.forbidden = False
    assert retry(app, 1).standing.state == "done"


def test_too_much_that_must_be_parked_stops_it(open_world: Callable[..., App]):
    crm = PlanhatSimulator(seed=7, deals=300, token="token-of-a-test")
    app = open_world(crm)
    for one in crm.ids():
        crm.edit(one, stage="Nowhere")
    with pytest.raises(Stopped, match="backfill resume 1"):
        start(app, NAME, ALL)
    stands = standing(app, 1)
    assert (stands.state, 200 <= stands.records < 300) == ("failed", True)


def test_a_worker_reads_one_chunk_and_leaves_the_next_to_whoever_comes(app: App, crm: PlanhatSimulator):
    begin_for_workers(app)
    for number in range(1, 10):
        assert work_on(app, NAME)
        assert standing(app, 1).done == number
    assert not work_on(app, NAME)
    assert not work_on(app, NAME)
    assert (standing(app, 1).state, rows(app)["events"]) == ("done", 70)


def begin_for_workers(app: App) -> int:
    from pipeline.backfill import begin

    return begin(app, NAME, ALL, "running")


def test_the_tick_finds_a_backfill_that_nobody_rang_for(app: App):
    begin_for_workers(app)
    assert waiting(app) == [NAME]
    with leases.hold(app.store, backfills.lease_name(1)):
        assert waiting(app) == []
        with pytest.raises(Busy):
            work(app, 1)
    assert [one.verb for one in due(app)] == ["pull", "backfill"]
    work(app, 1)
    assert waiting(app) == []


def test_a_stale_owner_lands_nothing(app: App, crm: PlanhatSimulator):
    """A worker is frozen while it reads; its lease runs out, and another one takes the chunk."""

    def freeze() -> None:
        in_database(app, "UPDATE leases SET expires_at = '2000-01-01T00:00:00.000Z' WHERE name = 'backfill 1'")
        assert work(app, 1).read == 70

    on_page(app, crm, 6, freeze)
    with pytest.raises(StaleLease):
        start(app, NAME, ALL)
    assert (standing(app, 1).state, rows(app)["events"], standing(app, 1).records) == ("done", 70, 70)


def test_a_stale_owner_lets_nothing_go_that_is_held(app: App, crm: PlanhatSimulator):
    """Held out of caution only, for all it knows; whoever works now may know better."""
    begin_for_workers(app)
    with app.store.write() as tx:
        number = held.open_set(tx, SetRow(1, 1, "many deals may be gone", now(tx)))
    on_page(app, crm, 3, lambda: in_database(app, "UPDATE leases SET token = token + 1 WHERE name = 'backfill 1'"))
    with pytest.raises(StaleLease):
        work(app, 1)
    assert [one["id"] for one in list_held(app)] == [number]


def test_a_chunk_that_kills_whoever_reads_it_is_given_up(app: App):
    begin_for_workers(app)
    work_on(app, NAME)
    in_database(app, f"UPDATE backfill_chunks SET attempts = {backfills.GIVEN_UP_AFTER} WHERE number = 3")
    stands = standing(app, work(app, 1).run)
    assert (stands.state, stands.failed, stands.done) == ("failed", 1, 9)
    assert "died 10 times" in (stands.plan[2].reason or "")


def test_a_backfill_reads_the_model_that_the_pulls_have_found(app: App):
    """`revenue_model` is auto, and by now the tenant has deals as well: their ids must never mix."""
    opportunities = PlanhatSimulator(seed=1, deals=20, token=TOKEN, switches=Switches(model="opportunities"))
    deals = PlanhatSimulator(seed=2, deals=20, token=TOKEN)
    app.transports = {NAME: opportunities.transport()}
    pull(app, NAME)
    app.transports = {NAME: both(deals, opportunities)}
    outcome = start(app, NAME, ALL)
    assert (outcome.summary.read, outcome.summary.unchanged) == (20, 20)
    assert set(projected(app)) == {f"{NAME}:{one}" for one in opportunities.ids()}


def test_what_was_cancelled_or_failed_half_way_is_never_told_to_be_through(app: App, crm: PlanhatSimulator):
    """Some whole pages are refused; meanwhile chunks grow beyond what they were planned to have."""
    seen: list[Standing] = []

    def grow(_request: Request) -> None:
        for _ in range(20):
            if len(crm.ids()) < 250:
                crm.new_deal(amount=Decimal(5), stage=crm.stages[0])

    crm.before_list = grow
    whole = lambda request: request.query.get("limit") == "10" and request.query.get("offset", "0") != "0"  # noqa: E731
    crm.faults.sometimes(0.3, refused(400), where=whole)
    assert start(app, NAME, ALL, watch=seen.append).standing.state == "failed"
    assert cancel(app, 1).state == "cancelled"
    seen.append(standing(app, 1))
    assert all(one.percent < 100 for one in seen)
    crm.faults.clear()
    assert retry(app, 1, watch=seen.append).standing.percent == 100
    assert max(one.percent for one in seen) <= 100
    assert all(one.percent < 100 for one in seen if one.state != "done" and (one.pending or one.failed))


def test_never_more_than_a_hundred_percent(app: App, crm: PlanhatSimulator):
    """The list grows by ten deals with every page; rows are seen twice; chunks fail and are retried."""
    seen: list[Standing] = []

    def grow(_request: Request) -> None:
        for _ in range(10):
            if len(crm.ids()) < 150:
                crm.new_deal(amount=Decimal(5), stage=crm.stages[0])

    crm.before_list = grow
    crm.faults.sometimes(1.0, refused(400), where=lambda request: request.query.get("offset") == "26")
    start(app, NAME, ALL, watch=seen.append)
    crm.faults.clear()
    retry(app, 1, watch=seen.append)
    shares = [one.percent for one in seen]
    assert shares == sorted(shares)
    assert (shares[-1], max(shares)) == (100, 100)
    assert [one.percent for one in seen if one.state != "done" and one.pending + one.failed] != []
    assert all(one.percent < 100 for one in seen if one.pending or one.failed)
    assert all(one.done + one.failed + one.pending == one.total for one in seen)
    assert all(one.eta_seconds is None or one.eta_seconds >= 0 for one in seen)


def test_the_range_must_make_sense(app: App):
    for window in ((MIDDLE, MIDDLE), ("2999-01-01T00:00:00.000Z", None)):
        with pytest.raises(Unknown):
            start(app, NAME, window)
    with pytest.raises(Unknown, match="there is no backfill 7"):
        resume(app, 7)
    with pytest.raises(Unknown):
        start(app, "nobody", ALL)
    assert listed(app) == []


def test_what_is_done_is_neither_paused_nor_done_again(app: App, crm: PlanhatSimulator):
    start(app, NAME, ALL)
    for verb in (pause, cancel):
        with pytest.raises(Unknown, match="is done"):
            verb(app, 1)
    crm.log.clear()
    assert (resume(app, 1).clean, retry(app, 1).clean, crm.log) == (True, True, [])


def test_an_empty_tenant_is_done_at_once(open_world: Callable[..., App]):
    crm = PlanhatSimulator(seed=7, deals=0, token="token-of-a-test")
    outcome = start(open_world(crm), NAME, ALL)
    assert (outcome.standing.state, outcome.standing.total, outcome.standing.percent) == ("done", 0, 100)


def test_a_range_before_the_first_deal_is_done_at_once(app: App):
    summary, stands = start(app, NAME, (None, "2001-01-01T00:00:00.000Z"))
    assert (summary.read, stands.state) == (0, "done")


def test_backfills_are_listed_in_pages_and_by_connection(app: App):
    for _ in range(3):
        start(app, NAME, ALL)
    assert [one.id for one in listed(app)] == [1, 2, 3]
    assert [one.id for one in listed(app, NAME, after=1, limit=1)] == [2]
    document: dict[str, Any] = listed(app)[0].as_json()
    wanted = {"id", "connection", "state", "since", "until", "chunks", "records", "rate", "eta_seconds"}
    assert wanted <= document.keys()
    assert document["chunks"] == {"done": 10, "failed": 0, "pending": 0, "total": 10}


def test_put_off_is_put_off_by_the_databases_clock(app: App):
    begin_for_workers(app)
    with app.store.write() as tx:
        backfills.put_off(tx, 1, timedelta(hours=1), "the day is used up")
    assert waiting(app) == []
    assert standing(app, 1).reason == "the day is used up"


def test_a_bug_met_in_planning_ends_the_backfill_and_says_so_instead_of_being_met_at_every_tick(
    app: App, monkeypatch: pytest.MonkeyPatch
):
    def crash(*_: object) -> None:
        raise KeyError("stage")

    monkeypatch.setattr(backfill_work, "chunks_of", crash)
    with pytest.raises(KeyError):
        start(app, NAME, ALL)
    (told,) = listed(app, NAME)
    assert (told.state, told.reason) == ("failed", "planning it met a bug (KeyError); the log has the details")
    assert not [one for one in due(app) if one.verb == "backfill"]
    monkeypatch.undo()
    assert retry(app, told.id).standing.state == "done"
