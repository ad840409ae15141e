"""Parked: what a person can do about it, and what becomes of it without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event, func, select, update

from connectors.faults import Refused
from connectors.planhat.simulator import PlanhatSimulator
from pipeline import redrive, replay, schedule, settings
from pipeline.audit import NOBODY, Operator, list_audits
from pipeline.faults import StaleLease, Unknown
from pipeline.fetch import fetch
from pipeline.mapping_files import shipped
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.redrive import Part, Which, discard_parked, list_parked, retry_parked, retry_some, show_parked
from pipeline.replay import replay_parked
from pipeline.status import status
from pipeline.store import connections
from pipeline.store.tables import deals, leases, outbox, parked, raw_blocks
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.test_publish import Moody
from tests.pipeline.world import NAME, TOKEN, history, ledger_states, projected, rows


@pytest.fixture
def odd(app: App, crm: PlanhatSimulator) -> str:
    """A deal that was read once and cannot be read any more."""
    pull(app, NAME)
    one = crm.ids()[3]
    crm.edit(one, stage="Odd")
    assert pull(app, NAME).parked == 1
    return one


@pytest.fixture
def knows_odd(app: App, tmp_path: Path) -> Callable[[], None]:
    """The table learns the word `Odd`."""

    def learn() -> None:
        words = "[deals.stage.words]           # exactly"
        text = shipped("planhat")
        assert words in text
        line = text[text.index(words) :].partition("\n")[0]
        (tmp_path / "mine.toml").write_text(text.replace(line, f'{line}\n"Odd" = "odd"'))
        file = tmp_path / "dealsync.toml"
        file.write_text(file.read_text().replace('source = "planhat"', 'source = "planhat"\nmapping = "mine.toml"'))
        app.settings = settings.load(file, {"PLANHAT_TOKEN": TOKEN})

    return learn


def shelf(app: App) -> list[tuple[str, str]]:
    with app.store.read() as tx:
        return [tuple(row) for row in tx.execute(select(parked.c.source_id, parked.c.state).order_by(parked.c.id))]


def blocks(app: App) -> int:
    with app.store.read() as tx:
        return int(tx.execute(select(func.count()).select_from(raw_blocks)).scalar_one())


def test_a_parked_record_is_retried_from_its_bytes_without_a_request(app, crm, odd, knows_odd):
    asked = len(crm.log)
    (summary,) = retry_parked(app, None, NAME)
    assert (summary.read, summary.parked) == (1, 1)
    knows_odd()
    (summary,) = retry_parked(app, None, NAME)
    assert (summary.read, summary.applied, summary.parked) == (1, 1, 0)
    assert len(crm.log) == asked
    assert shelf(app) == [(odd, "resolved")]
    assert history(app, odd)[-1][2]["stage"] == "odd"


def test_the_next_pull_after_a_mapping_fix_resolves_what_it_can_read(app, odd, knows_odd):
    knows_odd()
    summary = pull(app, NAME)
    assert summary.events == 1
    assert any("mapping changed" in note for note in summary.notes)
    assert shelf(app) == [(odd, "resolved")]


def test_who_has_lost_the_lease_does_not_say_that_all_was_read_again(app, crm, odd, knows_odd, monkeypatch):
    """Another one, with another mapping, is at it: what it reads would count as read with ours."""
    knows_odd()

    def taken_over(run):
        replay_parked(run)
        with app.store.write() as tx:
            tx.execute(update(leases).values(token=leases.c.token + 1))

    monkeypatch.setattr(replay, "replay_parked", taken_over)
    with pytest.raises(StaleLease):
        pull(app, NAME)
    with app.store.read() as tx:
        row = connections.find(tx, NAME)
        assert row is not None
        assert row.mapping_id == connections.SEVERAL


def test_a_retry_lifts_no_refusal_for_it_sends_no_request(app, crm, odd):
    crm.switches.host = "elsewhere"  # the token is unknown here
    with pytest.raises(Refused):
        pull(app, NAME)
    before = status(app)["connections"][0]
    retry_parked(app, None, NAME)
    after = status(app)["connections"][0]
    assert (after["state"], after["reason"]) == ("refused", before["reason"])
    assert after["last_success"] == before["last_success"]
    assert {one.verb for one in schedule.due(app)} == {"publish"}


def test_one_of_several_is_retried_by_its_number(app, crm, odd, knows_odd):
    crm.edit(crm.ids()[4], stage="Odd")
    pull(app, NAME)
    first, second = list(list_parked(app))
    knows_odd()
    (summary,) = retry_parked(app, [second["id"]], None)
    assert summary.applied == 1
    assert [entry["id"] for entry in list_parked(app)] == [first["id"]]


def test_deals_that_were_each_read_at_a_time_of_their_own_are_mapped_again_many_at_a_time(app, crm, knows_odd):
    """As those are that deliveries told of."""
    pull(app, NAME)
    for deal in crm.ids():
        crm.clock.advance(1)
        fetch(app, NAME, deal)
    with app.store.read() as tx:
        assert len(set(tx.execute(select(deals.c.observed_at)).scalars())) > len(crm.ids()) / 2
    knows_odd()
    landed = []
    event.listen(app.store.engine, "before_cursor_execute", lambda *seen: landed.append(seen[2]))
    pull(app, NAME)
    written = [one for one in landed if one.startswith("UPDATE runs SET read")]
    assert len(written) < len(crm.ids()) / 2, "a transaction each would be as many"


def test_however_many_entries_are_tried_again_a_few_are_in_memory_at_a_time_and_it_is_one_run(
    app, crm, knows_odd, monkeypatch
):
    monkeypatch.setattr(redrive, "AT_ONCE", 3)
    pull(app, NAME)
    for deal in crm.ids()[:8]:
        crm.edit(deal, stage="Odd")
    pull(app, NAME)
    knows_odd()
    together = []

    def some(run, numbers):
        together.append(len(numbers))
        replay_parked(run, numbers)

    monkeypatch.setattr(redrive, "replay_parked", some)
    (summary,) = retry_parked(app, None, None)
    assert together == [3, 3, 2]
    assert (summary.read, summary.applied, list(list_parked(app))) == (8, 8, [])


def test_who_waits_for_the_answer_has_some_tried_again_and_asks_for_the_rest(app, crm, knows_odd, monkeypatch):
    monkeypatch.setattr(redrive, "AT_ONCE", 3)
    pull(app, NAME)
    for deal in crm.ids()[:8]:
        crm.edit(deal, stage="Odd")
    pull(app, NAME)
    ids = [entry["id"] for entry in list_parked(app)]
    nobody = retry_some(app, NAME, Which(reason="another"), 0, NOBODY)
    assert nobody == Part([], None)
    still = [retry_some(app, None, Which(reason="UNKNOWN_STAGE"), after, NOBODY) for after in (0, ids[2], ids[5])]
    assert [part.after for part in still] == [ids[2], ids[5], None]
    assert [(one.read, one.parked) for part in still for one in part.summaries] == [(3, 3), (3, 3), (2, 2)]
    assert [entry["id"] for entry in list_parked(app)] == ids, "they are parked under the same numbers"
    knows_odd()
    mended = retry_some(app, NAME, Which(field="stage"), ids[0], NOBODY)
    assert ([one.applied for one in mended.summaries], mended.after) == ([3], ids[3])
    assert [entry["id"] for entry in list_parked(app)] == [ids[0], *ids[4:]]


def test_what_was_put_aside_stays_aside_until_its_bytes_change(app, crm, odd):
    (entry,) = list_parked(app)
    assert discard_parked(app, [entry["id"]], Operator("ann", "a test deal")) == 1
    assert discard_parked(app, [entry["id"]], Operator("ann", "again")) == 0
    before = blocks(app)
    for verb in (pull, sweep):
        summary = verb(app, NAME)
        assert (summary.parked, summary.out_of_scope, summary.clean) == (0, 1, True)
        assert summary.read == summary.unchanged + summary.out_of_scope
    assert (list(list_parked(app)), blocks(app)) == ([], before)
    crm.edit(odd, total=5)
    assert pull(app, NAME).parked == 1
    assert show_parked(app, entry["id"])["closing_note"] == "ann: a test deal"


def test_who_retries_what_was_put_aside_is_told_so_and_the_audit_does_not_say_it_was_tried(app, odd, knows_odd):
    (entry,) = list_parked(app)
    discard_parked(app, [entry["id"]], Operator("ann", "a test deal"))
    knows_odd()
    (summary,) = retry_parked(app, [entry["id"]], None, operator=Operator("bob", "a second look"))
    assert (summary.read, summary.notes) == (0, [f"entry {entry['id']} was discarded already"])
    (row,) = [one for one in list_audits(app) if one["action"] == "parked retry"]
    assert (row["outcome"], row["target"]) == (f"0 tried again in run {summary.run}", "")


def test_a_record_without_an_id_that_was_put_aside_stays_aside(app, crm):
    crm.raw(crm.ids()[0], b'{"name":"nobody"}')
    pull(app, NAME)
    (entry,) = list_parked(app)
    assert entry["source_id"] is None
    discard_parked(app, [entry["id"]], Operator("ann", "not a deal"))
    summary = sweep(app, NAME)
    assert (summary.parked, summary.out_of_scope) == (0, 1)
    assert list(list_parked(app)) == []


def test_what_was_put_aside_lands_once_the_mapping_can_read_it(app, odd, knows_odd):
    (entry,) = list_parked(app)
    discard_parked(app, [entry["id"]], Operator("ann", "a test deal"))
    knows_odd()
    sweep(app, NAME)
    assert projected(app)[f"{NAME}:{odd}"]["stage"] == "odd"


def test_a_tombstone_ends_the_parking_of_its_deal(app, crm, odd):
    crm.delete(odd)
    sweep(app, NAME)
    assert shelf(app) == [(odd, "open")]
    assert sweep(app, NAME).events == 1
    assert shelf(app) == [(odd, "superseded")]
    assert retry_parked(app, None, NAME) == []


def test_what_is_held_back_of_a_deal_that_never_lived_ends_when_the_deal_does(app, crm):
    new = crm.create(name="Never seen alive", stage="Odd", total=1, currency="USD")
    pull(app, NAME)
    crm.delete(new)
    for _ in range(2):
        assert shelf(app) == [(new, "open")]
        assert sweep(app, NAME).events == 0
    assert shelf(app) == [(new, "superseded")]
    assert history(app, new) == []


def test_a_refused_event_cannot_be_put_aside_and_its_lane_is_reopened_once(app, crm):
    app.ledger = moody = Moody()
    pull(app, NAME)
    bad = crm.ids()[4]
    moody.refuse = {f"{NAME}:{bad}"}
    publish(app)
    (entry,) = list_parked(app)
    with pytest.raises(Unknown, match="cannot be discarded"):
        discard_parked(app, [entry["id"]], Operator("ann", "x"))
    retry_parked(app, [entry["id"]], None)
    publish(app)
    (again,) = list_parked(app)
    assert again["id"] != entry["id"]
    retry_parked(app, [entry["id"]], None)
    with app.store.read() as tx:
        assert tx.execute(select(outbox.c.parked)).scalars().all() == [True], "an entry long closed reopened the lane"
    assert [one["id"] for one in list_parked(app)] == [again["id"]]
    moody.refuse = set()
    retry_parked(app, None, None)
    assert publish(app).published == 1
    assert list(list_parked(app)) == []


def test_the_lanes_of_many_refused_events_are_reopened_together(app, crm):
    app.ledger = moody = Moody()
    pull(app, NAME)
    moody.refuse = {f"{NAME}:{deal}" for deal in crm.ids()}
    publish(app)
    assert len(list(list_parked(app))) == len(crm.ids())
    asked = []
    event.listen(app.store.engine, "before_cursor_execute", lambda *seen: asked.append(seen[2]))
    retry_parked(app, None, None)
    assert len([one for one in asked if one.startswith("UPDATE outbox")]) == 1
    moody.refuse = set()
    assert publish(app).published == len(crm.ids())


def test_numbers_that_are_not_there_are_told(app):
    for verb in (
        lambda: show_parked(app, 99),
        lambda: retry_parked(app, [99], None),
        lambda: discard_parked(app, [99], Operator("ann", "x")),
    ):
        with pytest.raises(Unknown, match="nothing is parked under number 99"):
            verb()
    with pytest.raises(Unknown, match="there is no connection"):
        list(list_parked(app, connection="nope"))


def test_the_list_is_read_in_pages_of_any_size(app, crm):
    for one in crm.ids()[:7]:
        crm.edit(one, stage="Odd")
    pull(app, NAME)
    whole = list(list_parked(app))
    assert len(whole) == 7
    for size in (1, 2, 3, 7, 8):
        found: list[dict] = []
        while page := list(list_parked(app, connection=NAME, limit=size, after=found[-1]["id"] if found else None)):
            assert len(page) <= size
            found.extend(page)
        assert found == whole
    assert list(list_parked(app, limit=0)) == []


def test_a_mapping_change_is_replayed_over_a_thousand_deals_and_back(open_world, tmp_path):
    crm = PlanhatSimulator(seed=2, deals=1000, token=TOKEN)
    app = open_world(crm)
    pull(app, NAME)
    publish(app)
    in_stage = {record["_id"] for record in crm.truth() if record["stage"] == "Negotiation"}
    file, asked = tmp_path / "dealsync.toml", len(crm.log)
    (tmp_path / "mine.toml").write_text(shipped("planhat").replace('= "negotiation"', '= "haggling"'))
    original = file.read_text()
    file.write_text(original.replace('source = "planhat"', 'source = "planhat"\nmapping = "mine.toml"'))
    app.settings = settings.load(file, {"PLANHAT_TOKEN": TOKEN})
    assert pull(app, NAME).events == len(in_stage) > 200
    assert {history(app, one)[-1][:2] for one in in_stage} == {("stage_change", "mapping_change")}
    assert pull(app, NAME).events == 0
    publish(app)
    assert {state["stage"] for state in ledger_states(app).values()} == {"haggling", "closed_won", "closed_lost"}
    file.write_text(original)
    app.settings = settings.load(file, {"PLANHAT_TOKEN": TOKEN})
    assert pull(app, NAME).events == len(in_stage)
    publish(app)
    assert ledger_states(app) == projected(app)
    assert rows(app)["events"] == 1000 + 2 * len(in_stage)
    assert len(crm.log) - asked <= 6, "the replay asked the source for nothing"


@pytest.mark.parametrize("road", ["a replay that is cut off", "a fetch"])
def test_a_mapping_change_that_is_taken_back_half_way_leaves_no_deal_behind(app, crm, tmp_path, road, monkeypatch):
    monkeypatch.setattr(replay, "AT_ONCE", 7)
    one = crm.create(name="One", stage="Negotiation", total=1, currency="USD")
    pull(app, NAME)
    crm.clock.advance(7200)
    crm.edit(crm.ids()[0], total=3)
    pull(app, NAME)
    original = app.settings
    file = tmp_path / "dealsync.toml"
    (tmp_path / "mine.toml").write_text(shipped("planhat").replace('= "negotiation"', '= "haggling"'))
    file.write_text(file.read_text().replace('source = "planhat"', 'source = "planhat"\nmapping = "mine.toml"'))
    app.settings = settings.load(file, {"PLANHAT_TOKEN": TOKEN})
    if road == "a fetch":
        fetch(app, NAME, one)
    else:

        def interrupt(summary):
            if summary.applied:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pull(app, NAME, progress=interrupt)
    assert "haggling" in {state["stage"] for state in projected(app).values()}
    app.settings = original
    pull(app, NAME)
    assert "haggling" not in {state["stage"] for state in projected(app).values()}
