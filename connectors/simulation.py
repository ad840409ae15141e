"""Simulation: what every simulated CRM shares - a clock that tests move, a log of requests, and two ways to be asked.

A simulator is a pure value of its seed and of the calls made so far: it never reads the wall clock and does no IO.
`transport` answers httpx in process; `asgi` and `serve` answer over a loopback socket.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from threading import RLock, Thread
from time import sleep

import httpx
import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.simulated_wire import Answer, Faults, Request

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
"""Where every simulated clock begins: a Monday morning that lies in the past of any machine that runs this."""


class SimClock:
    """The simulated server's clock: it stands still until someone moves it.

    A write takes `tick` of simulated time, so that two writes differ in their time stamps; `SimClock(tick=timedelta())`
    gives equal ones. `monotonic`, `epoch` and `sleep` may be handed to a client in place of those of `time`.
    """

    def __init__(self, start: datetime = START, *, tick: timedelta = timedelta(milliseconds=1)) -> None:
        self._start = start
        self._tick = tick
        self.now = start

    def advance(self, by: float | timedelta) -> None:
        """Let this much time pass (a number counts seconds)."""
        self.now += by if isinstance(by, timedelta) else timedelta(seconds=by)

    def tick(self) -> str:
        """The time of a write, which takes a tick."""
        self.now += self._tick
        return self.text()

    def text(self) -> str:
        """Now, in ISO 8601, UTC, with milliseconds and a Z."""
        return iso(self.now)

    def monotonic(self) -> float:
        """Seconds since the start."""
        return (self.now - self._start).total_seconds()

    def epoch(self) -> float:
        """Now, in seconds since the epoch."""
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        """A sleep that costs no time."""
        self.advance(max(seconds, 0.0))


def iso(moment: datetime) -> str:
    """A UTC moment in ISO 8601 with milliseconds and a Z."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Call:
    """One line of the request log; `number` counts from 1, `at` is simulated time, `status` 0 means cut off."""

    number: int
    method: str
    path: str
    query: Mapping[str, str]
    at: str
    status: int


class Simulator(ABC):
    """A simulated server. Subclasses say how a request is honestly handled; mishaps, log and locking are here.

    `clock` and `faults` are there for tests to move and to script; `log` for them to read. One request or edit at a
    time has the simulator to itself, whichever thread it comes from.
    """

    def __init__(self, *, seed: int = 0, clock: SimClock | None = None) -> None:
        self.clock = clock or SimClock()
        self.faults = Faults(Random(f"{seed}/faults"))  # noqa: S311 - reproducible, not secret
        self.log: list[Call] = []
        self._lock = RLock()
        self._depth = 0

    @abstractmethod
    def handle(self, request: Request) -> Answer:
        """The honest answer."""

    def settle(self) -> None:
        """Called when a request or edit is done and the simulator is free again, for what happens afterwards."""
        return

    def answer(self, request: Request) -> Answer:
        """The answer to a request, after any mishap that the script has for it."""
        with self.exclusive():
            number = len(self.log) + 1
            mishap = self.faults.pick(number, request)
            answer = self.handle(request) if mishap is None else mishap(request, self.handle)
            status = 0 if answer.cut in ("connect", "answer") else answer.status
            self.log.append(Call(number, request.method, request.path, request.query, self.clock.text(), status))
        return answer

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else sees or changes the simulator meanwhile."""
        with self._lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                outermost = self._depth == 0
        if outermost:
            self.settle()

    def transport(self) -> httpx.BaseTransport:
        """This simulator as an httpx transport."""
        return transport(self)


def transport(simulator: Simulator) -> httpx.BaseTransport:
    """Requests of an `httpx.Client` answered in process: no sockets, and waiting moves the simulated clock only."""
    return _Transport(simulator)


class _Transport(httpx.BaseTransport):
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        target = request.url.raw_path.decode("ascii")
        answer = self._simulator.answer(Request.to(request.method, target, request.headers, request.read()))
        if answer.cut == "connect":
            raise httpx.ConnectError("connection refused (simulated)", request=request)
        patience_s = request.extensions.get("timeout", {}).get("read")
        if patience_s is not None and answer.delay_s > patience_s:
            self._simulator.clock.advance(patience_s)
            raise httpx.ReadTimeout("no answer in time (simulated)", request=request)
        self._simulator.clock.advance(answer.delay_s)
        if answer.cut == "answer":
            raise httpx.ReadError("connection reset (simulated)", request=request)
        return httpx.Response(answer.status, headers=_headers(answer), stream=_Body(answer))


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from _chunks(self._answer)
        if self._answer.cut == "body":
            raise httpx.RemoteProtocolError("the connection was cut before the whole body had come (simulated)")


def asgi(simulator: Simulator) -> ASGIApp:
    """The simulator as an ASGI application, to be served or mounted under a prefix.

    A connection cannot be refused from here, so a cut before the answer is one after its head.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        raw = HttpRequest(scope, receive)
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").removeprefix(scope.get("root_path", ""))
        target = f"{path or '/'}?{scope['query_string'].decode('latin-1')}"
        request = Request.to(scope["method"], target, dict(raw.headers), await raw.body())
        answer = await run_in_threadpool(simulator.answer, request)
        await asyncio.sleep(answer.delay_s)
        await _response(answer)(scope, receive, send)

    return app


def _response(answer: Answer) -> Response:
    if answer.cut is None and not answer.endless:
        return Response(answer.body, answer.status, dict(answer.headers))
    # Announcing more than is sent makes the server close the connection: the client sees a cut.
    return StreamingResponse(_drip(answer), answer.status, _headers(answer))


async def _drip(answer: Answer) -> AsyncIterator[bytes]:
    for chunk in _chunks(answer):
        yield chunk
        await asyncio.sleep(0)  # lets the server notice that the client has had enough


def _headers(answer: Answer) -> dict[str, str]:
    if answer.endless:
        return dict(answer.headers)
    return {**answer.headers, "content-length": str(max(len(answer.body), 0 if answer.cut is None else 2))}


def _chunks(answer: Answer) -> Iterator[bytes]:
    if answer.cut is not None:
        yield answer.body[: len(answer.body) // 2] if answer.cut == "body" else b""
        return
    yield answer.body
    while answer.endless:
        yield answer.body[-1:] * 65_536


@contextmanager
def serve(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """Serve an ASGI application on loopback from a thread of this process; yields its base URL, ends it afterwards.

    `port` 0 takes a free one. Raises `OSError` when the port is taken.
    """
    listener = socket.create_server(("127.0.0.1", port))
    # Connections inherit it. asyncio does not set it on a socket given to it, and each answer would wait 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        date_header=False,  # a simulated vendor's time is the simulator's, if it tells any
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="simulated-server", daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
