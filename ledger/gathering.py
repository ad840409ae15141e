"""Gathering: requests that arrive while one commit is under way share the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool

from deals.events import Event
from ledger.embedded import EmbeddedLedger
from ledger.port import Answer

_MOST = 500


class _Waiting(NamedTuple):
    event: Event
    raw: bytes
    answer: asyncio.Future[Answer]


class Gathering:
    """The events of one org on their way into its ledger, in the order of their arrival.

    Each must have been admitted before: a refused one would hold up the later events of its deal.
    """

    def __init__(self, ledger: EmbeddedLedger) -> None:
        self._ledger = ledger
        self._waiting: deque[_Waiting] = deque()
        self._work: asyncio.Task[None] | None = None

    async def append(self, event: Event, raw: bytes) -> Answer:
        """Append one event, committed when this returns. Raises what `EmbeddedLedger.append` raises."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(event, raw, answer))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]
            events, raws = [one.event for one in batch], [one.raw for one in batch]
            try:
                answers = await run_in_threadpool(self._ledger.append, events, raws)
            except Exception as error:
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
            else:
                for one, answer in zip(batch, answers, strict=True):
                    if not one.answer.done():
                        one.answer.set_result(answer)
