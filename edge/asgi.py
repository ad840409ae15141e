"""The application of `dealsync serve`: the webhook receiver, what monitors ask, the operations API and the pages.

A webhook passes nothing on its way that is there for the others.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from edge.closed import closed
from edge.counting import Counting, Level
from edge.webhooks import PATH, Webhooks
from pipeline.doorbell import Doorbell, doorbell
from pipeline.faults import PipelineFault, StoreUnavailable
from pipeline.levels import levels
from pipeline.receive import Beside, doors
from pipeline.ringing import has_workers
from pipeline.totals import Totals
from pipeline.wiring import App

_READY_FOR_S = 1.0
"""The store is asked at most so often whether it is there, whoever asks us."""

_READY_WITHIN_S = 2.0
"""Whoever asks whether we are ready hears before he gives up, even where the database hangs."""

_SILENT = "the store does not answer"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"

if TYPE_CHECKING:
    from edge.operations import Operations

log = structlog.get_logger()


class Served:
    """The application over an opened store, from its first request to `close`.

    Deliveries are told to `bell`, of a process that does all the work itself, which is closed with it; without one, to
    the doorbell of the configuration.
    """

    def __init__(self, app: App, bell: Doorbell | None = None) -> None:
        self._app = app
        self._bell = bell or doorbell(app)
        self._counting = Counting(lambda: [Level(*level) for level in levels(app)], Totals(app).read)
        self._webhooks = Webhooks(doors(app), app.store, self._bell.ring, self._counting)
        self._operations = _operations(app, works=bell is not None or not has_workers(app))
        self._rest = Starlette(
            routes=[
                Route("/livez", _alive),
                Route("/readyz", self._readyz),
                Route("/metrics", self._metrics),
            ]
        )
        self._rest.router.default = self._operations or closed
        self._beside = Beside(StoreUnavailable)
        self._checking = threading.Lock()
        self._checked = -_READY_FOR_S
        self._problem = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"].startswith(PATH):
            await self._webhooks(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    def close(self) -> None:
        """Commit what was received, then stop looking at records."""
        self._webhooks.close()
        if self._operations is not None:
            self._operations.close()
        self._bell.close()

    async def _readyz(self, _: Request) -> Response:
        """Whether deliveries can be taken in: whether the store answers."""
        try:
            problem = await self._beside.ask(self._checked_problem, _READY_WITHIN_S)
        except StoreUnavailable:
            problem = _SILENT
        if problem:
            return JSONResponse({"ready": False, "reason": problem}, 503, {"Retry-After": "2"})
        return JSONResponse({"ready": True})

    def _checked_problem(self) -> str:
        with self._checking:
            if time.monotonic() - self._checked >= _READY_FOR_S:
                try:
                    self._app.store.now()
                    self._problem = ""
                except PipelineFault as fault:
                    self._problem = _SILENT
                    log.warning("store.unavailable", reason=str(fault))
                self._checked = time.monotonic()
            return self._problem

    async def _metrics(self, _: Request) -> Response:
        try:
            return Response(await self._beside.ask(self._counting.text), media_type=_METRICS)
        except PipelineFault as fault:
            log.warning("metrics.unavailable", reason=str(fault))
            return JSONResponse({"error": _SILENT}, 503, {"Retry-After": "5"})


def _operations(app: App, *, works: bool) -> Operations | None:
    """The API and the pages, where somebody is named who may use them: a receiver alone need not load them."""
    if not app.settings.serve.api_tokens:
        return None
    from edge.operations import Operations

    return Operations(app, works=works)


async def _alive(_: Request) -> Response:
    """The process lives; whether it can do its work is `/readyz`."""
    return JSONResponse({"alive": True})
