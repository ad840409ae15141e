"""Operations: the API and the pages as one ASGI application, in which nobody gets anywhere without a token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge import api, pages
from edge.access import Access
from edge.closed import is_for_machines, refusal
from pipeline.previews import Previews
from pipeline.wiring import App

MAX_BODY = 64 * 1024
BODY_WITHIN_S = 10.0

AT_ONCE = 4
"""Requests worked on at the same time: the rest of the process, webhooks first of all, needs the database as well."""

ROOM_WITHIN_S = 10.0
"""Whoever finds no room among them for so long is told to come again: a database that hangs keeps nobody waiting."""

_WHY = {408: "the body took too long", 413: f"the body is larger than {MAX_BODY} bytes"}
_WARN_EVERY_S = 60.0

log = structlog.get_logger()


class _Unread(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(_WHY[status])
        self.status = status


class Operations:
    """Everything that operators see and do. Who asks is known before a request is read, let alone worked on."""

    def __init__(self, app: App, *, works: bool, clock_s: Callable[[], float] = time.time) -> None:
        """`works` says that this process does the work itself, and leaves none to workers.

        Raises `SettingsError` for a token that is not there or could be guessed.
        """
        self._access = Access(app.settings.serve.api_tokens, clock_s)
        self._previews = Previews(app, here=works)
        self._api: ASGIApp = api.create(app, self._previews)
        self._pages: ASGIApp = pages.create(app, self._access, self._previews)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._warned = -_WARN_EVERY_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        for_machines = is_for_machines(scope)
        answer = self._let_in(scope, for_machines)
        if answer is None:
            try:
                body = await _whole(Headers(scope=scope), receive)
            except _Unread as error:
                answer = refusal(error.status, str(error), for_machines=for_machines)
                answer.headers["Connection"] = "close"  # the rest of a body that nobody reads
        if answer is None and not await self._takes_room():
            answer = refusal(503, "too much is being worked on: try again in a moment", for_machines=for_machines)
        if answer is not None:
            await answer(scope, receive, send)
            return
        try:
            await _guarded(self._api if for_machines else self._pages, scope, _replaying(body, receive), send)
        finally:
            self._room.release()

    def close(self) -> None:
        """End what was begun here."""
        self._previews.close()

    async def _takes_room(self) -> bool:
        """Take the room of one request, to be given back; whether there was any in time."""
        try:
            return await asyncio.wait_for(self._room.acquire(), ROOM_WITHIN_S)
        except TimeoutError:
            return False

    def _let_in(self, scope: Scope, for_machines: bool) -> Response | None:
        """Why a request is not looked at any further; None, and who asks in the scope's state, when it is."""
        if not for_machines:
            return pages.let_in(scope, self._access)
        given = Headers(scope=scope).getlist("authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        visitor = self._access.by_token(token.strip()) if scheme.lower() == "bearer" else None
        if visitor is None:
            self._warn()
            answer = refusal(401, "a bearer token of [serve] api_tokens is needed", for_machines=True)
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        if scope["method"] not in ("GET", "HEAD") and not visitor.may_act:
            return refusal(403, f"the token {visitor.name!r} is read_only: it may look and not act", for_machines=True)
        scope.setdefault("state", {})["visitor"] = visitor
        return None

    def _warn(self) -> None:
        if time.monotonic() - self._warned >= _WARN_EVERY_S:
            self._warned = time.monotonic()
            log.warning("operations.refused", reason="no token of ours")


async def _whole(headers: Headers, receive: Receive) -> bytes:
    """The body of a request, before anything is done about it. Raises `_Unread`."""
    said = headers.get("content-length", "0")
    if not said.isdigit() or len(said) > 12 or int(said) > MAX_BODY:
        raise _Unread(413)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _Unread(408)  # whoever goes away half way has asked for nothing
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    raise _Unread(413)
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise _Unread(408) from None


def _replaying(body: bytes, receive: Receive) -> Receive:
    """What the application receives: the body that was read already, then what comes after it."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay


async def _guarded(inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Have a request answered; what nobody foresaw has been told and logged by then, and is not raised once more."""
    begun = False

    async def sending(message: Message) -> None:
        nonlocal begun
        begun = True
        if message["type"] == "http.response.start":
            _harden(message)
        await send(message)

    try:
        await inner(scope, receive, sending)
    except Exception:
        if not begun:
            raise


def _harden(start: Message) -> None:
    """Nothing that is answered here is kept by a browser or a proxy, or taken for anything but what it says it is."""
    headers: list[tuple[bytes, Any]] = list(start["headers"])
    names = {name.lower() for name, _ in headers}
    for name, value in ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")):
        if name not in names:
            headers.append((name, value))
    start["headers"] = headers
