"""Waiting: how many requests may wait for a commit, how large they may be together, and for how long."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_LOOKED_AT_EVERY_S = 1.0


class Waiting(Generic[T]):
    """The requests of one server that wait for its database, seen from its event loop.

    `most` of them may wait, with bodies of `most_bytes` bytes in all, which the last one let in may exceed. Nobody
    waits longer than `within_s` seconds and one more. Who has waited for so long gets what `late` returns, who finds
    no room what `full` does, or `late` without it: neither promises anything, whatever becomes of the request.
    """

    def __init__(
        self, *, late: Callable[[], T], full: Callable[[], T] | None = None, most: int, most_bytes: int, within_s: float
    ) -> None:
        self._late = late
        self._for_want_of_room = full or late
        self._most = most
        self._most_bytes = most_bytes
        self._within_s = within_s
        self._requests = 0
        self._bytes = 0
        self._waits: deque[tuple[float, asyncio.Future[T]]] = deque()
        self._watched: asyncio.AbstractEventLoop | None = None

    @property
    def full(self) -> bool:
        """Whether there is no room: it is known before a body is read."""
        return self._requests >= self._most or self._bytes >= self._most_bytes

    @property
    def number(self) -> int:
        """How many wait at this moment."""
        return self._requests

    @property
    def longest_s(self) -> float:
        """For how many seconds the one has waited that has waited longest; 0 where nobody does."""
        while self._waits and self._waits[0][1].done():
            self._waits.popleft()
        return time.monotonic() - self._waits[0][0] + self._within_s if self._waits else 0.0

    async def answer(self, size: int, offer: Callable[[asyncio.Future[T]], None]) -> T:
        """What becomes of a request of so many bytes; `offer` is given the place of its answer, if there is room."""
        if self.full:
            return self._for_want_of_room()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._requests += 1
        self._bytes += size
        self._waits.append((time.monotonic() + self._within_s, answer))
        if self._watched is not loop:
            self._watched = loop
            loop.call_later(_LOOKED_AT_EVERY_S, self._look, loop)
        try:
            offer(answer)
            return await answer
        finally:
            self._requests -= 1
            self._bytes -= size

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """A look a second costs less than a timer for each request."""
        moment = time.monotonic()
        while self._waits and (self._waits[0][1].done() or self._waits[0][0] <= moment):
            answer = self._waits.popleft()[1]
            if not answer.done():
                answer.set_result(self._late())
        if self._waits:
            loop.call_later(_LOOKED_AT_EVERY_S, self._look, loop)
        else:
            self._watched = None
