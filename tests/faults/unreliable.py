"""A ledger's service that misbehaves on purpose, as a process.

Run as `python -m tests.faults.unreliable URL PORT SEED [single]`; `single` hides that it takes batches.

Of the requests that bring events some are answered 500 after their commit, some lose their connection before or after
it, and some get an old answer again: one that was given to the same request before.
"""

from __future__ import annotations

import hashlib
import sys
from random import Random
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.engine import connect
from ledger.service import create_app

TROUBLE = 0.12


class Unreliable:
    """Middleware around the service."""

    def __init__(self, app: ASGIApp, seed: int, single: bool) -> None:
        self._app, self._random, self._single = app, Random(seed), single
        self._old: dict[bytes, list[Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/v1/" and self._single:
            scope = {**scope, "path": "/v1/deals"}  # tells nothing of what else there is
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        parts: list[Message] = []
        while not parts or parts[-1].get("more_body"):
            parts.append(await receive())
        name = hashlib.sha256(b"".join(part.get("body", b"") for part in parts)).digest()
        mishap = self._random.choice(["before", "after", "500", "old"]) if self._random.random() < TROUBLE else ""
        if mishap == "old" and name in self._old:
            for message in self._old[name]:
                await send(message)
            return
        if mishap == "before":
            raise ConnectionResetError
        waiting, answer = iter(parts), []

        async def again() -> Message:
            return next(waiting)

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._app(scope, again, keep)
        if answer[0]["status"] < 300:
            self._old[name] = answer
        if mishap == "after":
            raise ConnectionResetError
        if mishap == "500":
            answer = [
                {"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"2")]},
                {"type": "http.response.body", "body": b"{}"},
            ]
        for message in answer:
            await send(message)


class Resetting(Unreliable):
    """A raised reset becomes a closed connection, not uvicorn's own 500."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except ConnectionResetError:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]})
            raise


def main(url: str, port: int, seed: int, single: bool) -> None:
    """Serve until killed."""
    app: Any = Resetting(create_app(connect(url)), seed, single)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical", lifespan="off", ws="none")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), "single" in sys.argv)
