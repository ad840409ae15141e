"""What tests of the kit share: a clock that nobody sleeps on, and another side that answers from a script."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from connectors.pacing import Timing
from connectors.source import Account, Options

NOW = "2026-03-02T08:00:00.000Z"
TOKEN = "canary-8f2d61"


class Clock:
    """Time that passes only when somebody sleeps, or when an answer takes some."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds

    def timing(self, seed: int = 0) -> Timing:
        return Timing(self.monotonic, self.sleep, random.Random(seed))


class Script(httpx.BaseTransport):
    """Answers each request with the next entry, the last one for ever; an exception is raised, a function asked."""

    def __init__(self, *entries: Any) -> None:
        self.entries = list(entries)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        entry = self.entries[min(len(self.requests), len(self.entries)) - 1]
        if isinstance(entry, Exception):
            raise entry
        return entry(request) if callable(entry) else entry


class Streamed(httpx.SyncByteStream):
    """A body that comes in pieces, and may end with an error."""

    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces()


def answer(body: bytes | str = b"[]", status: int = 200, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    """An answer that comes as a stream, as it does from the network."""
    data = body.encode() if isinstance(body, str) else body
    named = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return lambda _: httpx.Response(status, headers=named, stream=Streamed(lambda: iter([data])))


def account(transport: httpx.BaseTransport | None, *, options: Options | None = None, **changed: Any) -> Account:
    settings: Mapping[str, Any] = {
        "name": "test",
        "base_url": "https://api.example.com",
        "credentials": {"token": TOKEN},
        "fields": {},
        "now": lambda: NOW,
        "give_up_after_s": 30.0,
        **changed,
    }
    return Account(options=options or Options(amount_unit="major"), transport=transport, **settings)
