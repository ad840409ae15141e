"""Book: every answer is counted, and every call of a known key written down."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial

from sqlalchemy import Engine

from ledger import keys
from ledger.beside import Beside
from ledger.counting import Counting
from ledger.keys import ApiKey
from ledger.port import LedgerFault

_NOTED_EVERY_S = 1.0
_HOUR = len("2026-04-22T10")
_log = logging.getLogger(__name__)


class Book:
    """Calls of known keys are written down together a moment after they were answered; a crash loses that moment's.

    What is older is tidied up once an hour, while there are calls.
    """

    def __init__(self, engine: Engine, counting: Counting, now: Callable[[], str], beside: Beside) -> None:
        self._engine = engine
        self._beside = beside
        self._counting = counting
        self._now = now
        self._tidied = ""
        self._calls: Counter[tuple[str, str, int]] = Counter()
        self._writing: asyncio.Task[None] | None = None

    def answered(self, key: ApiKey | None, method: str, path: str, status: int) -> None:
        """A request ended so; `path` is one of the service's own, or `other`."""
        self._counting.answered(path, status)
        if key is None:
            return
        self._calls[key.key_id, f"{method} {path}", status] += 1
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._calls:
            await asyncio.sleep(_NOTED_EVERY_S)
            calls, self._calls = self._calls, Counter()
            try:
                await self._beside.ask(partial(self._put, calls), within_s=None)  # written twice, it would count twice
            except LedgerFault as fault:
                _log.warning("the use of keys could not be noted: %s", fault)
                self._calls.update(calls)
                return

    def _put(self, calls: Counter[tuple[str, str, int]]) -> None:
        at = self._now()
        keys.note(self._engine, calls, at)
        if at[:_HOUR] != self._tidied:
            keys.tidy(self._engine, at)
            self._tidied = at[:_HOUR]
