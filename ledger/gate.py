"""Gate: what stands before every /v1 path of the service: keys, limits, their headers, counts and the audit."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger import keys, reading
from ledger.admission import MAX_BODY
from ledger.counting import Counting
from ledger.door import UNAVAILABLE, Door, Reply, bearer, problem
from ledger.intake import Intake
from ledger.keys import ApiKey
from ledger.port import LedgerFault
from ledger.reading import Refused, Request

OPEN = "/v1/openapi.json"
EVENTS, BATCH = "/v1/deals/events", "/v1/deals/events/batch"

_NOTED_EVERY_S = 1.0
_log = logging.getLogger(__name__)


class Audit:
    """Calls of known keys, written down together a moment after they were answered; a crash loses that moment's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._calls: Counter[tuple[str, str, int]] = Counter()
        self._writing: asyncio.Task[None] | None = None

    def note(self, key: ApiKey, action: str, status: int) -> None:
        """A request of this key ended so."""
        self._calls[key.key_id, action, status] += 1
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._calls:
            await asyncio.sleep(_NOTED_EVERY_S)
            calls, self._calls = self._calls, Counter()
            try:
                await run_in_threadpool(keys.note, self._engine, calls)
            except LedgerFault as fault:
                _log.warning("the use of keys could not be noted: %s", fault)
                self._calls.update(calls)
                return


class Gate:
    """ASGI middleware. The order of checks is the contract's: key (401), limit (429), scope (403), then the body.

    Requests that bring events are answered by the intake; a route behind finds its key as `request.state.key`. Each
    answer carries the limiter's headers, errors included, but for a 401, where there is no key to count on.
    """

    def __init__(self, app: ASGIApp, *, door: Door, intake: Intake, audit: Audit, counting: Counting) -> None:
        self._app = app
        self._door = door
        self._intake = intake
        self._audit = audit
        self._counting = counting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it here."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path == OPEN or not (path == "/v1" or path.startswith("/v1/")):
            await self._app(scope, receive, send)
            return
        if scope["method"] == "POST" and path in (EVENTS, BATCH):
            request = await _request(scope, receive, path)
            reply, key = await self._intake.ask(bearer(scope["headers"]), request)
            await self._answer(scope, send, reply, key)
            return
        token = bearer(scope["headers"])
        try:
            known = {} if token is None else await run_in_threadpool(self._door.known, [token])
        except LedgerFault as fault:
            _log.error("the key could not be looked up: %s", fault)
            await self._answer(scope, send, UNAVAILABLE, None)
            return
        verdict = self._door.judge(token, known)
        if isinstance(verdict, Reply):
            await self._answer(scope, send, verdict, known.get(token or ""))
            return
        scope.setdefault("state", {})["key"] = verdict.key
        await self._pass(scope, receive, send, verdict.headers)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        status = 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(headers)
            await send(message)

        key: ApiKey = scope["state"]["key"]
        try:
            await self._app(scope, receive, with_headers)
        except Exception:
            _log.exception("a request could not be answered")
            if status:
                raise
            await self._answer(scope, send, problem(500, "internal_error", headers), key)
        else:
            self._count(scope, key, status)

    async def _answer(self, scope: Scope, send: Send, reply: Reply, key: ApiKey | None) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(reply.body))]
        headers += [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        self._count(scope, key, reply.status)

    def _count(self, scope: Scope, key: ApiKey | None, status: int) -> None:
        route = scope.get("route")
        path = getattr(route, "path", None) or (scope["path"] if scope["path"] in (EVENTS, BATCH) else "other")
        self._counting.answered(path, status)
        if key is not None:
            self._audit.note(key, f"{scope['method']} {path}", status)


async def _request(scope: Scope, receive: Receive, path: str) -> Request | Refused:
    """The request that was sent; its body is read no further than the ledger would take it."""
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        return Refused(415, "unsupported_media_type", "send Content-Type: application/json")
    most = MAX_BODY if path == EVENTS else reading.MAX_BATCH
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return Refused(400, "invalid_request", "the body broke off")
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > most:
            return Refused(413, "too_large", f"the body has more than {most} bytes")
        if not message.get("more_body", False):
            break
    raw = b"".join(parts)
    if path == BATCH and size > MAX_BODY:  # the loop has others to serve meanwhile
        return await run_in_threadpool(reading.batch, raw)
    return reading.single(raw) if path == EVENTS else reading.batch(raw)
