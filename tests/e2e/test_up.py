"""`dealsync up`: real processes that pull, receive webhooks and publish without a broker, and end in the same place
however they are stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_sender import Outgoing
from connectors.simulation import asgi, serve
from pipeline import settings
from pipeline.invariants import doctor
from pipeline.wiring import App, migrate, open_app
from tests.e2e.test_workers import in_step
from tests.waiting import eventually

pytestmark = pytest.mark.long

SECRET = "of-the-hook"
CONFIG = """\
[store]
url = "{store}"
[connections.planhat-eu]
source = "planhat"
base_url = "{crm}"
token = {{ env = "PLANHAT_TOKEN" }}
default_currency = "USD"
pull_every = "{pull_every}"
sweep_every = "{sweep_every}"
[connections.planhat-eu.options]
page_size = 10
page_overlap = 2
requests_per_minute = 1000000
[connections.planhat-eu.webhook]
secrets = [{{ env = "HOOK_SECRET" }}]
"""
DEALSYNC = str(Path(sys.executable).parent / "dealsync")


class Up:
    """Processes of `dealsync up` over one configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.running = folder, []
        self.environ = {
            **os.environ,
            "DEALSYNC_CONFIG": str(folder / "dealsync.toml"),
            "PLANHAT_TOKEN": "sandbox",
            "HOOK_SECRET": SECRET,
        }

    def start(self) -> tuple[subprocess.Popen[str], str]:
        """Another process, and where it listens."""
        with (self.folder / f"{len(self.running)}-up.log").open("w") as log:
            process = subprocess.Popen(
                [DEALSYNC, "up", "--port", "0", "--json"],
                env=self.environ,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.running.append(process)
        assert process.stdout is not None
        said = ""
        while not said.endswith("}\n"):
            line = process.stdout.readline()
            assert line, self.logs()
            said += line
        return process, json.loads(said)["url"]

    def command(self, *words: str) -> Any:
        """The document a command prints."""
        done = subprocess.run(
            [DEALSYNC, *words, "--json"], env=self.environ, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def end(self, process: subprocess.Popen[str], how: signal.Signals) -> int:
        """Stop a process; its exit code. It has 15 seconds."""
        process.send_signal(how)
        code = process.wait(15)
        assert process.stdout is not None
        process.stdout.close()
        return code

    def stop(self) -> None:
        for process in self.running:
            if process.poll() is None:
                self.end(process, signal.SIGKILL)

    def logs(self) -> str:
        return "\n".join(file.read_text(errors="replace")[-3000:] for file in sorted(self.folder.glob("*.log")))


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=11, deals=60)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path)
    yield up
    up.stop()


@pytest.fixture
def world(tmp_path: Path, crm: PlanhatSimulator, up: Up) -> Iterator[Callable[..., App]]:
    """Writes the configuration, and opens an app beside the processes to look with."""
    opened = []
    with serve(asgi(crm)) as base_url:

        def opening(store: str, pull_every: str = "1s", sweep_every: str = "2s") -> App:
            file = tmp_path / "dealsync.toml"
            file.write_text(CONFIG.format(store=store, crm=base_url, pull_every=pull_every, sweep_every=sweep_every))
            config = settings.load(file, {"PLANHAT_TOKEN": "sandbox", "HOOK_SECRET": SECRET})
            migrate(config)
            opened.append(open_app(config))
            return opened[-1].__enter__()

        yield opening
        up.stop()
        for one in opened:
            one.__exit__(None, None, None)


def edits(crm: PlanhatSimulator) -> None:
    with crm.exclusive():
        crm.edit(crm.ids()[0], total=4321)
        crm.edit(crm.ids()[1], stage="Closed Won")
        crm.delete(crm.ids()[2])
        crm.create(name="New", total=5, stage="Negotiation", currency="USD")


def told_once(app: App) -> bool:
    """The ledger has exactly the events that were decided, and everything that must hold does."""
    with app.store.read() as tx:
        decided = tx.execute(text("SELECT dedup_key FROM events ORDER BY dedup_key")).scalars().all()
        held = tx.execute(text("SELECT dedup_key FROM ledger_source_events ORDER BY dedup_key")).scalars().all()
    return decided == held and [check for check in doctor(app) if not check.ok] == []


@pytest.mark.timeout(240)
def test_one_process_pulls_sweeps_publishes_and_receives_until_it_is_told_to_stop(
    world: Callable[..., App], crm: PlanhatSimulator, up: Up, tmp_path: Path
):
    app = world(f"sqlite:///{tmp_path / 'store.db'}")
    process, _ = up.start()
    eventually(lambda: in_step(app, crm), "all is told", told=up.logs)
    edits(crm)
    eventually(lambda: in_step(app, crm), "all is told", told=up.logs)
    assert up.end(process, signal.SIGTERM) == 0, up.logs()
    assert "Traceback" not in up.logs()
    assert told_once(app)


@pytest.mark.timeout(240)
def test_what_a_webhook_announces_is_in_the_ledger_without_a_pull(
    world: Callable[..., App], crm: PlanhatSimulator, up: Up, tmp_path: Path
):
    app = world(f"sqlite:///{tmp_path / 'store.db'}", pull_every="1h", sweep_every="1d")
    _, url = up.start()
    eventually(lambda: in_step(app, crm), "all is told", told=up.logs)

    def post(attempt: Outgoing) -> int:
        headers = {**attempt.headers, "Content-Type": "application/json"}
        return httpx.post(f"{url}/webhooks/planhat-eu", content=attempt.body, headers=headers, timeout=20).status_code

    sender = crm.automate(post, headers=lambda: {"X-Planhat-Secret": SECRET})
    edits(crm)
    crm.settle()
    assert sender.statuses == [202] * 4
    eventually(lambda: in_step(app, crm), "all is told", told=up.logs)
    assert told_once(app)


@pytest.mark.timeout(240)
def test_a_process_that_is_killed_again_and_again_ends_in_the_same_place(
    world: Callable[..., App], crm: PlanhatSimulator, up: Up, tmp_path: Path
):
    app = world(f"sqlite:///{tmp_path / 'store.db'}")
    for life in range(4):
        process, _ = up.start()
        time.sleep(0.3 * life)
        crm.edit(crm.ids()[life], total=1000 + life)
        up.end(process, signal.SIGKILL)
    edits(crm)
    process, _ = up.start()
    eventually(lambda: in_step(app, crm), "all is told", told=up.logs)
    assert up.end(process, signal.SIGTERM) == 0
    assert told_once(app)


@pytest.mark.timeout(240)
def test_two_of_them_on_one_store_do_no_harm(
    world: Callable[..., App], crm: PlanhatSimulator, up: Up, postgres_url: str
):
    app = world(postgres_url)
    first, _ = up.start()
    up.start()
    eventually(lambda: in_step(app, crm), "all is told", told=up.logs)
    edits(crm)
    eventually(lambda: in_step(app, crm), "all is told", told=up.logs)
    up.end(first, signal.SIGKILL)
    crm.edit(crm.ids()[5], total=99)
    eventually(lambda: in_step(app, crm), "all is told", told=up.logs)
    assert told_once(app)


@pytest.mark.timeout(240)
def test_a_connection_is_paused_and_resumed_while_the_process_runs(
    world: Callable[..., App], crm: PlanhatSimulator, up: Up, tmp_path: Path
):
    app = world(f"sqlite:///{tmp_path / 'store.db'}")
    up.start()
    eventually(lambda: in_step(app, crm), "all is told", told=up.logs)
    said = up.command("pause", "planhat-eu", "--as", "ann", "--reason", "a migration")
    assert (said["paused"]["who"], said["paused"]["reason"]) == ("ann", "a migration")

    def quiet() -> bool:
        (shown,) = up.command("status")["connections"]
        return shown["state"] == "paused" and shown["next"]["pull"] == {"at": None, "why": "paused"}

    eventually(quiet, "nothing is done any more", told=up.logs)
    asked = len(crm.log)
    edits(crm)
    time.sleep(4)
    assert len(crm.log) - asked <= 10, "at most the run that was under way when it was paused"
    assert not in_step(app, crm)
    assert up.command("resume", "planhat-eu", "--as", "ann")["was_paused"]
    eventually(lambda: in_step(app, crm), "all is told", told=up.logs)
    assert [(one["who"], one["action"]) for one in up.command("audit")["audit"]] == [
        ("ann", "pause"),
        ("ann", "resume"),
    ]
