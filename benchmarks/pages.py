"""The page server: Planhat's list and get-one over deals that are held ready, so that serving costs next to nothing."""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from benchmarks.tenant import EDITIONS, Tenant

MAX_LIMIT = 2_000
"""A larger `limit` is clamped in silence (contracts/planhat.md section 4)."""

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
Application = Callable[[_Message, _Receive, _Send], Awaitable[None]]


def application(tenant: Tenant) -> Application:
    """The ASGI application over a tenant.

    `GET /deals` honours `limit`, `offset` and `sort`; every row bears all its fields whatever `select` says, so that
    every contender reads the same bytes. `GET /deals/{_id}`. `PUT /edition/{name}` shows another edition.
    """

    async def answer(scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        await receive()
        status, body = _answer(tenant, scope["method"], scope["path"], scope["query_string"].decode())
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def _answer(tenant: Tenant, method: str, path: str, query: str) -> tuple[int, bytes]:
    match method, path.strip("/").split("/"):
        case "GET", ["deals"]:
            asked = {key: values[-1] for key, values in parse_qs(query).items()}
            limit = min(int(asked.get("limit", 100)), MAX_LIMIT)
            newest_first = asked.get("sort") == "-updatedAt"
            return 200, tenant.page(int(asked.get("offset", 0)), limit, newest_first=newest_first)
        case "GET", ["deals", deal_id]:
            deal = tenant.one(deal_id)
            return (404, b'{"message":"no such deal"}') if deal is None else (200, deal)
        case "PUT", ["edition", name] if name in EDITIONS:
            tenant.switch(EDITIONS[EDITIONS.index(name)])
            return 200, b'{"total_cents":%d}' % tenant.total_cents()
        case _:
            return 404, b'{"message":"no such page"}'


def main() -> None:
    """Serve on a free port of the loopback and say where, as the first line on stdout."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--deals", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=20)
    asked = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0))
    # Connections inherit it; else each short answer would wait 40 ms for the acknowledgement of its own headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    app = application(Tenant(asked.deals, asked.seed))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
