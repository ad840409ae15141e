"""Backfills by real workers: chunk by chunk, killed and found again, while a webhook's deal does not wait for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client

from connectors.hints import Hint
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import Request, slow
from connectors.simulation import asgi, serve
from pipeline import settings
from pipeline.backfill_report import listed, standing
from pipeline.invariants import doctor
from pipeline.pull import pull
from pipeline.store import connections, hints
from pipeline.store.session import now
from pipeline.wiring import App, migrate, open_app
from tests import servers
from tests.e2e.test_workers import CONFIG, Fleet, in_step
from tests.pipeline.world import amounts
from tests.waiting import eventually

pytestmark = pytest.mark.long

NAME = "planhat-eu"


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with servers.redis() as url:
        yield url


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=11, deals=160)


@pytest.fixture
def fleet(tmp_path: Path, broker: str) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, broker)
    yield fleet
    fleet.stop()


@pytest.fixture
def app(tmp_path: Path, postgres_url: str, broker: str, crm: PlanhatSimulator, fleet: Fleet) -> Iterator[App]:
    """A connection that was pulled a moment ago, and that the schedule leaves alone for an hour."""
    with serve(asgi(crm)) as base_url:
        file = tmp_path / "dealsync.toml"
        text = CONFIG.format(store=postgres_url, broker=broker, crm=base_url)
        file.write_text(text.replace('"1s"', '"1h"').replace('"2s"', '"1h"'))
        config = settings.load(file, {"PLANHAT_TOKEN": "sandbox"})
        migrate(config)
        with open_app(config) as app:
            pull(app, NAME)
            yield app
            fleet.stop()


def a_page(request: Request) -> bool:
    return request.path == "/deals" and request.query.get("limit") == "20"


@pytest.mark.timeout(180)
def test_a_fetch_does_not_wait_for_a_backfill(app: App, crm: PlanhatSimulator, fleet: Fleet):
    """Every page of the backfill takes seconds. A deal that is hinted at meanwhile is in the ledger before it ends."""
    crm.faults.sometimes(1.0, slow(2.0), where=a_page)
    fleet.worker()
    fleet.beat()
    left = fleet.command("backfill", "start", NAME, "--no-wait", "--json")
    assert left.returncode == 0, left.stderr
    number = json.loads(left.stdout)["run"]
    eventually(lambda: standing(app, number).records > 0, "it has begun", told=fleet.logs)
    one = crm.ids()[-1]
    with crm.exclusive():
        crm.edit(one, total=4242)
    with app.store.write() as tx:
        row = connections.find(tx, NAME)
        assert row is not None
        hints.want(tx, row.id, [Hint(one)], now(tx))
    eventually(lambda: amounts(app, one)[-1] == 424_200, "the hint is heeded", told=fleet.logs)
    assert standing(app, number).state == "running"
    crm.faults.clear()
    eventually(lambda: standing(app, number).state == "done", "it is done", told=fleet.logs)
    assert amounts(app, one)[-1] == 424_200


@pytest.mark.timeout(180)
def test_a_worker_that_is_killed_and_a_broker_that_forgets_cost_a_backfill_only_time(
    app: App, crm: PlanhatSimulator, fleet: Fleet
):
    crm.faults.sometimes(1.0, slow(0.5), where=a_page)
    with crm.exclusive():
        for one in crm.ids()[::7]:
            crm.edit(one, total=31)
    doomed = fleet.worker()
    fleet.beat()
    fleet.command("backfill", "start", NAME, "--no-wait")
    eventually(lambda: bool(listed(app)) and listed(app)[0].done >= 1, "a chunk is done", told=fleet.logs)
    doomed.kill()
    doomed.wait()
    redis_client.Redis.from_url(fleet.broker).flushall()
    before = listed(app)[0]
    assert before.state == "running"
    crm.faults.clear()
    fleet.worker()
    eventually(lambda: listed(app)[0].state == "done", "it is done", told=fleet.logs)
    after = listed(app)[0]
    assert (after.percent, after.total, after.failed) == (100, before.total, 0)
    eventually(lambda: in_step(app, crm), "all is told", told=fleet.logs)
    assert [check for check in doctor(app) if not check.ok] == []


@pytest.mark.timeout(180)
def test_a_backfill_by_hand_is_done_by_a_worker_and_waited_for(app: App, crm: PlanhatSimulator, fleet: Fleet):
    fleet.worker()
    done = fleet.command("backfill", "start", NAME, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["read"], summary["unchanged"], summary["connection"]) == (160, 160, NAME)
    crm.switches.forbidden = True
    refused = fleet.command("backfill", "start", NAME)
    assert (refused.returncode, "403" in refused.stderr) == (4, True), refused.stderr
    crm.switches.forbidden = False
    assert fleet.command("backfill", "retry", str(listed(app)[-1].id)).returncode == 0


@pytest.mark.timeout(180)
def test_whoever_waits_for_a_backfill_of_a_paused_connection_is_told_so(app: App, crm: PlanhatSimulator, fleet: Fleet):
    crm.faults.sometimes(1.0, slow(0.5), where=a_page)
    fleet.worker()
    fleet.beat()
    assert fleet.command("backfill", "start", NAME, "--no-wait").returncode == 0
    number = listed(app)[0].id
    eventually(lambda: standing(app, number).records > 0, "it has begun", told=fleet.logs)
    fleet.command("pause", NAME, "--as", "ann")
    said = fleet.command("backfill", "resume", str(number))
    assert (said.returncode, f"after `dealsync resume {NAME}`" in said.stderr) == (6, True), said.stderr
    assert standing(app, number).state == "running"
    fleet.command("resume", NAME)
    crm.faults.clear()
    eventually(lambda: standing(app, number).state == "done", "it is done", told=fleet.logs)
