"""Real workers: celery processes against a real Redis-protocol server and a real PostgreSQL, reading over real HTTP.

What they survive is shown by `tests/faults`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulation import asgi, serve
from pipeline import settings
from pipeline.wiring import App, migrate, open_app
from tests import servers
from tests.pipeline.world import ledger_states, rows

ROOT = Path(__file__).parents[2]
CONFIG = """\
[store]
url = "{store}"
[broker]
url = "{broker}"
[connections.planhat-eu]
source = "planhat"
base_url = "{crm}"
token = {{ env = "PLANHAT_TOKEN" }}
default_currency = "USD"
pull_every = "1s"
sweep_every = "2s"
[connections.planhat-eu.options]
page_size = 20
page_overlap = 2
requests_per_minute = 1000000
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with servers.redis() as url:
        yield url


class Fleet:
    """Worker and beat processes of one configuration."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.folder, self.broker, self.running = folder, broker, []

    @property
    def environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "DEALSYNC_CONFIG": str(self.folder / "dealsync.toml"),
            "PLANHAT_TOKEN": "sandbox",
            "DEALSYNC_TICK_EVERY_S": "0.5",
        }

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "dealsync"), *words]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False, timeout=60)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "celery", "-A", "worker", *arguments]
        with (self.folder / f"{len(self.running)}-{arguments[0]}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=self.environ, stdout=log, stderr=log)
        self.running.append(process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        return self.start("worker", "--pool", "prefork", "--concurrency", "2")

    def beat(self) -> subprocess.Popen[bytes]:
        return self.start("beat")

    def stop(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def logs(self) -> str:
        return "\n".join(file.read_text(errors="replace")[-3000:] for file in sorted(self.folder.glob("*.log")))


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=11, deals=60)


@pytest.fixture
def fleet(tmp_path: Path, broker: str) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, broker)
    yield fleet
    fleet.stop()


@pytest.fixture
def app(tmp_path: Path, postgres_url: str, broker: str, crm: PlanhatSimulator, fleet: Fleet) -> Iterator[App]:
    with serve(asgi(crm)) as base_url:
        file = tmp_path / "dealsync.toml"
        file.write_text(CONFIG.format(store=postgres_url, broker=broker, crm=base_url))
        config = settings.load(file, {"PLANHAT_TOKEN": "sandbox"})
        migrate(config)
        with open_app(config) as app:
            yield app
            fleet.stop()


def in_step(app: App, crm: PlanhatSimulator) -> bool:
    """Every deal of the CRM is in the ledger as it stands there, and nothing waits."""
    held = ledger_states(app)
    alive = {name for name, state in held.items() if not state.get("deleted")}
    shown = {f"planhat-eu:{record['_id']}": record for record in crm.truth()}
    return (
        alive == set(shown)
        and rows(app)["outbox"] == 0
        and all(held[name]["amount_cents"] == round(record["total"] * 100) for name, record in shown.items())
    )


def test_a_worker_without_a_broker_ends_with_one_line(tmp_path: Path, fleet: Fleet):
    (tmp_path / "dealsync.toml").write_text('[store]\nurl = "sqlite:///x.db"\n')
    worker = fleet.worker()
    assert worker.wait(30) != 0
    assert "broker.url" in fleet.logs()
    assert "Traceback" not in fleet.logs()


@pytest.mark.timeout(120)
def test_a_pull_by_hand_is_done_by_a_worker_and_waited_for(app: App, crm: PlanhatSimulator, fleet: Fleet):
    fleet.worker()
    done = fleet.command("pull", "planhat-eu", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["events"] == len(crm.ids())
    crm.switches.forbidden = True
    refused = fleet.command("pull", "planhat-eu")
    assert (refused.returncode, "403" in refused.stderr) == (4, True), refused.stderr
    left = fleet.command("sweep", "planhat-eu", "--no-wait")
    assert (left.returncode, "left to the workers" in left.stderr) == (0, True), left.stderr
