"""The webhook receiver under load: one `dealsync serve`, durable commits, a sender of its own on the same cores."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import dealsync_runs, stage
from benchmarks.load import cpu_s
from benchmarks.measure import Failed, run
from benchmarks.processes import serving
from benchmarks.results import Figure
from benchmarks.sender import CONNECTIONS, SECRET
from tests import servers

SECONDS = 10.0
WANTED_PER_SECOND = {"postgresql": 8_000.0, "sqlite": 5_000.0}
WANTED_P99_MS = 30.0
_NAMES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
_PATH = "/webhooks/bench"
_CONFIG = """\
[store]
url = "{store}"
[broker]
url = "{broker}"
[connections.bench]
source = "planhat"
base_url = "http://127.0.0.1:9"
token = {{ env = "BENCH_TOKEN" }}
[connections.bench.webhook]
scheme = "hmac"
signature_header = "X-Signature"
secrets = [{{ env = "BENCH_SECRET" }}]
"""


def figures(kind: str, server_url: str, folder: Path) -> list[Figure]:
    """Send true deliveries, then forged ones, to a server on a fresh store. Raises `Failed`, also if one was lost.

    Workers are not started: the broker is only rung. What the server does with a delivery is to prove it, commit it,
    answer and ring.
    """
    with dealsync_runs.installation(kind, server_url, folder) as ours, servers.redis() as broker_url:
        (folder / "dealsync.toml").write_text(_CONFIG.format(store=ours.store_url, broker=broker_url))
        return _measured(kind, ours.store_url, folder)


def _measured(kind: str, store_url: str, folder: Path) -> list[Figure]:
    environment = {**stage.environment(folder), "PYTHONPATH": str(stage.ROOT), "BENCH_SECRET": SECRET}
    run([stage.DEALSYNC, "migrate"], folder=folder, environment=environment)
    with serving("serve", folder, environment) as (port, pid):
        time.sleep(0.5)
        before = cpu_s(pid)
        said = _sent(port, "true")
        spent = cpu_s(pid) - before
        kept = _count(store_url)
        forged = _sent(port, "forged")
        if _count(store_url) != kept:
            raise Failed("a forged delivery was kept")
    if set(said["statuses"]) != {"202"} or set(forged["statuses"]) != {"401"}:
        raise Failed(f"the server answered {said['statuses']} and, to forgeries, {forged['statuses']}")
    if kept < said["statuses"]["202"]:
        raise Failed(f"{said['statuses']['202']} deliveries were accepted, {kept} are kept")
    what = f"webhooks received, {_NAMES[kind]}, {CONNECTIONS} connections"
    at_most = WANTED_P99_MS if kind == "postgresql" else None
    return [
        Figure(what, said["per_second"], "deliveries/s", at_least=WANTED_PER_SECOND[kind]),
        Figure(f"{what}: 99 of 100 answered within", said["p99_ms"], "ms", at_most=at_most),
        Figure(f"{what}: CPU of the server", spent / said["sent"] * 1e6, "us a delivery"),
        Figure(f"{what}: CPU of the sender", said["cpu_s"] / said["sent"] * 1e6, "us a delivery"),
        Figure(f"forged webhooks refused, {_NAMES[kind]}", forged["per_second"], "requests/s"),
    ]


def _sent(port: int, truth: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.sender", str(port), _PATH, str(SECONDS), truth]
    ended = run(command, folder=stage.ROOT, environment=dict(os.environ))
    return ended.said


def _count(store_url: str) -> int:
    return stage.sum_of(store_url, "SELECT count(*), 0 FROM inbox")[0]


if __name__ == "__main__":
    with stage.postgresql() as url, tempfile.TemporaryDirectory(prefix="dealsync-bench-") as scratch:
        for figure in figures(sys.argv[1], url, Path(scratch)):
            print(f"{figure.what}: {figure.value:,.1f} {figure.unit}")
