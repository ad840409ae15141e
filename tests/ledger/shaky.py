"""A ledger behind a bad line: it behaves as the contract says, but for the mishaps a test orders."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import httpx

from deals.events import Event
from deals.identity import canonical
from ledger.memory import MemoryLedger
from ledger.port import Receipt, Rejected
from tests.ledger.subjects import now

Mishap = Callable[[], httpx.Response]
KEY = "oqp_" + "5ec2e7" * 10


def answer(status: int, headers: dict[str, str] | None = None, **body: object) -> Mishap:
    return lambda: httpx.Response(status, json=body, headers=headers)


def reset() -> httpx.Response:
    raise httpx.ReadError("connection reset by peer")


def away() -> httpx.Response:
    raise httpx.ConnectError("connection refused")


def slow() -> httpx.Response:
    raise httpx.ReadTimeout("timed out")


class Shaky(httpx.BaseTransport):
    """Takes events into a ledger in memory. `before` and `after` map a dedup key to mishaps, the first one first.

    `always` stands for every key that has none of its own. `bodies` are all the events, in the order of arrival;
    `patience` is for how long each request was ready to wait, in seconds.
    """

    def __init__(self) -> None:
        self.ledger = MemoryLedger(now=now)
        self.before: dict[str, list[Mishap]] = {}
        self.after: dict[str, list[Mishap]] = {}
        self.always: Mishap | None = None
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.patience: list[float] = []
        self.gets: list[Mishap] = []
        self.batches: list[Mishap] = []
        self.in_flight = self.most_in_flight = 0
        self._alone = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._alone:
            self.patience.append(max(request.extensions["timeout"].values()))
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return self._handle(request)
        finally:
            with self._alone:
                self.in_flight -= 1

    def _handle(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        if request.method == "GET":
            if self.gets:
                return self.gets.pop(0)()
            return httpx.Response(200, json={"authenticated_as": {"key_prefix": "oqp_", "scopes": []}})
        if request.url.path == "/v1/deals/events/batch":
            return self.batches.pop(0)()
        assert request.url.path == "/v1/deals/events"
        data = request.read()
        fields = json.loads(data)
        key = fields["dedup_key"]
        with self._alone:
            self.bodies.append(data)
            headers = self.headers.pop(0) if self.headers else {}
        if mishaps := self.before.get(key):
            return mishaps.pop(0)()
        if self.always is not None:
            return self.always()
        event = Event(fields["external_id"], fields["event_type"], key, canonical(fields["state"]))
        [taken] = self.ledger.append([event])
        if mishaps := self.after.get(key):
            return mishaps.pop(0)()
        if isinstance(taken, Rejected):
            return httpx.Response(400, json={"error": taken.reason, "reason": taken.message})
        assert isinstance(taken, Receipt)
        ids = {name: getattr(taken, name) for name in ("source_event_id", "domain_event_id", "deal_id")}
        return httpx.Response(201 if taken.outcome == "appended" else 200, json=ids, headers=headers)
