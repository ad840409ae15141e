"""Under pressure: a delivery for which there is no room is sent away before anybody has read it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from connectors.registry import source
from connectors.signatures import Verifier
from edge import webhooks
from edge.counting import Counting
from edge.webhooks import Webhooks
from ledger.engine import connect
from pipeline.receive import Door
from pipeline.store.session import Store


async def unread() -> Any:
    raise AssertionError("the body was read")


def test_where_nobody_else_may_wait_a_body_is_not_even_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(webhooks, "MAX_WAITING", 0)
    door = Door("planhat", 1, Verifier(source("planhat").webhooks, ["secret"], "planhat"), signed=False)
    receiver = Webhooks({"planhat": door}, Store(connect("sqlite://")), lambda _: None, Counting(list))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
    scope = {"type": "http", "method": "POST", "path": "/webhooks/planhat", "headers": headers}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    try:
        asyncio.run(receiver(scope, unread, send))
    finally:
        receiver.close()
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"retry-after"]) == (503, b"2")
