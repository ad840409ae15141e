"""What is told by webhook while a backfill uses up the budget: how long until its record is asked for.

A Planhat tenant that has been pulled allows 200 requests a minute. A backfill of all its deals, 50 a page, wants more
than that for minutes; meanwhile people edit a deal a second, each edit is told by webhook, and the tenant's own log
says when it was asked for that deal. `python -m benchmarks.hinting` measures by itself; `figures` is for the table.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import stage
from benchmarks.measure import Failed, Running, run
from benchmarks.processes import beat, serving, worker
from benchmarks.results import Figure
from tests import servers

if TYPE_CHECKING:  # whoever starts a process hands on the peak of its own memory to it, so must stay small
    from connectors.simulation import Call

DEALS, PAGE = 20_000, 50
ALLOWED = 200
"""Requests a minute, as Planhat's contract has it; the simulated tenant refuses more."""
EDITS = 60
EDIT_EVERY_S = 1.0
PATIENCE_S = 30.0
LEAST_SHARE = 0.25
"""Of all that is allowed the backfill must have asked for so much meanwhile; else nothing was competed for."""

WANTED_P95_S = 2.0
SERVE = "serve"
_CONFIG = """\
[store]
url = "{store}"
[broker]
url = "{broker}"
[connections.bench]
source = "planhat"
base_url = "{url}"
token = {{ env = "BENCH_TOKEN" }}
default_currency = "USD"
pull_every = "1h"
sweep_every = "7d"
[connections.bench.webhook]
secrets = [{{ env = "BENCH_SECRET" }}]
[connections.bench.options]
revenue_model = "deals"
amount_unit = "major"
page_size = {page}
"""


@dataclass(frozen=True, slots=True)
class _Told:
    """What the tenant saw: seconds from each edit to the first request for its deal, and its other answers."""

    waits: list[float]
    others: int
    refused: int


def figures(server_url: str, folder: Path) -> Iterator[Figure]:
    """Workers over PostgreSQL and Redis, then `dealsync up` over SQLite. Raises `Failed`, also if an edit is missed."""
    with stage.database(server_url) as store, servers.redis() as broker:
        yield from _measured("workers", store, broker, stage.fresh(folder, "workers"))
    alone = stage.fresh(folder, "up")
    yield from _measured("`dealsync up`", f"sqlite:///{alone / 'dealsync.db'}", "none", alone)


def _measured(who: str, store: str, broker: str, folder: Path) -> list[Figure]:
    with stage.conversing("benchmarks.hinting", SERVE) as (told, ask), ExitStack() as stack:
        (folder / "dealsync.toml").write_text(_CONFIG.format(store=store, broker=broker, url=told["url"], page=PAGE))
        secrets = {"BENCH_TOKEN": told["token"], "BENCH_SECRET": told["secret"]}
        environment = {**stage.configured(folder), **secrets}
        run([stage.DEALSYNC, "migrate", "--json"], folder=folder, environment=environment)
        large = {
            **environment,
            "DEALSYNC__CONNECTIONS__BENCH__OPTIONS__PAGE_SIZE": "5000",
            "DEALSYNC__BROKER__URL": "none",
        }
        run([stage.DEALSYNC, "pull", "bench", "--json"], folder=folder, environment=large)
        verb = "up" if broker == "none" else "serve"
        port, _ = stack.enter_context(serving(verb, folder, environment))
        if verb == "serve":
            for queues in ("hint", "pull,publish,backfill,maintenance"):
                log = folder / f"worker-{queues.partition(',')[0]}.log"
                stack.enter_context(worker(log, environment, "-Q", queues))
            stack.enter_context(beat(folder / "beat.log", environment))
        backfill = Running(
            [stage.DEALSYNC, "backfill", "start", "bench", "--json"], folder=folder, environment=environment
        )
        stack.callback(backfill.kill)
        told_of = _Told(**ask(f"http://127.0.0.1:{port}/webhooks/bench"))
    waits = sorted(told_of.waits)
    if len(waits) < EDITS:
        raise Failed(
            f"{who}: {EDITS - len(waits)} of {EDITS} edited deals were not asked for within {PATIENCE_S:.0f} s"
        )
    if told_of.others < LEAST_SHARE * ALLOWED * EDITS * EDIT_EVERY_S / 60:
        raise Failed(f"{who}: the backfill asked only {told_of.others} times; nothing was competed for")
    what = f"told by webhook under a backfill, {who}"
    return [
        Figure(f"{what}: 95 of 100 fetches start within", waits[len(waits) * 95 // 100], "s", at_most=WANTED_P95_S),
        Figure(f"{what}: the slowest", waits[-1], "s"),
        Figure(f"{what}: requests beside them meanwhile", told_of.others, ""),
        Figure(f"{what}: requests that the tenant refused", told_of.refused, "", at_most=0),
    ]


def _serve() -> None:
    """Serve the tenant. A line on stdin is the receiver's URL: edit, tell, and say how long each deal waited."""
    import httpx

    from connectors.planhat.simulated_switches import Switches
    from connectors.planhat.simulator import TOKEN, PlanhatSimulator
    from connectors.simulated_sender import Outgoing
    from connectors.simulation import asgi, serve
    from pipeline.sandbox import WallClock

    crm = PlanhatSimulator(seed=20, deals=DEALS, clock=WallClock(), switches=Switches(requests_per_minute=ALLOWED))
    with serve(asgi(crm)) as url:
        print(json.dumps({"url": url, "token": TOKEN, "secret": crm.webhook_secret}), flush=True)
        receiver = sys.stdin.readline().strip()
        if not receiver:
            return

        def post(delivery: Outgoing) -> int:
            headers = {"content-type": "application/json", **delivery.headers}
            return httpx.post(receiver, content=delivery.body, headers=headers, timeout=10).status_code

        crm.notify(post)
        time.sleep(5)  # the backfill is under way, and what a full budget has at first is spent
        before, edited = len(crm.log), {}
        for place, deal in enumerate(crm.ids()[:: DEALS // EDITS][:EDITS]):
            edited[deal] = crm.clock.now
            crm.set_amount(deal, Decimal(1_000 + place))
            time.sleep(EDIT_EVERY_S)
        ends = time.monotonic() + PATIENCE_S
        while True:
            calls = crm.log[before:]
            asked = _first(calls)
            if edited.keys() <= asked.keys() or time.monotonic() > ends:
                break
            time.sleep(0.1)
        waits = [asked[deal] - moment.timestamp() for deal, moment in edited.items() if deal in asked]
        others = sum(call.status == 200 for call in calls) - len(waits)
        refused = sum(call.status == 429 for call in calls)
        print(json.dumps({"waits": waits, "others": others, "refused": refused}), flush=True)
        sys.stdin.read()


def _first(calls: Sequence[Call]) -> dict[str, float]:
    """When each deal was first asked for by itself, in seconds since the epoch."""
    found: dict[str, float] = {}
    for call in calls:
        _, _, deal = call.path.rpartition("/deals/")
        if call.method == "GET" and deal and call.status == 200:
            found.setdefault(deal, datetime.fromisoformat(call.at).timestamp())
    return found


if __name__ == "__main__":
    if sys.argv[1:] == [SERVE]:
        _serve()
    else:
        with stage.postgresql() as server, tempfile.TemporaryDirectory(prefix="dealsync-bench-") as scratch:
            for figure in figures(server, Path(scratch)):
                print(f"{figure.what}: {figure.value:,.2f} {figure.unit}", flush=True)
