"""Load: connections that are kept open, each with one request under way, as fast as answers come; and the count."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

CONNECTIONS = 64


class Load:
    """What is asked, and what came of it once everything was warm."""

    def __init__(self, request: Callable[[], bytes], *, warm_up_s: float, seconds: float) -> None:
        self.counts: Counter[bytes] = Counter()
        self.waits: list[float] = []
        self.sent = 0
        self.begins = time.perf_counter() + warm_up_s
        self.ends = self.begins + seconds
        self._request = request
        self._seconds = seconds

    def request(self) -> bytes:
        """The next request, with its head."""
        self.sent += 1
        return self._request()

    def answered(self, status: bytes, sent: float, at: float) -> None:
        """Count an answer, once everything is warm."""
        if self.begins <= at < self.ends:
            self.counts[status] += 1
            self.waits.append(at - sent)

    def said(self) -> dict[str, object]:
        """What came of it; `sent` counts the requests of the warm-up as well."""
        waits = sorted(self.waits) or [0.0]
        return {
            "statuses": {status.decode(): number for status, number in self.counts.items()},
            "sent": self.sent,
            "per_second": len(self.waits) / self._seconds,
            "p50_ms": waits[len(waits) // 2] * 1000,
            "p99_ms": waits[len(waits) * 99 // 100] * 1000,
            "worst_ms": waits[-1] * 1000,
            "cpu_s": time.process_time(),
        }


def posted(path: str, body: bytes, *headers: str) -> bytes:
    """A request's bytes; it carries JSON."""
    head = [
        f"POST {path} HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        "user-agent: bench",
        *headers,
        f"content-length: {len(body)}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def drive(port: int, load: Load, connections: int = CONNECTIONS) -> dict[str, object]:
    """Ask until the load's time is over; what came of it."""
    loop = asyncio.get_running_loop()
    lines = []
    for _ in range(connections):
        closed: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda closed=closed: _Line(load, closed), "127.0.0.1", port)  # type: ignore[misc]
        lines.append(closed)
    await asyncio.gather(*lines)
    return load.said()


def cpu_s(pid: int) -> float:
    """User and system seconds of a running process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Line(asyncio.Protocol):
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
