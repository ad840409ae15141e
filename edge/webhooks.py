"""Webhooks: `POST /webhooks/{connection}`, or `/{segment}` behind it where a connection keeps its address to itself: a
plain ASGI application that answers 202 once the bytes are committed."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from edge.counting import Counting
from pipeline.receive import Delivery, Door, Headers, Intake, Outcome, Unproven, Waiting
from pipeline.store.session import Store

PATH = "/webhooks/"

MAX_BODY = 1024 * 1024
"""Bytes. The largest delivery that a contract allows, a bulk event of 200 whole deals, is a third of it."""

BODY_WITHIN_S = 10.0
ANSWER_WITHIN_S = 6.0
"""Seconds: the time a body may take to come, and the time after which a sender hears 503 whatever the database does."""

MAX_WAITING, MAX_BYTES = 5_000, 64 * MAX_BODY
"""More deliveries than that, or larger ones in all, do not wait for a commit: their senders hear 503 and come back."""

_WARN_EVERY_S = 60.0
_JSON = (b"content-type", b"application/json")
_WHY = {
    404: "there is no such webhook",
    405: "a webhook is a POST",
    408: "the body took too long",
    413: f"the body is larger than {MAX_BODY} bytes",
    415: "send application/json, not compressed",
    401: "unauthenticated",
    503: "the delivery could not be stored; send it again",
}

log = structlog.get_logger()


class _Refusal(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Webhooks:
    """The receiver. Nothing that does not prove itself reaches the database, or makes us read what it says.

    `rung` is called, from a thread, with the connections that have new deliveries, after their commit.
    """

    def __init__(
        self, doors: Mapping[str, Door], store: Store, rung: Callable[[set[str]], None], counting: Counting
    ) -> None:
        self._key = secrets.token_bytes(32)
        self._doors = {self._place(PATH + place): door for door in doors.values() for place in door.places()}
        self._names = {door.connection_id: name for name, door in doors.items()}
        self._rung = rung
        self._counting = counting
        self._intake = Intake(store, self._settled)
        self._waiting = Waiting[Outcome](
            late=lambda: "failed", most=MAX_WAITING, most_bytes=MAX_BYTES, within_s=ANSWER_WITHIN_S
        )
        self._warned: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one delivery."""
        door = self._doors.get(self._place(scope["path"]))
        try:
            if door is None:
                raise _Refusal(404, "unrouted")
            if scope["method"] != "POST":
                raise _Refusal(405, "method")
            headers: Headers = scope["headers"]
            _check(headers, door)
            if self._waiting.full or self._intake.busy_s() > ANSWER_WITHIN_S:
                raise _Refusal(503, "unavailable")
            body = await _body(receive)
            delivery = self._admitted(door, headers, body)
            outcome = await self._waiting.answer(len(body), lambda place: self._intake.offer(place, delivery))
            if outcome == "failed":
                raise _Refusal(503, "unavailable")
        except _Refusal as refusal:
            self._counting.refused(door.connection if door else "", refusal.reason)
            await _refuse(send, refusal.status)
            return
        self._counting.received(door.connection, outcome)
        told = b'{"delivery":"' + delivery.name.hex().encode() + b'"}'
        await _answer(send, 202 if outcome == "accepted" else 200, told, [])

    def close(self) -> None:
        """Commit what is under way, then receive nothing more."""
        self._intake.close()

    def _place(self, path: str) -> bytes:
        """An address as it is looked up: a segment nobody should guess is compared by a digest that nobody can choose,
        so how long a refusal takes tells nothing, and an address is right as a whole or unknown.
        """
        return hashlib.blake2b(path.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()

    def _admitted(self, door: Door, headers: Headers, body: bytes) -> Delivery:
        try:
            return door.admit(headers, body, time.time())
        except Unproven as unproven:
            self._warn(door.connection, unproven.reason)
            raise _Refusal(401, unproven.reason) from None

    def _warn(self, connection: str, reason: str) -> None:
        """Say now and then that deliveries are refused: a wrong secret looks like silence to whoever waits for them."""
        moment = time.monotonic()
        if moment - self._warned.get(connection, -_WARN_EVERY_S) >= _WARN_EVERY_S:
            self._warned[connection] = moment
            log.warning("webhook.refused", connection=connection, reason=reason)

    def _settled(self, outcomes: Sequence[tuple[Any, Delivery, Outcome]]) -> None:
        """From the intake's thread: let the answers go, then ring."""
        loop: asyncio.AbstractEventLoop = outcomes[0][0].get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._tell, outcomes)
        rung = {self._names[one.connection_id] for _, one, outcome in outcomes if outcome != "failed"}
        if rung:
            self._rung(rung)

    def _tell(self, outcomes: Sequence[tuple[asyncio.Future[Outcome], Delivery, Outcome]]) -> None:
        for waiting, _, outcome in outcomes:
            if not waiting.done():
                waiting.set_result(outcome)


def _check(headers: Headers, door: Door) -> None:
    """What can be refused before a body is read."""
    kind = b""
    for name, value in headers:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 12 or int(value) > MAX_BODY:
                raise _Refusal(413, "too_large")
        elif name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise _Refusal(415, "encoded")
    if kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json")):
        return
    # A form in somebody's browser can send anything but a JSON type or a signature without being asked whether it may.
    if kind or not door.signed:
        raise _Refusal(415, "not_json")


async def _body(receive: Receive) -> bytes:
    """The whole body. A sender that goes away has sent nothing."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return _capped(message.get("body", b""))
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            parts = bytearray()
            while message["type"] == "http.request":
                parts += message.get("body", b"")
                _capped(parts)
                if not message.get("more_body"):
                    return bytes(parts)
                message = await receive()
    except TimeoutError:
        raise _Refusal(408, "too_slow") from None
    raise _Refusal(408, "gone")


def _capped(body: Any) -> bytes:
    if len(body) > MAX_BODY:
        raise _Refusal(413, "too_large")
    return body  # type: ignore[no-any-return]


async def _refuse(send: Send, status: int) -> None:
    more = {405: [(b"allow", b"POST")], 503: [(b"retry-after", b"2")]}.get(status, [])
    if status in (408, 413, 415):
        more = [(b"connection", b"close")]  # the rest of a body that nobody reads
    await _answer(send, status, b'{"error":"' + _WHY[status].encode() + b'"}', more)


async def _answer(send: Send, status: int, body: bytes, more: list[tuple[bytes, bytes]]) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
