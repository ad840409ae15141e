"""Beside: what a server asks its database beside its intake, in threads that nobody has to wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

MOST = 40
"""So many questions are under way at once, the others wait: where the database hangs, each of them holds a thread."""

WITHIN_S = 10.0
"""Seconds after which whoever asked is told to come back; most clients wait three times as long."""

T = TypeVar("T")


class Beside:
    """Questions to the database, asked in threads beside the event loop.

    They end with the process: a pool's threads would keep it from ending for as long as the database hangs.
    `unavailable` makes the fault that is raised when there is no answer, given what to say.
    """

    def __init__(self, unavailable: Callable[[str], Exception]) -> None:
        self._unavailable = unavailable
        self._room = asyncio.Semaphore(MOST)
        self._asked = 0

    @property
    def waiting(self) -> int:
        """How many wait for an answer at this moment; who was told that there is none waits no more."""
        return self._asked

    async def ask(self, call: Callable[[], T], within_s: float | None = WITHIN_S) -> T:
        """What `call` returns or raises; or `unavailable`, when it takes too long, the waiting for others included.

        Whatever is asked then comes to its end unheard; what must not happen twice is waited for (None).
        """
        self._asked += 1
        try:
            async with asyncio.timeout(within_s):
                await self._room.acquire()
                return await self._answer(call)
        except TimeoutError:
            raise self._unavailable(f"the database did not answer within {within_s} s") from None
        finally:
            self._asked -= 1

    def _answer(self, call: Callable[[], T]) -> asyncio.Future[T]:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            threading.Thread(target=self._call, args=(call, answer), name="beside", daemon=True).start()
        except RuntimeError:
            self._room.release()
            raise
        return answer

    def _call(self, call: Callable[[], T], answer: asyncio.Future[T]) -> None:
        fault: BaseException | None = None
        found: Any = None
        try:
            found = call()
        except BaseException as error:
            fault = error
        with suppress(RuntimeError):  # the server has ended: nobody waits any more
            answer.get_loop().call_soon_threadsafe(self._tell, answer, found, fault)

    def _tell(self, answer: asyncio.Future[T], found: T, fault: BaseException | None) -> None:
        self._room.release()
        if answer.done():
            return
        if fault is None:
            answer.set_result(found)
        else:
            answer.set_exception(fault)
