"""Gate: what stands before every /v1 path of the service: the key, its limit, and the headers that tell of it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger import keys
from ledger.keys import ApiKey
from ledger.port import LedgerFault

WINDOW_S = 60
_OPEN = "/v1/openapi.json"
_TOUCH_EVERY_S = 60.0
_log = logging.getLogger(__name__)


def problem(code: str, **more: Any) -> bytes:
    """The error envelope of contracts/openquota.md section 6: a flat object, `error` first."""
    return msgspec.json.encode({"error": code, **more})


class _Refusal(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class Windows:
    """Fixed windows of a minute, one counter a key, in this process (contracts/openquota.md section 7)."""

    def __init__(self, epoch: Callable[[], float]) -> None:
        self._epoch = epoch
        self._counts: dict[str, tuple[int, int]] = {}
        self._alone = threading.Lock()

    def count(self, key: ApiKey) -> tuple[bool, dict[str, str], int]:
        """Count a request: whether it may pass, the headers that say so, and the seconds until the window ends."""
        now = self._epoch()
        window = int(now // WINDOW_S)
        with self._alone:
            since, used = self._counts.get(key.key_id, (window, 0))
            used = used + 1 if since == window else 1
            self._counts[key.key_id] = window, used
        end = (window + 1) * WINDOW_S
        headers = {
            "X-RateLimit-Limit": str(key.rpm),
            "X-RateLimit-Remaining": str(max(0, key.rpm - used)),
            "X-RateLimit-Reset": str(end),
        }
        return used <= key.rpm, headers, math.ceil(end - now)


class Gate:
    """ASGI middleware. The order of checks is the contract's: key (401), limit (429), then the route's own.

    The route finds the key as `request.state.key`. Each answer carries the limiter's headers, errors included, but
    for a 401, where there is no key to count on.
    """

    def __init__(self, app: ASGIApp, *, engine: Engine, epoch: Callable[[], float] = time.time) -> None:
        self._app = app
        self._engine = engine
        self._windows = Windows(epoch)
        self._touched: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it here."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path == _OPEN or not (path == "/v1" or path.startswith("/v1/")):
            await self._app(scope, receive, send)
            return
        verdict = await self._judge(scope)
        if isinstance(verdict, _Refusal):
            await _answer(send, verdict)
            return
        key, headers = verdict
        scope.setdefault("state", {})["key"] = key
        await self._pass(scope, receive, send, headers)
        await self._touch(key)

    async def _judge(self, scope: Scope) -> tuple[ApiKey, dict[str, str]] | _Refusal:
        token = _bearer(scope)
        if token is None:
            return _Refusal(401, problem("unauthenticated", reason="send the header Authorization: Bearer <key>"))
        try:
            key = await run_in_threadpool(keys.found, self._engine, token)
        except LedgerFault as fault:
            _log.error("the key could not be looked up: %s", fault)
            return _Refusal(503, problem("unavailable"), {"Retry-After": "1"})
        if key is None:
            return _Refusal(401, problem("invalid_key", reason="the key is unknown or revoked"))
        passes, headers, wait = self._windows.count(key)
        if not passes:
            body = problem("rate_limited", retry_after_seconds=wait)
            return _Refusal(429, body, {**headers, "Retry-After": str(wait)})
        return key, headers

    async def _pass(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        begun = False

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(headers)
            await send(message)

        try:
            await self._app(scope, receive, with_headers)
        except Exception:
            _log.exception("a request could not be answered")
            if begun:
                raise
            await _answer(send, _Refusal(500, problem("internal_error"), headers))

    async def _touch(self, key: ApiKey) -> None:
        """Note the use of a key after the answer has left, and not with every request."""
        now = time.monotonic()
        if now - self._touched.get(key.key_id, -_TOUCH_EVERY_S) < _TOUCH_EVERY_S:
            return
        self._touched[key.key_id] = now
        try:
            await run_in_threadpool(keys.touch, self._engine, key.key_id)
        except LedgerFault as fault:
            _log.warning("the use of a key could not be noted: %s", fault)


def _bearer(scope: Scope) -> str | None:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


async def _answer(send: Send, refusal: _Refusal) -> None:
    length = str(len(refusal.body))
    headers = {"content-type": "application/json", "content-length": length, **refusal.headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": refusal.body})
