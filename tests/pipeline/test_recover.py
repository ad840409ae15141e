"""Recover: a lost or older store is rebuilt from the ledger, and the ledger is told nothing twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, insert, select, text

from connectors.planhat.simulator import PlanhatSimulator
from deals.identity import dedup_key, digest
from ledger.embedded import EmbeddedLedger
from ledger.memory import MemoryLedger
from ledger.port import Ledger
from pipeline import settings
from pipeline.audit import Operator, list_audits
from pipeline.explain import explain
from pipeline.faults import Busy, StaleLease, Stopped
from pipeline.invariants import doctor
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.recover import recover
from pipeline.store import leases
from pipeline.store.operator_tables import held_events, held_sets
from pipeline.store.tables import events, receipts
from pipeline.sweep import sweep
from pipeline.unrecovered import refuse_unrecovered
from pipeline.wiring import App, migrate, open_app
from tests import servers
from tests.ledger import subjects
from tests.pipeline.reconciling import append, named
from tests.pipeline.test_reconcile import oldest
from tests.pipeline.world import CONFIG, NAME, TOKEN, history, ledger_states, projected, rows

UNREAD = {"stage": None, "owner_external_id": None, "close_date": "2026-12-31T00:00:00.000Z"}
"""The ledger takes a time for a day; we never send one."""


class World:
    """A CRM and a ledger that stay, and stores that come and go."""

    def __init__(self, crm: PlanhatSimulator, folder: Path, url: str, ledger: Ledger, empty: str) -> None:
        """`empty` is an empty store on the database at `url`, to be copied: that is quicker than to make the tables."""
        self.crm, self.folder, self.url, self.ledger, self.empty = crm, folder, url, ledger, empty
        self.made = 0

    @contextmanager
    def store(self, url: str | None = None) -> Iterator[App]:
        """An app over a store at `url`, or over a new and empty one."""
        file = self.folder / "dealsync.toml"
        file.write_text(CONFIG.format(url=url or self.new(), connection="", extra=""))
        config = settings.load(file, {"PLANHAT_TOKEN": TOKEN})
        migrate(config)
        with open_app(config, transports={NAME: self.crm.transport()}, give_up_after_s=2.0) as app:
            servers.unsynced(app.store.engine)
            yield replace(app, ledger=self.ledger)

    def new(self) -> str:
        """The address of a store that nobody has used."""
        return self._copy(self.empty)

    def backup(self, url: str) -> str:
        """A copy of a closed store as it is now."""
        return self._copy(url.removeprefix("sqlite:///") if url.startswith("sqlite") else database_in(url))

    def _copy(self, template: str) -> str:
        self.made += 1
        if self.url.startswith("sqlite"):
            file = self.folder / f"store{self.made}.db"
            shutil.copy(template, file)
            return f"sqlite:///{file}"
        address, _, query = self.url.partition("?")
        name = f"{address.rsplit('/', 1)[1]}_{self.made}"
        with psycopg.connect(self.url, autocommit=True, dbname="postgres") as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        address = f"{address.rsplit('/', 1)[0]}/{name}"
        return f"{address}?{query}" if query else address

    def events(self) -> int:
        """How many events the ledger has taken."""
        assert isinstance(self.ledger, MemoryLedger)
        return len(self.ledger.events)


def database_in(url: str) -> str:
    """The name of the database that a PostgreSQL's URL names."""
    return url.partition("?")[0].rsplit("/", 1)[1]


def clock() -> str:
    return "2026-11-01T00:00:00.000Z"


@pytest.fixture
def empty(request: pytest.FixtureRequest, database_url: str) -> str:
    """The file or the database that holds a migrated store without anything in it."""
    kind = "migrated_file" if database_url.startswith("sqlite") else "migrated_database"
    return str(request.getfixturevalue(kind))


@pytest.fixture
def world(crm: PlanhatSimulator, tmp_path: Path, database_url: str, empty: str) -> World:
    return World(crm, tmp_path, database_url, MemoryLedger(now=clock), empty)


def settle(app: App) -> None:
    pull(app, NAME)
    publish(app)


def states(world: World) -> dict[str, Any]:
    return {deal.external_id: deal.state for deal in world.ledger.deals()}


def healthy(app: App) -> list[str]:
    return [f"{one.name}: {one.message}" for one in doctor(app) if not one.ok]


def test_a_rebuilt_store_says_who_rebuilt_it_and_why(world: World):
    with world.store() as app:
        settle(app)
    with world.store() as app:
        recover(app, NAME, operator=Operator("ann", "a look"))
        assert list(list_audits(app)) == []
        done = recover(app, NAME, send=True, operator=Operator("ann", "the disk died"))
        (kept,) = list_audits(app)
        assert (kept["who"], kept["action"], kept["connection"]) == ("ann", "recover --send", NAME)
        assert kept["reason"] == "the disk died"
        assert kept["outcome"] == f"{done.adopted} deals adopted, 0 events taken back in run {done.summary.run}"


def test_a_lost_store_is_rebuilt_and_the_ledger_is_told_nothing(world: World):
    with world.store() as app:
        settle(app)
        before = projected(app)
    told = world.events()
    with world.store() as app:
        look = recover(app, NAME)
        assert (look.sent, look.held, look.differences) == (False, len(before), [])
        assert rows(app) == {"events": 0, "outbox": 0, "receipts": 0}
        done = recover(app, NAME, send=True)
        assert (done.sent, done.adopted, done.summary.events) == (True, len(before), 0)
        assert projected(app) == before
        settle(app)
        sweep(app, NAME)
        assert reconcile(app, NAME).differences == []
        assert rows(app)["outbox"] == 0
        assert healthy(app) == []
    assert world.events() == told


def test_what_changed_meanwhile_is_shown_first_and_then_sent_once(world: World, crm: PlanhatSimulator):
    with world.store() as app:
        settle(app)
    told = world.events()
    deal, amount = oldest(crm), crm.get(oldest(crm))["total"]
    crm.edit(deal, total=amount + 7)
    fresh = crm.create(total=5, currency="USD")
    gone = next(one for one in crm.ids() if one not in (deal, fresh))
    crm.delete(gone)
    with world.store() as app:
        look = recover(app, NAME)
        kinds = {one.source_id: (one.kind, one.fields) for one in look.differences}
        assert kinds == {deal: ("differs", ("amount_cents",)), fresh: ("missing", ()), gone: ("extra", ())}
        assert world.events() == told
        done = recover(app, NAME, send=True)
        assert done.differences == look.differences
        assert done.summary.events == 2
        publish(app)
        assert world.events() == told + 2
        assert history(app, deal)[-1][:2] == ("amount_change", "repair")
        sweep(app, NAME)
        assert sweep(app, NAME).events == 1  # the one that is gone, proven the usual way
        publish(app)
        assert reconcile(app, NAME).differences == []
        assert healthy(app) == []


@pytest.mark.parametrize(("since", "now"), [((200, 100), 200), ((200, 300), 200)])
def test_an_older_store_catches_up_with_the_ledger_and_uses_no_key_again(
    world: World, crm: PlanhatSimulator, since: tuple[int, ...], now: int
):
    """100 -> 200 -> 100 went to the ledger; the backup knows the first 100, and the source is at 200 again.

    Without a new epoch the second 200 would bear the key of the first, and the ledger would stay at 100.
    """
    deal = oldest(crm)
    original = world.new()
    with world.store(original) as app:
        crm.edit(deal, total=100)
        settle(app)
    older = world.backup(original)
    with world.store(original) as app:
        for amount in since:
            crm.edit(deal, total=amount)
            settle(app)
    crm.edit(deal, total=now)
    told = world.events()
    with world.store(older) as app:
        look = recover(app, NAME)
        assert [(one.source_id, one.delta_cents) for one in look.differences] == [(deal, (since[-1] - now) * 100)]
        recover(app, NAME, send=True)
        publish(app)
        assert reconcile(app, NAME).differences == []
        assert healthy(app) == []
    assert world.events() == told + 1
    assert states(world)[named(deal)]["amount_cents"] == now * 100


def test_events_that_a_backup_still_held_back_are_not_sent_again(world: World, crm: PlanhatSimulator):
    deal = oldest(crm)
    original = world.new()
    with world.store(original) as app:
        settle(app)
        crm.edit(deal, total=100)
        pull(app, NAME)
    older = world.backup(original)
    with world.store(original) as app:
        publish(app)
        crm.edit(deal, total=200)
        settle(app)
    told = world.events()
    with world.store(older) as app:
        assert rows(app)["outbox"] == 1
        done = recover(app, NAME, send=True)
        assert (done.withdrawn, done.summary.events) == (1, 0)
        publish(app)
        assert healthy(app) == []
        assert projected(app)[named(deal)]["amount_cents"] == 20_000
    assert world.events() == told


def test_publish_from_an_older_store_adds_nothing_that_is_there_already(world: World, crm: PlanhatSimulator):
    original = world.new()
    with world.store(original) as app:
        pull(app, NAME)
    older = world.backup(original)
    with world.store(original) as app:
        publish(app)
        crm.edit(oldest(crm), total=200)
        settle(app)
    told, held = world.events(), states(world)
    with world.store(older) as app:
        publish(app)
    assert (world.events(), states(world)) == (told, held)


def test_a_deal_the_ledger_has_lost_is_told_again(world: World):
    """The other way round: the store is whole, and the ledger is an older one, or empty."""
    original = world.new()
    with world.store(original) as app:
        settle(app)
        count = len(projected(app))
    world.ledger = MemoryLedger(now=clock)
    with world.store(original) as app:
        look = recover(app, NAME)
        assert {one.kind for one in look.differences} == {"missing"}
        assert recover(app, NAME, send=True).summary.events == count
        assert recover(app, NAME, send=True).summary.events == count  # taken back, and decided anew
        publish(app)
        assert reconcile(app, NAME).differences == []
        assert healthy(app) == []
    assert world.events() == count


def test_a_tombstone_in_the_ledger_stays_one(world: World, crm: PlanhatSimulator):
    gone = crm.ids()[4]
    with world.store() as app:
        settle(app)
        crm.delete(gone)
        sweep(app, NAME)
        sweep(app, NAME)
        publish(app)
    told = world.events()
    with world.store() as app:
        assert recover(app, NAME, send=True).summary.events == 0
        publish(app)
        assert world.events() == told
        crm.restore(gone)
        settle(app)
        assert history(app, gone)[-1][:2] == ("upsert", "undelete")
        assert reconcile(app, NAME).differences == []


def test_what_somebody_else_wrote_that_nobody_can_read_is_set_right(world: World, crm: PlanhatSimulator):
    deal = oldest(crm)
    with world.store() as app:
        settle(app)
        append(app, named(deal), {**UNREAD, "amount_cents": 1})
    with world.store() as app:
        assert [one.source_id for one in recover(app, NAME).differences] == [deal]
        recover(app, NAME, send=True)
        publish(app)
        assert reconcile(app, NAME).differences == []


def test_an_adopted_deal_is_explained_as_what_it_is_and_no_new_mapping_reads_it(world: World, crm: PlanhatSimulator):
    with world.store() as app:
        settle(app)
        append(app, named("only-there"), {"amount_cents": 5, "stage": "x", "close_date": None, "extra": 1})
    url = world.new()
    with world.store(url) as app:
        recover(app, NAME, send=True)
        told = explain(app, named("only-there"))
        assert told["fields"]["amount_cents"]["value"] == 5
        assert "ledger" in told["fields"]["amount_cents"]["rule"]
        assert told["receipt"]["outcome"] == "already_there"
        assert explain(app, named(oldest(crm)))["fields"]["amount_cents"]["cause"] == "repair"
        assert sorted(one.source_id for one in reconcile(app, NAME).differences) == ["only-there"]
    with world.store(url) as app:
        pull(app, NAME)
        app.settings.connections[NAME] = app.settings.connections[NAME].model_copy(
            update={"default_currency": None, "currency_policy": "pass"}
        )
        assert pull(app, NAME).parked == 0


def test_a_parked_record_is_parked_in_the_rebuilt_store_too(world: World, crm: PlanhatSimulator):
    with world.store() as app:
        settle(app)
    told = world.events()
    crm.edit(crm.ids()[3], stage="Nowhere")
    with world.store() as app:
        done = recover(app, NAME, send=True)
        assert (done.summary.parked, done.summary.events, done.summary.clean) == (1, 0, False)
        counts = done.summary
        assert counts.read == counts.applied + counts.unchanged + counts.superseded + counts.parked
    assert world.events() == told


def test_recovering_twice_is_as_good_as_once(world: World, crm: PlanhatSimulator):
    with world.store() as app:
        settle(app)
    crm.edit(oldest(crm), total=1)
    told = world.events()
    with world.store() as app:
        recover(app, NAME, send=True)
        again = recover(app, NAME, send=True)
        assert (again.withdrawn, again.summary.events) == (1, 1)
        publish(app)
        assert recover(app, NAME, send=True).summary.events == 0
        assert healthy(app) == []
    assert world.events() == told + 1


def test_the_epoch_is_drawn_anew_and_other_processes_that_know_the_old_one_use_it(world: World, crm: PlanhatSimulator):
    url, deal = world.new(), oldest(crm)
    with world.store(url) as app, world.store(url) as other:
        settle(app)
        before = other.store.epoch
        recover(app, NAME, send=True)
        assert app.store.epoch != before
        crm.edit(deal, total=4711)
        pull(other, NAME)
        with other.store.read() as tx:
            found = select(events.c.dedup_key, events.c.event_type, events.c.state, events.c.revision)
            key, kind, state, revision = tx.execute(found.order_by(events.c.revision.desc()).limit(1)).one()
            earlier = select(events.c.dedup_key).where(events.c.source_id == deal)
            previous = tx.execute(earlier.where(events.c.revision == revision - 1)).scalar_one()
        parts = {"connection": NAME, "source_id": deal, "revision": revision, "previous": previous}
        change = (kind, digest(state.encode()))
        assert key == dedup_key(epoch=app.store.epoch, **parts, change=change)
        assert key != dedup_key(epoch=before, **parts, change=change)


def test_nothing_is_rebuilt_while_somebody_publishes(world: World):
    with world.store() as app:
        settle(app)
        with leases.hold(app.store, "publish"):
            assert recover(app, NAME).differences == []
            with pytest.raises(Busy):
                recover(app, NAME, send=True)


def test_nothing_is_rebuilt_by_whoever_was_away_while_another_began_to_publish(world: World, crm: PlanhatSimulator):
    """Else what that one sends at this moment would have a receipt that says it never was."""
    with world.store() as app:
        pull(app, NAME)
        before = rows(app)

        def taken_over(_: object) -> None:
            with app.store.write() as tx:
                tx.execute(text("UPDATE leases SET token = token + 1 WHERE name = 'publish'"))

        crm.before_list = taken_over
        with pytest.raises(StaleLease, match="publish"):
            recover(app, NAME, send=True)
        assert rows(app) == before
        assert before["outbox"] == len(crm.ids())


def test_an_empty_store_before_a_full_ledger_is_noticed_before_anything_is_sent(world: World):
    with world.store() as app:
        refuse_unrecovered(app)
        pull(app, NAME)
        refuse_unrecovered(app)
        publish(app)
        refuse_unrecovered(app)
    with world.store() as app:
        refuse_unrecovered(app)
        pull(app, NAME)
        with pytest.raises(Stopped, match=f"dealsync recover {NAME}"):
            refuse_unrecovered(app)
        recover(app, NAME, send=True)
        refuse_unrecovered(app)


def test_the_real_ledgers_are_recovered_from_like_the_fake(world: World, crm: PlanhatSimulator):
    with world.store() as keeper:
        engine = keeper.store.engine
        with subjects.remote(engine, batches=False) as subject:
            for ledger, told in (
                (EmbeddedLedger(engine, org="org_of_this_test", now=keeper.store.now), None),
                (subject.ledger, subject.history),
            ):
                world.ledger = ledger
                with world.store() as app:
                    settle(app)
                held = states(world)
                before = told() if told else None
                with world.store() as app:
                    assert recover(app, NAME, send=True).summary.events == 0
                    settle(app)
                    assert ledger_states(app).keys() == held.keys()
                    with app.store.read() as tx:
                        assert tx.execute(select(func.count()).select_from(receipts)).scalar_one() == len(held)
                assert states(world) == held
                assert (told() if told else None) == before


def test_a_change_set_that_waits_is_decided_by_rebuilding_the_store(world: World):
    with world.store() as app:
        settle(app)
        pull(app, NAME)
        with app.store.write() as tx:
            row = {"connection_id": 1, "run_id": 1, "reason": "too many deletes", "since": "t", "state": "held"}
            number = tx.execute(insert(held_sets).values(**row).returning(held_sets.c.id)).scalar_one()
            tx.execute(insert(held_events).values(connection_id=1, source_id="d", revision=1, set_id=number))
        recover(app, NAME, send=True)
        with app.store.read() as tx:
            assert tx.execute(select(held_sets.c.state, held_sets.c.decided_by)).all() == [("discarded", "recover")]
            assert tx.execute(select(held_events)).all() == []
