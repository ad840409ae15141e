"""A ledger 20 ms away that sets no limit, and takes no batches: events a second that one `dealsync publish` sends it.

`python -m benchmarks.distant` measures by itself; `figures` is for the table.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks import stage
from benchmarks.measure import Failed, run
from benchmarks.results import Figure

DEALS = 10_000
AWAY_S = 0.02
WANTED = 1_000.0
SERVE = "serve"
_CONFIG = """\
[store]
url = "{store}"
[ledger]
kind = "openquota"
url = "{ledger}/v1"
api_key = {{ env = "BENCH_TOKEN" }}
currency = "USD"
[connections.bench]
source = "planhat"
base_url = "{pages}"
token = {{ env = "BENCH_TOKEN" }}
[connections.bench.options]
revenue_model = "deals"
amount_unit = "major"
page_size = 2000
requests_per_minute = 1000000
"""


def figures(server_url: str, folder: Path) -> list[Figure]:
    """An event of each of many deals, published. Raises `Failed` unless the ledger took each exactly once."""
    ledger = stage.announced("benchmarks.distant", SERVE)
    with stage.database(server_url) as store, stage.page_server(DEALS) as pages, ledger as url:
        (folder / "dealsync.toml").write_text(_CONFIG.format(store=store, ledger=url, pages=pages.url))
        environment = stage.environment(folder)
        run([stage.DEALSYNC, "migrate", "--json"], folder=folder, environment=environment)
        run([stage.DEALSYNC, "pull", "bench", "--json"], folder=folder, environment=environment)
        spent = run([stage.DEALSYNC, "publish", "--json"], folder=folder, environment=environment).spent
        took = httpx.get(f"{url}/took").json()
    if took != {"posts": DEALS, "keys": DEALS}:
        raise Failed(f"of {DEALS:,} events, each to be sent once, the ledger saw {took}")
    assert spent.working_s is not None
    what = f"published one by one to a ledger {AWAY_S * 1000:.0f} ms away, one process"
    return [
        Figure(what, DEALS / spent.working_s, "events/s", at_least=WANTED),
        Figure(f"{what}: CPU", spent.cpu_s / DEALS * 1e6, "us an event"),
    ]


def _serve() -> None:
    """Answer each event with ids of its own, 20 ms after it came."""
    keys: list[str] = []

    async def take(request: Request) -> Response:
        keys.append(json.loads(await request.body())["dedup_key"])
        await asyncio.sleep(AWAY_S)
        ids = {"source_event_id": f"src_{len(keys)}", "domain_event_id": f"dom_{len(keys)}", "deal_id": "deal"}
        return JSONResponse(ids, 201)

    async def introspect(_: Request) -> Response:
        return JSONResponse({"authenticated_as": {"key_prefix": "bench", "scopes": ["deals:write", "deals:read"]}})

    async def took(_: Request) -> Response:
        return JSONResponse({"posts": len(keys), "keys": len(set(keys))})

    routes = [Route("/v1/deals/events", take, methods=["POST"]), Route("/v1/", introspect), Route("/took", took)]
    config = uvicorn.Config(Starlette(routes=routes), port=0, log_level="error", access_log=False, lifespan="off")
    listening = config.bind_socket()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    if sys.argv[1:] == [SERVE]:
        _serve()
    else:
        with stage.postgresql() as server, tempfile.TemporaryDirectory(prefix="dealsync-bench-") as scratch:
            for figure in figures(server, Path(scratch)):
                print(f"{figure.what}: {figure.value:,.1f} {figure.unit}")
