"""A worker that was cut off from its broker hears again; one that is deaf or hangs ends, and nobody else does."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from celery import Celery
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from connectors.simulation import serve
from pipeline import settings
from pipeline.wiring import migrate
from tests.faults.backing import Valkey
from tests.faults.relay import Relay, Rewriting
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
PROCESSES = 2
CONFIG = """\
[store]
url = "sqlite:///{folder}/store.db"
[broker]
url = "redis://127.0.0.1:{broker}/0"
"""
CONNECTION = """\
[connections.planhat-{number}]
source = "planhat"
base_url = "{crm}"
token = {{ env = "PLANHAT_TOKEN" }}
"""


class Door:
    """A CRM that takes requests, answers none before it is opened, and then refuses them all."""

    def __init__(self) -> None:
        self.asked, self.open = 0, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        while not self.open:
            await asyncio.sleep(0.005)
        await JSONResponse({}, 401)(scope, receive, send)


class Worker:
    """One worker on a broker of its own, and whoever rings for it."""

    def __init__(self, folder: Path, door: Door, port: int) -> None:
        self.folder, self.door = folder, door
        self.deaf, self.unheard = False, 0
        self.broker = Valkey(folder / "broker", port)
        self.relay = Relay(("127.0.0.1", self.broker.port), ear=lambda: Rewriting(self._passed))
        self.bell = Celery(broker=f"redis://127.0.0.1:{self.broker.port}/0", set_as_current=False)

    def _passed(self, command: list[bytes]) -> list[bytes]:
        """Deaf, it waits for what nobody ever rings for, and the broker answers it well."""
        if not self.deaf or command[0] != b"BRPOP":
            return command
        self.unheard += 1
        return [b"BRPOP", b"nothing", command[-1]]

    @contextmanager
    def running(self, crm: str = "", app: str = "worker") -> Iterator[subprocess.Popen[bytes]]:
        connections = [CONNECTION.format(number=number, crm=crm) for number in range(PROCESSES if crm else 0)]
        file = self.folder / "dealsync.toml"
        file.write_text("\n".join([CONFIG.format(folder=self.folder, broker=self.relay.port), *connections]))
        more = {"DEALSYNC_CONFIG": str(file), "PLANHAT_TOKEN": "sandbox", "DEALSYNC_LISTENS_EVERY_S": "0.5"}
        environ = {**os.environ, **more}
        migrate(settings.load(file, environ))
        command = ["celery", "-A", app, "worker", "--concurrency", str(PROCESSES)]
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, "--without-gossip", "--without-mingle"],
                cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            eventually(lambda: " ready." in self.log(), "the worker is ready")
            yield process
        finally:
            print(self.log())  # shown when the test fails
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.bell.close()
            self.relay.close()
            self.broker.signal(signal.SIGCONT)
            self.broker.kill()

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def ring(self) -> None:
        """For every process of the worker, and for each on another connection."""
        for number in range(PROCESSES):
            message = {"connection": f"planhat-{number}"}
            self.bell.send_task("reconcile", kwargs=message, queue="pull", ignore_result=True)

    def is_busy(self) -> None:
        """Each of its processes is at work."""
        eventually(lambda: self.door.asked == PROCESSES, "the CRM is asked")

    def hears(self, rings: int) -> None:
        """So many times was rung for it; what it had not acknowledged may come again."""

        def taken() -> int:
            return len(set(re.findall(r"Task reconcile\[(.+?)\] received", self.log())))

        eventually(lambda: taken() == rings * PROCESSES, "every message is taken", 30)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def worker(tmp_path: Path, door: Door, port: int) -> Worker:
    return Worker(tmp_path, door, port)


def killed(worker: Worker) -> Callable[[], None]:
    worker.broker.kill()
    return worker.broker.start


def paused(worker: Worker) -> Callable[[], None]:
    """It gives no answer for longer than its clients are patient."""
    worker.broker.signal(signal.SIGSTOP)
    return lambda: worker.broker.signal(signal.SIGCONT)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("harmed", [killed, paused], ids=lambda harmed: f"broker {harmed.__name__}")
def test_a_worker_whose_acknowledgements_all_fail_hears_again_when_its_broker_is_back(
    worker: Worker, door: Door, harmed: Callable[[Worker], Callable[[], None]]
):
    """What it has in hand is all that it may have, so it asks for nothing more before that is acknowledged."""
    with serve(door) as crm, worker.running(crm) as process:
        worker.ring()
        worker.is_busy()
        mend = harmed(worker)
        door.open = True
        eventually(lambda: "Connection to broker lost" in worker.log(), "it notices", 30)
        mend()
        worker.ring()
        worker.hears(rings=2)
        assert process.poll() is None, "it is the same worker"


@pytest.mark.timeout(90)
def test_a_worker_that_is_deaf_ends_and_one_that_is_only_busy_does_not(worker: Worker, door: Door):
    with serve(door) as crm, worker.running(crm) as process:
        worker.ring()
        worker.is_busy()
        worker.ring()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(4)  # messages wait all the while, for longer than a deaf one lives
        door.open = True
        worker.hears(rings=2)
        worker.deaf = True
        eventually(lambda: worker.unheard > 0, "it listens where nobody rings")
        with redis.Redis(port=worker.broker.port) as queue:
            worker.ring()
            assert process.wait(30) == os.EX_UNAVAILABLE
            assert queue.llen("pull") == PROCESSES, "whoever comes next finds what waits"
        assert '"worker.deaf", "queue": "pull"' in worker.log()


@pytest.mark.timeout(60)
def test_a_worker_whose_main_loop_hangs_says_where_and_ends(worker: Worker):
    with worker.running(app="tests.faults.hanging") as process:
        assert process.wait(30) == os.EX_SOFTWARE
    assert '"worker.hangs"' in worker.log()
    assert "in fire_timers" in worker.log(), "where it hangs"
