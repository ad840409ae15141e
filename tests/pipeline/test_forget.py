"""Forgetting: what a reconcile has laid down goes when nobody can go on with it, and not before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, text, update

from connectors.faults import Unavailable
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import refused
from pipeline import forget as forgetting
from pipeline import settings, tasks
from pipeline.doorbell import doorbell
from pipeline.forget import forget
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.reconcile_reading import KEPT_FOR, STREAM
from pipeline.store import checkpoints, leases
from pipeline.store.session import later, now
from pipeline.store.side_tables import source_sides
from pipeline.store.tables import checkpoints as places
from pipeline.up import Crew
from pipeline.wiring import App
from tests.pipeline.world import NAME, TOKEN
from tests.waiting import eventually

DAYS = KEPT_FOR / timedelta(days=1)


@pytest.fixture
def cut(app: App, crm: PlanhatSimulator) -> App:
    """A reconcile has lost its source half way, and was asked for no more."""
    pull(app, NAME)
    publish(app)
    crm.faults.sometimes(1.0, refused(503), where=lambda request: request.query.get("offset") == "16")
    with pytest.raises(Unavailable):
        reconcile(app, NAME)
    crm.faults.clear()
    return app


def kept(app: App) -> tuple[int, bool]:
    """How many rows there are, and whether the place of the read is."""
    with app.store.read() as tx:
        rows = tx.execute(select(func.count()).select_from(source_sides)).scalar_one()
        place = checkpoints.moved_at(tx, 1, STREAM)
    return int(rows), place is not None


def age(app: App, days: float) -> None:
    """The last page of the read came so many days ago."""
    with app.store.write() as tx:
        old = update(places).where(places.c.stream == STREAM)
        tx.execute(old.values(moved_at=later(now(tx), -timedelta(days=days))))


def test_a_read_that_can_be_gone_on_with_stays(cut: App):
    before = kept(cut)
    assert before[0] > 0
    age(cut, DAYS - 0.01)
    forget(cut.store)
    assert kept(cut) == before == (before[0], True)


def test_one_that_nobody_has_gone_on_with_for_too_long_goes_with_its_place(cut: App):
    age(cut, DAYS + 0.01)
    forget(cut.store)
    assert kept(cut) == (0, False)


def test_whether_its_connection_is_still_configured_makes_no_difference(cut: App, tmp_path: Path):
    config = tmp_path / "dealsync.toml"
    config.write_text(config.read_text().replace(f"connections.{NAME}", "connections.another"))
    cut.settings = settings.load(config, {"PLANHAT_TOKEN": TOKEN})
    assert NAME not in cut.settings.connections
    before = kept(cut)
    forget(cut.store)
    assert kept(cut) == before, "another process may know it still"
    age(cut, DAYS + 0.01)
    forget(cut.store)
    assert kept(cut) == (0, False)


def test_rows_without_a_place_are_what_a_kill_has_left_of_a_read_that_was_over(cut: App):
    with cut.store.write() as tx:
        checkpoints.forget(tx, 1, STREAM)
    forget(cut.store)
    assert kept(cut) == (0, False)


def test_whoever_works_on_the_connection_is_left_alone(cut: App):
    before = kept(cut)
    age(cut, DAYS + 0.01)
    with leases.hold(cut.store, f"connection {NAME}"):
        forget(cut.store)
        assert kept(cut) == before
    forget(cut.store)
    assert kept(cut) == (0, False)


def test_the_places_of_other_streams_stay(cut: App):
    with cut.store.write() as tx:
        tx.execute(text("UPDATE checkpoints SET moved_at = '2000-01-01T00:00:00.000Z'"))
    forget(cut.store)
    with cut.store.read() as tx:
        assert tx.execute(select(places.c.stream)).scalars().all() == ["pull"]


def test_what_is_being_read_of_another_connection_stays(cut: App):
    with cut.store.write() as tx:
        tx.execute(text("INSERT INTO connections (name, source, state) VALUES ('another', 'planhat', 'ok')"))
        copy_to(tx, 2)
        checkpoints.move(tx, (2, STREAM), {}, run_id=1, at=now(tx))
    rows, _ = kept(cut)
    with cut.store.write() as tx:
        checkpoints.forget(tx, 1, STREAM)
    forget(cut.store)
    with cut.store.read() as tx:
        left = tx.execute(select(source_sides.c.connection_id)).scalars().all()
    assert left == [2] * (rows // 2)


def copy_to(tx: Connection, connection_id: int) -> None:
    rows = [row._asdict() | {"connection_id": connection_id} for row in tx.execute(select(source_sides))]
    tx.execute(insert(source_sides), rows)


def test_it_goes_a_part_at_a_time_and_several_may_do_it_at_once(cut: App, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forgetting, "_AT_ONCE", 3)
    age(cut, DAYS + 0.01)
    failed: list[BaseException] = []

    def attempt() -> None:
        try:
            forget(cut.store)
        except BaseException as error:
            failed.append(error)

    threads = [Thread(target=attempt) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    forget(cut.store)
    assert kept(cut) == (0, False)


def test_a_reconcile_after_it_begins_anew_and_finds_what_it_should(cut: App):
    age(cut, DAYS + 0.01)
    forget(cut.store)
    result = reconcile(cut, NAME)
    assert (result.summary.clean, result.summary.read >= 40) == (True, True)


@pytest.fixture
def removed(cut: App) -> App:
    """Nobody has known the connection for days."""
    age(cut, DAYS + 0.01)
    cut.settings = cut.settings.model_copy(update={"connections": {}})
    return cut


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Celery's own, of a setting of consumers
def test_the_tick_forgets(removed: App, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks, "_app", lambda: removed)
    assert tasks.tick.apply().successful()
    assert kept(removed) == (0, False)


@pytest.mark.parametrize("who", [Crew, doorbell], ids=["up", "serve"])
def test_so_does_who_works_without_a_broker(removed: App, who: Callable[[App], Any]):
    with closing(who(removed)):
        eventually(lambda: kept(removed) == (0, False), "it has forgotten")
