"""A sender of signed deliveries over kept-open connections, each with one delivery under way, as fast as answers come.

Run as `python -m benchmarks.sender PORT PATH SECONDS FORGED`: it prints how many were answered, how fast and how.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
import sys
import time
from collections import Counter

import uvloop

SECRET = "of-the-benchmark"
CONNECTIONS = 64
WARM_UP_S = 2.0
_BODY = (
    '{{"v":1,"tenant":"bench","model":"Deal","op":"update","id":"{0:024x}","updatedAt":"2026-05-04T09:12:31.{1:03}Z",'
    '"note":"a delivery is rarely smaller than this one, nor is it often much larger than half of a thousand bytes"}}'
)


class Load:
    """What is sent, and what came of it."""

    def __init__(self, path: str, ends: float, *, forged: bool) -> None:
        self.counts: Counter[bytes] = Counter()
        self.waits: list[float] = []
        self.sent = 0
        self.begins = time.perf_counter() + WARM_UP_S
        self.ends = ends + WARM_UP_S
        self._path = path
        self._secret = (SECRET + "!" * forged).encode()
        self._numbers = itertools.count(int(time.time() * 1e6))

    def request(self) -> bytes:
        """The next delivery, never sent before."""
        self.sent += 1
        number = next(self._numbers)
        body = _BODY.format(number, number % 1000).encode()
        signature = hmac.digest(self._secret, body, "sha256").hex()
        head = (
            f"POST {self._path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"user-agent: bench\r\nx-signature: sha256={signature}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

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


async def send(port: int, path: str, seconds: float, *, forged: bool) -> dict[str, object]:
    """Send for so many seconds; what came of it."""
    loop = asyncio.get_running_loop()
    load = Load(path, time.perf_counter() + seconds, forged=forged)
    lines = []
    for _ in range(CONNECTIONS):
        closed: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda closed=closed: Line(load, closed), "127.0.0.1", port)  # type: ignore[misc]
        lines.append(closed)
    await asyncio.gather(*lines)
    waits = sorted(load.waits)
    return {
        "statuses": {status.decode(): number for status, number in load.counts.items()},
        "sent": load.sent,
        "per_second": len(waits) / seconds,
        "p50_ms": waits[len(waits) // 2] * 1000,
        "p99_ms": waits[len(waits) * 99 // 100] * 1000,
        "worst_ms": waits[-1] * 1000,
        "cpu_s": time.process_time(),
    }


if __name__ == "__main__":
    port, path, seconds, forged = sys.argv[1:]
    print(json.dumps(uvloop.run(send(int(port), path, float(seconds), forged=forged == "forged"))))
