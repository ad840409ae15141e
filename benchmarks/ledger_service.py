"""The ledger's service under load, beside its floor: the same server answering a constant, in the same run.

Run as `python -m benchmarks.ledger_service sqlite|postgresql`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from benchmarks import stage
from benchmarks.load import CONNECTIONS, cpu_s
from benchmarks.measure import Failed, run
from benchmarks.poster import EVENTS_A_BATCH
from benchmarks.results import Figure
from ledger import keys
from ledger.engine import connect
from ledger.schema import migrate
from ledger.service import create_app
from tests import servers

SECONDS = 3
ROUNDS = 3
WANTED_SHARE = 0.5
_NAMES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
_CONSTANT = b'{"source_event_id":"src_api_1","domain_event_id":"dom_api_1","deal_id":"deal_api_org_1"}'


@dataclass(frozen=True, slots=True)
class _Server:
    port: int
    pid: int
    key: str


def figures(kind: str, server_url: str, folder: Path) -> list[Figure]:
    """Ask for a constant and post events by turns, then events by the hundred. Raises `Failed` when any is refused."""
    if kind == "sqlite":
        return _measured(kind, f"sqlite:///{folder / 'ledger.db'}")
    with servers.database(server_url) as url:
        return _measured(kind, url)


def _measured(kind: str, url: str) -> list[Figure]:
    with _serving(url) as server:
        # By turns, each told by its median: whatever else the machine does falls on both.
        turns = [(_asked(server, "constant"), _asked(server, "event")) for _ in range(ROUNDS)]
        batch = _asked(server, "batch")
    constant, event = ({name: median(turn[side][name] for turn in turns) for name in turns[0][0]} for side in (0, 1))
    what = f"ledger service, {_NAMES[kind]}"
    return [
        Figure(f"{what}: a constant answered, {CONNECTIONS} connections", constant["per_second"], "requests/s"),
        Figure(f"{what}: events posted one by one", event["per_second"], "events/s"),
        Figure(f"{what}: share of the constant", event["per_second"] / constant["per_second"] * 100, "%",
               at_least=WANTED_SHARE * 100),
        Figure(f"{what}: 99 of 100 posts answered within", event["p99_ms"], "ms"),
        Figure(f"{what}: CPU of the server for a constant", constant["cpu_us"], "us a request"),
        Figure(f"{what}: CPU of the server for a post", event["cpu_us"], "us a request"),
        Figure(f"{what}: events in batches of {EVENTS_A_BATCH}", batch["per_second"] * EVENTS_A_BATCH, "events/s"),
    ]  # fmt: skip


def _asked(server: _Server, what: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.poster", str(server.port), what, str(SECONDS)]
    before = cpu_s(server.pid)
    said: dict[str, Any] = run(command, folder=stage.ROOT, environment={**os.environ, "LEDGER_KEY": server.key}).said
    if not said["statuses"].keys() <= {"200", "201"}:
        raise Failed(f"the service answered {said['statuses']}")
    cpu_us = (cpu_s(server.pid) - before) / said["sent"] * 1e6
    return {"per_second": said["per_second"], "p99_ms": said["p99_ms"], "cpu_us": cpu_us}


@contextmanager
def _serving(url: str) -> Iterator[_Server]:
    engine = connect(url)
    migrate(engine)
    key = keys.create(engine, name="bench", scopes=["deals:write"], rpm=1_000_000)["key"]
    engine.dispose()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.ledger_service", "serve", url],
        cwd=stage.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        time.sleep(1)
        yield _Server(port, process.pid, key)
    finally:
        process.terminate()
        process.wait(20)


def _serve(url: str) -> None:
    """The service, and beside it the floor: a plain route that reads its body and answers a constant."""

    async def constant(request: Request) -> Response:
        await request.body()
        return Response(_CONSTANT, 201, media_type="application/json")

    floor = Starlette(routes=[Route("/constant", constant, methods=["POST"])])
    service = create_app(connect(url))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (floor if scope.get("path") == "/constant" else service)(scope, receive, send)

    config = uvicorn.Config(  # as `dealsync ledger serve` has it
        app,
        host="127.0.0.1",
        port=0,
        interface="asgi3",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
    )
    listening = config.bind_socket()
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
        sys.exit()
    with stage.postgresql() as server, tempfile.TemporaryDirectory(prefix="dealsync-bench-") as scratch:
        for figure in figures(sys.argv[1], server, Path(scratch)):
            print(f"{figure.what}: {figure.value:,.1f} {figure.unit}")
