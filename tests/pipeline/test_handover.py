"""Handover: whoever rang for workers waits as long as somebody is at work, and no longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from connectors.faults import Unavailable
from connectors.planhat.simulator import PlanhatSimulator
from pipeline import backfill, handover, tasks
from pipeline.backfill_work import work_on
from pipeline.faults import Busy
from pipeline.handover import hand_over
from pipeline.store import backfills, connections, leases, runs
from pipeline.store.session import now
from pipeline.wiring import App
from tests.pipeline.world import NAME

Ring = Callable[..., object]


@pytest.fixture
def app(open_world: Callable[..., App], crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch) -> App:
    """As with a broker, and with little patience."""
    app = open_world(crm)
    broker = app.settings.broker.model_copy(update={"url": "redis://127.0.0.1:1/0"})
    app.settings = app.settings.model_copy(update={"broker": broker})
    monkeypatch.setattr(tasks, "use_broker", lambda _: None)
    for module in (handover, backfill):
        monkeypatch.setattr(module, "PATIENCE_S", 0.5)
        monkeypatch.setattr(module, "LOOK_EVERY_S", 0.05)
    return app


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Ring], None]:
    """A worker that does the given when somebody rings for it."""
    return lambda do: monkeypatch.setattr(tasks, "ring", do)


def begun(app: App) -> int:
    """A pull begins; its number."""
    with app.store.write() as tx:
        return runs.start(tx, "pull", connections.enrol(tx, NAME, "planhat").id, now(tx))


def test_who_waits_for_a_worker_that_never_begins_is_told_so(app: App, worker: Callable[[Ring], None]):
    worker(lambda *_, **__: None)
    with pytest.raises(Unavailable, match="no worker began to pull"):
        hand_over(app, "pull", NAME, wait=True)


@pytest.mark.parametrize("wait", [True, False])
def test_where_somebody_reads_the_connection_already_nobody_is_rung_for(
    wait: bool, app: App, worker: Callable[[Ring], None]
):
    """A worker would find the lease taken, and leave it at that."""
    worker(lambda *_, **__: pytest.fail("it was rung"))
    with leases.hold(app.store, f"connection {NAME}"), pytest.raises(Busy, match="try again"):
        hand_over(app, "sweep", NAME, wait=wait)


def test_who_waits_for_a_worker_that_died_at_work_is_told_so(app: App, worker: Callable[[Ring], None]):
    worker(lambda *_, **__: begun(app))
    with pytest.raises(Unavailable, match=r"run 1 .* is gone"):
        hand_over(app, "pull", NAME, wait=True)


def test_who_waits_for_a_worker_that_takes_long_waits(app: App, worker: Callable[[Ring], None]):
    def pulling() -> None:
        with leases.hold(app.store, f"connection {NAME}"):
            run = begun(app)
            time.sleep(1.5)
            with app.store.write() as tx:
                runs.end(tx, run, "done", now(tx))

    worker(lambda *_, **__: threading.Thread(target=pulling).start())
    summary = hand_over(app, "pull", NAME, wait=True)
    assert summary is not None
    assert summary.run == 1


def test_who_waits_for_a_backfill_of_which_the_last_worker_died_is_told_so(app: App, worker: Callable[[Ring], None]):
    worker(lambda *_, **__: work_on(app, NAME))
    with pytest.raises(Unavailable, match=r"nobody has gone on with backfill 1 .* still to be read"):
        backfill.start(app, NAME, (None, None))


def test_who_waits_for_a_backfill_whose_workers_are_at_another_waits(app: App, worker: Callable[[Ring], None]):
    """There are fewer workers than backfills: a chunk of each in turn."""

    def working() -> None:
        work_on(app, NAME)
        with leases.hold(app.store, backfills.lease_name(99)):
            time.sleep(1.5)
        while work_on(app, NAME):
            pass

    worker(lambda *_, **__: threading.Thread(target=working).start())
    assert backfill.start(app, NAME, (None, None)).standing.state == "done"
