"""Posting: the paths that bring events, a plain ASGI application before the routes: they are what there is much of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from ledger import reading
from ledger.admission import MAX_BODY
from ledger.book import Book
from ledger.door import Reply, problem, token_of
from ledger.intake import Answered, Intake
from ledger.reading import Refused, Request

EVENTS, BATCH = "/v1/deals/events", "/v1/deals/events/batch"

_JSON = (b"content-type", b"application/json")
_log = logging.getLogger(__name__)


class _Kind(NamedTuple):
    """How the body of a path is read, and how much of it at most."""

    read: Callable[[bytes], Request | Refused]
    most: int


_KINDS: Mapping[str, _Kind] = {
    EVENTS: _Kind(reading.single, MAX_BODY),
    BATCH: _Kind(reading.batch, reading.MAX_BATCH),
}


class Posting:
    """Answers what brings events through the intake, and leaves all else to the application behind it."""

    def __init__(self, app: ASGIApp, *, intake: Intake, book: Book) -> None:
        self._app = app
        self._intake = intake
        self._book = book

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope.get("path", "")
        kind = _KINDS.get(path)
        if kind is None or scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            reply, key = await self._answered(scope, receive, kind)
        except Exception:
            _log.exception("a request could not be answered")
            reply, key = problem(500, "internal_error"), None
        await answer(send, reply)
        self._book.answered(key, "POST", path, reply.status)

    async def _answered(self, scope: Scope, receive: Receive, kind: _Kind) -> Answered:
        """The order of checks is the contract's: what the body says counts only once the key has passed.

        Where nobody else may wait for the database, nothing is looked at: a body would be read, and a key asked for, in
        vain.
        """
        if (refusal := self._intake.refusal()) is not None:
            return Answered(refusal, None)
        content_type = authorization = b""
        keys = 0
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
                keys += 1
            elif name == b"content-type":
                content_type = value
        token = token_of(authorization) if keys == 1 else None
        if content_type != b"application/json" and not _is_json(content_type):
            request: Request | Refused = Refused(415, "unsupported_media_type", "send Content-Type: application/json")
        else:
            request = await _read(receive, kind)
        return await self._intake.ask(token, request)


async def answer(send: Send, reply: Reply) -> None:
    """Send a reply."""
    headers = [_JSON, (b"content-length", b"%d" % len(reply.body)), *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"application/json"


async def _read(receive: Receive, kind: _Kind) -> Request | Refused:
    """What the body says; it is read no further than the ledger would take it."""
    message = await receive()
    raw: bytes = message.get("body", b"")
    if message.get("more_body") or message["type"] != "http.request":
        parts = bytearray(raw)
        while message["type"] == "http.request" and message.get("more_body") and len(parts) <= kind.most:
            message = await receive()
            parts += message.get("body", b"")
        if message["type"] != "http.request":
            return Refused(400, "invalid_request", "the body broke off")
        raw = bytes(parts)
    if len(raw) > kind.most:
        return Refused(413, "too_large", f"the body has more than {kind.most} bytes")
    if len(raw) > MAX_BODY:  # the loop has others to serve meanwhile
        return await run_in_threadpool(kind.read, raw)
    return kind.read(raw)
