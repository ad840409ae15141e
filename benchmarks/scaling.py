"""How far it scales: events a second with more workers, and what a tick, a pull and memory cost as a tenant grows.

`python -m benchmarks.scaling` measures by itself; `figures` is for the table.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import psycopg
from sqlalchemy import text

from benchmarks import dealsync_runs, measure, stage
from benchmarks.measure import Failed
from benchmarks.processes import worker
from benchmarks.results import Figure
from benchmarks.stage import PageServer
from ledger import bulk
from pipeline import settings
from pipeline.schedule import due
from pipeline.store import connections
from pipeline.store.session import now
from pipeline.store.tables import runs
from pipeline.wiring import App, migrate, open_app
from tests import servers

WORKERS = (1, 2, 4)
LOADED_CONNECTIONS, DEALS_EACH = 8, 2_000
CONNECTIONS = (1, 100, 1_000)
DEALS = (10_000, 100_000, 1_000_000)
GROWTH = 1.05
"""What ten times as many deals may do to the memory of the largest process."""
TICKS = 7
PAST = {"pull": 100, "sweep": 7, "reconcile": 7}
FAILED = 3
"""How many runs of each connection there were, and how many of the last ones failed where any did."""

PATIENCE_S = 120.0

_HEAD = """\
[store]
url = "{store}"
[broker]
url = "{broker}"
"""
_CONNECTION = """\
[connections.bench-{number}]
source = "planhat"
base_url = "{pages}"
token = {{ env = "BENCH_TOKEN" }}
pull_every = "1h"
sweep_every = "7d"
[connections.bench-{number}.options]
revenue_model = "deals"
amount_unit = "major"
page_size = 500
requests_per_minute = 1000000
"""


def figures(server_url: str, folder: Path, *, quick: bool = False) -> Iterator[Figure]:
    """Everything that is measured here, one after another, over the PostgreSQL at `server_url`. Raises `Failed`.

    `quick` leaves out the million deals, which take minutes.
    """
    with stage.page_server(DEALS_EACH) as pages:
        for number in WORKERS:
            yield _with_workers(number, pages, server_url, stage.fresh(folder, f"workers-{number}"))
    for number in CONNECTIONS:
        yield from _with_connections(number, server_url, stage.fresh(folder, f"connections-{number}"))
    at_most = None
    for number in DEALS[:-1] if quick else DEALS:
        found = _with_deals(number, server_url, stage.fresh(folder, f"deals-{number}"), at_most)
        at_most = found[1].value * GROWTH
        yield from found


def _with_workers(number: int, pages: PageServer, server_url: str, folder: Path) -> Figure:
    """Every deal of several connections pulled and published, from the first message to the last event."""
    wanted = LOADED_CONNECTIONS * pages.deals
    with stage.database(server_url) as store, servers.redis() as broker, ExitStack() as stack:
        text = _configured(store, LOADED_CONNECTIONS, pages.url, broker)
        (folder / "dealsync.toml").write_text(text)
        environment = stage.configured(folder)
        migrate(settings.load(folder / "dealsync.toml", environment))
        for place in range(number):
            stack.enter_context(worker(folder / f"worker-{place}.log", environment))
        stage.settle(server_url)
        try:
            spent = _drained(broker, store, wanted)
        except Failed as error:
            logs = "\n".join(log.read_text()[-600:] for log in sorted(folder.glob("*.log")))
            raise Failed(f"{error}; the workers said:\n{logs}") from None
    return Figure(f"pulled and published by {_many(number, 'worker')}", wanted / spent, "events/s")


def _drained(broker: str, store: str, wanted: int) -> float:
    """Ring for every pull at once, and then for the publisher now and then as beat does; the seconds it all took."""
    from pipeline.tasks import ring, use_broker

    use_broker(broker)
    begun = time.perf_counter()
    for place in range(LOADED_CONNECTIONS):
        ring("pull", connection=f"bench-{place}")
    rung = begun
    with psycopg.connect(store, autocommit=True) as session:
        while True:
            row = session.execute("SELECT count(*) FROM ledger_domain_events").fetchone()
            moment = time.perf_counter()
            if row == (wanted,):
                return moment - begun
            if moment - begun > PATIENCE_S:
                raise Failed(f"after {PATIENCE_S:.0f} s the ledger holds {row} of {wanted:,} events")
            if moment - rung > 0.5:
                ring("publish")
                rung = moment
            time.sleep(0.05)


def _with_connections(number: int, server_url: str, folder: Path) -> list[Figure]:
    """What it costs to find out what is due, and to know the configuration at all."""
    with stage.database(server_url) as store:
        (folder / "dealsync.toml").write_text(_configured(store, number, "http://127.0.0.1:9", "none"))
        command = [sys.executable, "-m", "benchmarks.scaling", "tick"]
        ended = measure.run(command, folder=folder, environment=stage.configured(folder))
    said = {name: float(str(value)) for name, value in ended.said.items()}
    what = _many(number, "connection")
    return [
        Figure(f"a tick that looks at {what}", said["tick_ms"], "ms"),
        Figure(f"the configuration of {what} read", said["load_ms"], "ms"),
        Figure(f"a process that knows {what}, peak", ended.spent.peak_mb, "MB"),
    ]


def _tick() -> None:
    """Run by itself: the configuration read, then what each tick asks; medians on stdout."""
    begun = time.perf_counter()
    config = settings.load(None, os.environ)
    load_ms = (time.perf_counter() - begun) * 1000
    migrate(config)
    with open_app(config) as app:
        _lived(app)
        took = []
        for _ in range(TICKS):
            begun = time.perf_counter()
            due(app)
            took.append((time.perf_counter() - begun) * 1000)
    print(json.dumps({"load_ms": load_ms, "tick_ms": median(took)}))


def _lived(app: App) -> None:
    """Every connection has been read for hours, every tenth one in vain of late: a tick must not read all of that."""
    with app.store.write() as tx:
        at = now(tx)
        known = [connections.enrol(tx, name, one.source).id for name, one in app.settings.connections.items()]
        past = [
            (verb, number, "failed" if number % 10 == 0 and count > PAST[verb] - FAILED else "done", at, at)
            for count in range(max(PAST.values()))
            for verb in PAST
            for number in known
            if count < PAST[verb]
        ]
        bulk.insert(tx, runs, past, ("kind", "connection_id", "state", "started_at", "ended_at"))
        tx.execute(text("ANALYZE"))  # as autovacuum does before long


def _with_deals(number: int, server_url: str, folder: Path, at_most: float | None) -> list[Figure]:
    """A first load in `at_most` so many MB, and then a pull and a publish that find nothing to do."""
    installed = dealsync_runs.installation("postgresql", server_url, folder)
    with stage.page_server(number) as pages, installed as ours:
        loaded = ours.first_load(pages, server_url).spent
        stage.settle(server_url)
        pulled = measure.steady(partial(ours.command, "pull", dealsync_runs.CONNECTION)).spent
        published = measure.steady(partial(ours.command, "publish")).spent
    what = f"over {number:,} deals"
    return [
        Figure(f"first load {what}", number / loaded.wall_s, "records/s"),
        Figure(f"first load {what}, largest process", loaded.peak_mb, "MB", at_most=at_most),
        Figure(f"`dealsync pull` {what} of which none changed, start to end", pulled.wall_s * 1000, "ms"),
        Figure(f"`dealsync publish` {what} of which none changed, start to end", published.wall_s * 1000, "ms"),
    ]


def _configured(store: str, number: int, pages: str, broker: str) -> str:
    several = [_CONNECTION.format(number=place, pages=pages) for place in range(number)]
    return "\n".join([_HEAD.format(store=store, broker=broker), *several])


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def main(*words: str) -> None:
    """Measure and print, or be the process that is measured."""
    if words == ("tick",):
        _tick()
        return
    with stage.postgresql() as url, tempfile.TemporaryDirectory(prefix="dealsync-bench-") as scratch:
        for figure in figures(url, Path(scratch)):
            print(f"{figure.what}: {figure.value:,.1f} {figure.unit}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
