"""Gate: what stands before every other /v1 path of the service: keys, limits, their headers, and the book."""

from __future__ import annotations

import logging
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.away import Away
from ledger.beside import Beside
from ledger.book import Book
from ledger.door import Door, RawHeaders, Reply, bearer, problem
from ledger.keys import ApiKey
from ledger.port import LedgerFault
from ledger.posting import answer

OPEN = "/v1/openapi.json"

_log = logging.getLogger(__name__)


class Gate:
    """ASGI middleware. The order of checks is the contract's: key (401), then limit (429); the scope is the route's.

    A route finds its key as `request.state.key`. Each answer carries the limiter's headers, errors included, but for a
    401, where there is no key to count on.
    """

    def __init__(self, app: ASGIApp, *, door: Door, book: Book, beside: Beside, away: Away) -> None:
        self._app = app
        self._door = door
        self._book = book
        self._beside = beside
        self._away = away

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it here."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path == OPEN or not (path == "/v1" or path.startswith("/v1/")):
            await self._app(scope, receive, send)
            return
        token = bearer(scope["headers"])
        try:
            known = {} if token is None else await self._beside.ask(partial(self._door.known, [token]))
        except LedgerFault as fault:
            _log.error("the key could not be looked up: %s", fault)
            await self._answer(scope, send, self._away.reply("failed"), None)
            return
        verdict = self._door.judge(token, known)
        if isinstance(verdict, Reply):
            await self._answer(scope, send, verdict, known.get(token or ""))
            return
        scope.setdefault("state", {})["key"] = verdict.key
        await self._pass(scope, receive, send, verdict.headers)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, headers: RawHeaders) -> None:
        status = 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
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
            self._book.answered(key, scope["method"], _path(scope), status)

    async def _answer(self, scope: Scope, send: Send, reply: Reply, key: ApiKey | None) -> None:
        await answer(send, reply)
        self._book.answered(key, scope["method"], _path(scope), reply.status)


def _path(scope: Scope) -> str:
    """The route's own path, so that what anybody may ask for makes no counter."""
    return getattr(scope.get("route"), "path", None) or "other"
