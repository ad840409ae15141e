"""Posting under pressure: what cannot be taken is sent away before anybody has read it or asked for its key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from ledger import keys
from ledger.service import create_app
from tests.ledger.subjects import engine_at, now

Answer = tuple[int, Mapping[bytes, bytes], Any]


def scope_of(path: str, token: str) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {token}".encode())]
    return {"type": "http", "method": "POST", "path": path, "headers": headers}


async def unread() -> Any:
    raise AssertionError("the body was read")


async def answered(app: Any, path: str, token: str, receive: Any) -> Answer:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope_of(path, token), receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), json.loads(body["body"])


def test_where_nobody_else_may_wait_a_body_is_not_even_read(sqlite_url: str):
    with engine_at(sqlite_url) as engine:
        token = str(keys.create(engine, name="test", scopes=["deals:write"])["key"])
        app = create_app(engine, now=now, max_waiting=1)
        body = json.dumps({"external_id": "d", "dedup_key": "k", "state": {}}).encode()

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        async def story() -> tuple[list[Answer], Answer]:
            with engine.begin():  # SQLite's one writer
                first = asyncio.create_task(answered(app, "/v1/deals/events", token, receive))
                await asyncio.sleep(0.05)
                paths = ("/v1/deals/events", "/v1/deals/events/batch")
                sent_away = [await answered(app, path, "oqp_unknown", unread) for path in paths]
            return sent_away, await first

        sent_away, first = asyncio.run(story())
        assert first[0] == 201
        for status, headers, problem in sent_away:
            assert (status, problem["error"]) == (503, "unavailable")
            assert 1 <= int(headers[b"retry-after"]) <= 3, "nobody has waited for long"
