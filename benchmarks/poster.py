"""A client of the ledger's service over kept-open connections, each with one request under way.

Run as `python -m benchmarks.poster PORT WHAT SECONDS`, the key in `LEDGER_KEY`; WHAT is `constant`, `event` or
`batch`. It prints how many requests were answered, how fast and how.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections import Counter

import uvloop

CONNECTIONS = 64
EVENTS_A_BATCH = 100
WARM_UP_S = 1.5
_STATE = (
    '{{"amount_cents":{0},"stage":"negotiation","close_date":"2026-09-30","owner_external_id":"usr_{1}",'
    '"currency":"USD","name":"A deal with a name of the usual length","region":"EMEA","seen_at":"2026-05-04"}}'
)
_EVENT = '{{"external_id":"bench:{0}","event_type":"upsert","dedup_key":"bench:{0}:1:{0:016x}","state":' + _STATE + "}}"


class Load:
    """What is asked, and what came of it."""

    def __init__(self, what: str, seconds: float) -> None:
        self.counts: Counter[bytes] = Counter()
        self.waits: list[float] = []
        self.begins = time.perf_counter() + WARM_UP_S
        self.ends = self.begins + seconds
        self._what = what
        self._key = os.environ["LEDGER_KEY"]
        self._numbers = itertools.count(int(time.time() * 1e6))

    def request(self) -> bytes:
        """The next request; no event is sent twice."""
        if self._what == "batch":
            body = '{"events":[' + ",".join(self._event() for _ in range(EVENTS_A_BATCH)) + "]}"
        else:
            body = self._event()
        path = {"event": "/v1/deals/events", "batch": "/v1/deals/events/batch", "constant": "/constant"}[self._what]
        data = body.encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nuser-agent: bench\r\n"
            f"authorization: Bearer {self._key}\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data

    def _event(self) -> str:
        number = next(self._numbers)
        return _EVENT.format(number, number % 97)

    def answered(self, status: bytes, sent: float, at: float) -> None:
        """Count an answer, once everything is warm."""
        if self.begins <= at < self.ends:
            self.counts[status] += 1
            self.waits.append(at - sent)


class Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load, closed: asyncio.Future[None]) -> None:
        self._load = load
        self._closed = closed
        self._sent = 0.0
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._send()

    def data_received(self, data: bytes) -> None:
        got = self._got = self._got + data if self._got else data
        if not got.endswith(b"}"):
            return
        self._got = b""
        at = time.perf_counter()
        self._load.answered(got[9:12], self._sent, at)
        if at < self._load.ends:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self._closed.done():
            self._closed.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._load.request())


async def post(port: int, what: str, seconds: float) -> dict[str, object]:
    """Ask for so many seconds; what came of it."""
    loop = asyncio.get_running_loop()
    load = Load(what, seconds)
    lines = []
    for _ in range(CONNECTIONS if what != "batch" else 4):
        closed: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda closed=closed: Line(load, closed), "127.0.0.1", port)  # type: ignore[misc]
        lines.append(closed)
    await asyncio.gather(*lines)
    waits = sorted(load.waits) or [0.0]
    return {
        "statuses": {status.decode(): number for status, number in load.counts.items()},
        "per_second": len(load.waits) / seconds,
        "p50_ms": waits[len(waits) // 2] * 1000,
        "p99_ms": waits[len(waits) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    port, what, seconds = sys.argv[1:]
    print(json.dumps(uvloop.run(post(int(port), what, float(seconds)))))
