"""Whoever is told to end is gone within 15 seconds, whatever it waits for; whoever hangs is found out."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis as redis_client
from sqlalchemy import text
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulation import asgi, serve
from pipeline import alive, settings
from pipeline.faults import Interrupted
from pipeline.pull import pull
from pipeline.store import leases
from pipeline.wiring import App, migrate, open_app
from tests import servers
from tests.deploy.files import image_environment, instructions
from tests.pipeline.world import rows
from tests.waiting import eventually

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
ENDS_WITHIN_S = 15
DEALSYNC = str(Path(sys.executable).parent / "dealsync")
CONFIG = """\
[store]
url = "{store}"
[broker]
url = "{broker}"
[ledger]
kind = "openquota"
url = "{ledger}"
api_key = {{ env = "LEDGER_KEY" }}
[connections.planhat-eu]
source = "planhat"
base_url = "{crm}"
token = {{ env = "PLANHAT_TOKEN" }}
default_currency = "USD"
pull_every = "1h"
sweep_every = "1d"
[connections.planhat-eu.options]
page_size = 10
page_overlap = 2
requests_per_minute = 1000000
[connections.planhat-eu.webhook]
secrets = [{{ env = "PLANHAT_TOKEN" }}]
"""
SECRETS = {"PLANHAT_TOKEN": "sandbox", "LEDGER_KEY": "oq_live_none"}


class Slow:
    """An application that takes its time over every answer, and says how many it was asked for."""

    def __init__(self, app: ASGIApp, delay_s: float) -> None:
        self.app, self.delay_s, self.asked = app, delay_s, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        await self.app(scope, receive, send)


async def nobody(_: Scope, receive: Receive, __: Send) -> None:
    """A ledger that takes every request and answers none, as long as somebody waits for it."""
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with servers.redis() as url:
        yield url


class Processes:
    """Processes of one configuration, in the environment of the image."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.running = folder, []
        image = {name: value for name, value in image_environment(instructions()[-1]).items() if name != "PATH"}
        self.environ = {**os.environ, **image, **SECRETS, "DEALSYNC_TICK_EVERY_S": "0.5"}
        self.environ["DEALSYNC_CONFIG"] = str(folder / "dealsync.toml")

    def start(self, *command: str, **more: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{len(self.running)}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**self.environ, **more}, stdout=log, stderr=log, start_new_session=True
            )
        self.running.append(process)
        return process

    def worker(self, app: str = "worker", **more: str) -> subprocess.Popen[bytes]:
        celery = (sys.executable, "-m", "celery", "-A", app, "worker")
        return self.start(*celery, "--concurrency", "2", "--without-gossip", "--without-mingle", **more)

    def hurried_worker(self, seconds: int) -> subprocess.Popen[bytes]:
        """A worker whose tasks have so little time."""
        text = f"from worker import app\napp.conf.task_soft_time_limit = {seconds}\n"
        (self.folder / "hurried.py").write_text(text)
        return self.worker("hurried", PYTHONPATH=str(self.folder))

    def beat(self, **more: str) -> subprocess.Popen[bytes]:
        return self.start(sys.executable, "-m", "celery", "-A", "worker", "beat", **more)

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """Tell a process to end, as compose, systemd and Kubernetes do; its exit code."""
        process.send_signal(signal.SIGTERM)
        return process.wait(ENDS_WITHIN_S)

    def stop(self) -> None:
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def log(self) -> str:
        return "\n".join(file.read_text(errors="replace")[-3000:] for file in sorted(self.folder.glob("*.log")))


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.stop()


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=11, deals=400)


@pytest.fixture
def slow(crm: PlanhatSimulator) -> Slow:
    return Slow(asgi(crm), 0.7)


@pytest.fixture
def app(tmp_path: Path, postgres_url: str, broker: str, slow: Slow, processes: Processes) -> Iterator[App]:
    redis_client.Redis.from_url(broker).flushall()
    with serve(slow) as base_url, serve(nobody) as ledger:
        file = tmp_path / "dealsync.toml"
        file.write_text(CONFIG.format(store=postgres_url, broker=broker, crm=base_url, ledger=f"{ledger}/v1"))
        config = settings.load(file, SECRETS)
        migrate(config)
        with open_app(config) as app:
            yield app
            processes.stop()


def why(app: App, kind: str) -> str:
    """Why the latest run of a kind failed."""
    with app.store.read() as tx:
        found = tx.execute(text("SELECT state, reason FROM runs WHERE kind = :kind ORDER BY id DESC"), {"kind": kind})
        state, reason = found.first() or ("", "")
    assert state == "failed"
    return str(reason)


def held(app: App) -> set[str]:
    with app.store.read() as tx:
        return leases.held(tx)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("remapped", ["SIGQUIT", ""], ids=["as deployed", "by hand"])
def test_a_worker_in_the_middle_of_a_long_pull_ends_in_time_and_nobody_waits_for_it(
    app: App, slow: Slow, processes: Processes, remapped: str
):
    worker = processes.worker(REMAP_SIGTERM=remapped)
    processes.beat()
    eventually(lambda: slow.asked > 5, "it reads", told=processes.log)
    processes.end(worker)
    asked = slow.asked
    eventually(lambda: "connection planhat-eu" not in held(app), "its lease is free", 15, told=processes.log)
    assert slow.asked <= asked + 1, "its children are gone too"
    assert why(app, "pull") == str(Interrupted())
    slow.delay_s = 0.0
    pull(app, "planhat-eu")
    assert rows(app)["events"] == 400, "nothing is lost and nothing is done twice"


@pytest.mark.timeout(90)
def test_a_pull_that_takes_longer_than_a_task_may_is_done_in_parts(app: App, slow: Slow, processes: Processes):
    def cut_off() -> int:
        found = text("SELECT count(*) FROM runs WHERE kind = 'pull' AND reason = :why")
        with app.store.read() as tx:
            return int(tx.execute(found, {"why": str(Interrupted())}).scalar_one())

    processes.hurried_worker(3)
    processes.beat()
    eventually(lambda: cut_off() >= 2, "runs were cut off", told=processes.log)
    slow.delay_s = 0.0
    eventually(lambda: rows(app)["events"] == 400, "all was read", told=processes.log)
    assert "Traceback" not in processes.log()


@pytest.mark.timeout(90)
def test_a_worker_that_waits_for_a_ledger_ends_in_time(app: App, slow: Slow, processes: Processes):
    slow.delay_s = 0.0
    pull(app, "planhat-eu")
    worker = processes.worker()
    processes.beat()
    eventually(lambda: "publish" in held(app), "somebody publishes", told=processes.log)
    processes.end(worker)
    eventually(lambda: "publish" not in held(app), "its lease is free", 15, told=processes.log)
    assert why(app, "publish") == str(Interrupted()), "so the ledger is not taken to be away"
    assert rows(app)["outbox"] == 400


@pytest.mark.timeout(90)
@pytest.mark.parametrize("role", ["up", "serve"])
def test_whoever_serves_ends_in_time_while_the_source_and_the_ledger_keep_it_waiting(
    app: App, crm: PlanhatSimulator, slow: Slow, processes: Processes, role: str
):
    slow.delay_s = 0.0
    pull(app, "planhat-eu")
    slow.delay_s = 60.0
    server = processes.start(DEALSYNC, role, "--port", "0", DEALSYNC__BROKER__URL="none")
    eventually(lambda: "listens on" in processes.log(), "it listens", told=processes.log)
    address = re.findall(r"http://127\.0\.0\.1:\d+", processes.log())[0]
    body = f'{{"v":1,"tenant":"t","model":"Deal","op":"update","id":"{crm.ids()[0]}","updatedAt":"undefined"}}'
    headers = {"X-Planhat-Secret": SECRETS["PLANHAT_TOKEN"], "Content-Type": "application/json"}
    asked = slow.asked
    assert httpx.post(f"{address}/webhooks/planhat-eu", content=body, headers=headers).status_code == 202
    at_work = lambda: slow.asked > asked and (role == "serve" or "publish" in held(app))  # noqa: E731
    eventually(at_work, "it is at work", told=processes.log)
    assert processes.end(server) == 0, processes.log()
    assert "Traceback" not in processes.log()


def probe(file: Path) -> bool:
    """The probe of compose and Kubernetes, but for its patience."""
    command = [sys.executable, "-m", "pipeline.alive", "10"]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, alive.FILE: str(file)}, check=False).returncode == 0


@pytest.mark.timeout(150)
def test_a_worker_or_a_beat_that_is_frozen_is_found_out_and_one_that_goes_on_lives_again(
    app: App, tmp_path: Path, processes: Processes
):
    files = {"worker": tmp_path / "worker-alive", "beat": tmp_path / "beat-alive"}
    assert not probe(files["worker"]), "nothing lives yet"
    running = {
        "worker": processes.worker(**{alive.FILE: str(files["worker"])}),
        "beat": processes.beat(**{alive.FILE: str(files["beat"])}),
    }
    eventually(lambda: all(map(probe, files.values())), "all say that they live", told=processes.log)
    for name, process in running.items():
        os.killpg(process.pid, signal.SIGSTOP)
        eventually(lambda name=name: not probe(files[name]), f"{name} is silent", told=processes.log)
        os.killpg(process.pid, signal.SIGCONT)
        eventually(lambda name=name: probe(files[name]), f"{name} says that it lives", told=processes.log)


def test_systemds_watchdog_is_told(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        alive.tell({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert systemd.recv(64) == b"WATCHDOG=1"
    alive.tell({"NOTIFY_SOCKET": str(tmp_path / "notify"), alive.FILE: "/no/such/folder/alive"})
    assert not alive.lives({}, 60)
