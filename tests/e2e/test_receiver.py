"""The receiver with workers: what a delivery announces is in the ledger without a pull, even if no message arrives."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis as redis_client

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_sender import Outgoing
from connectors.simulation import asgi, serve
from pipeline import settings
from pipeline.invariants import doctor
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.wiring import App, migrate, open_app
from tests import servers
from tests.e2e.test_workers import CONFIG, Fleet, in_step
from tests.waiting import eventually

SECRET = "of-the-hook"
RARELY = CONFIG.replace('pull_every = "1s"', 'pull_every = "1h"').replace('sweep_every = "2s"', 'sweep_every = "1d"')
WEBHOOK = '[connections.planhat-eu.webhook]\nsecrets = [{ env = "HOOK_SECRET" }]\n'


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with servers.redis() as url:
        yield url


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=11, deals=20)


@pytest.fixture
def fleet(tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    fleet = Fleet(tmp_path, broker)
    yield fleet
    fleet.stop()


@pytest.fixture
def app(tmp_path: Path, postgres_url: str, broker: str, crm: PlanhatSimulator, fleet: Fleet) -> Iterator[App]:
    with serve(asgi(crm)) as base_url:
        file = tmp_path / "dealsync.toml"
        file.write_text(RARELY.format(store=postgres_url, broker=broker, crm=base_url) + WEBHOOK)
        config = settings.load(file, {"PLANHAT_TOKEN": "sandbox", "HOOK_SECRET": SECRET})
        migrate(config)
        with open_app(config) as app:
            pull(app, "planhat-eu")
            publish(app)
            yield app
            fleet.stop()


@pytest.fixture
def webhook(app: App, fleet: Fleet) -> Iterator[str]:
    command = [str(Path(sys.executable).parent / "dealsync"), "serve", "--port", "0", "--json"]
    with (fleet.folder / "serve.log").open("w") as log:
        process = subprocess.Popen(command, env=fleet.environ, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    said = ""
    while not said.endswith("}\n"):
        line = process.stdout.readline()
        assert line, (fleet.folder / "serve.log").read_text()
        said += line
    yield f"{json.loads(said)['url']}/webhooks/planhat-eu"
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    process.stdout.close()


def change_everything(crm: PlanhatSimulator, webhook: str) -> list[int]:
    """Edits, a delete and a new deal, each announced by a delivery; how those were answered."""

    def post(attempt: Outgoing) -> int:
        headers = {**attempt.headers, "Content-Type": "application/json"}
        return httpx.post(webhook, content=attempt.body, headers=headers, timeout=20).status_code

    sender = crm.automate(post, headers=lambda: {"X-Planhat-Secret": SECRET})
    with crm.exclusive():
        crm.edit(crm.ids()[0], total=4321)
        crm.edit(crm.ids()[1], stage="Closed Won")
        crm.delete(crm.ids()[2])
        crm.create(name="New", total=5, stage="Negotiation", currency="USD")
    crm.settle()
    return sender.statuses


@pytest.mark.timeout(180)
def test_a_delivery_is_rung_for_and_what_it_announces_is_published(
    app: App, crm: PlanhatSimulator, fleet: Fleet, webhook: str
):
    fleet.worker()
    assert change_everything(crm, webhook) == [202] * 4
    eventually(lambda: in_step(app, crm), "all is told", told=fleet.logs)
    assert [check for check in doctor(app) if not check.ok] == []


@pytest.mark.timeout(180)
def test_deliveries_whose_message_was_lost_are_found_by_beat(
    app: App, crm: PlanhatSimulator, fleet: Fleet, webhook: str
):
    assert change_everything(crm, webhook) == [202] * 4
    waiting = redis_client.Redis.from_url(fleet.broker)
    eventually(lambda: waiting.llen("hint") > 0, "somebody has rung", told=fleet.logs)
    waiting.flushall()
    fleet.worker()
    fleet.beat()
    eventually(lambda: in_step(app, crm), "all is told", told=fleet.logs)
