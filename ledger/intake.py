"""Intake: requests that bring events and arrive while one commit is under way are judged and committed together."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import msgspec

from ledger.admission import Admitted
from ledger.choices import Choices
from ledger.counting import Counting
from ledger.door import UNAVAILABLE, Door, Passed, Reply, problem
from ledger.embedded import EmbeddedLedger
from ledger.keys import ApiKey
from ledger.port import LedgerFault, Receipt
from ledger.reading import Refused, Request

TOGETHER = 500
"""At most so many requests share a commit, and about as many events."""

_log = logging.getLogger(__name__)


class Answered(NamedTuple):
    """An answer, and whose request it was (None: of no known key)."""

    reply: Reply
    key: ApiKey | None


class _Asked(NamedTuple):
    token: str | None
    request: Request | Refused
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Answered]


class _Open(NamedTuple):
    """A request that passed every check and waits for its events to be committed."""

    asked: _Asked
    passed: Passed
    request: Request


class Intake:
    """A thread that judges requests and appends their events, in the order of their arrival.

    One look at the keys serves a whole batch, so that a revoked key is refused at once and a look costs nothing.
    """

    def __init__(
        self, door: Door, ledger_of: Callable[[str], EmbeddedLedger], choices: Choices, counting: Counting
    ) -> None:
        self._door = door
        self._ledger_of = ledger_of
        self._choices = choices
        self._counting = counting
        self._waiting: SimpleQueue[_Asked] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def ask(self, token: str | None, request: Request | Refused) -> Answered:
        """The answer to a request; what it says was taken is committed."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ledger intake", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answered] = loop.create_future()
        self._waiting.put(_Asked(token, request, loop, answer))
        return await answer

    def _run(self) -> None:
        while True:
            batch = self._gathered()
            answers = self._answers(batch)
            loops = {asked.loop for asked in batch}
            for loop in loops:
                told = [
                    (asked.answer, answer) for asked, answer in zip(batch, answers, strict=True) if asked.loop is loop
                ]
                with suppress(RuntimeError):  # the server has ended: nobody waits any more
                    loop.call_soon_threadsafe(_tell, told)

    def _gathered(self) -> list[_Asked]:
        batch = [self._waiting.get()]
        events = 0
        with suppress(Empty):
            while len(batch) < TOGETHER and events < TOGETHER:
                batch.append(self._waiting.get_nowait())
                events += len(getattr(batch[-1].request, "events", ()))
        return batch

    def _answers(self, batch: Sequence[_Asked]) -> list[Answered]:
        try:
            known = self._door.known(asked.token for asked in batch if asked.token is not None)
        except LedgerFault as fault:
            _log.error("keys could not be looked up: %s", fault)
            return [Answered(UNAVAILABLE, None)] * len(batch)
        answers: list[Answered | None] = [None] * len(batch)
        opened: dict[str, list[tuple[int, _Open]]] = {}
        for place, asked in enumerate(batch):
            verdict = self._door.judge(asked.token, known, "deals:write")
            if isinstance(verdict, Reply):
                answers[place] = Answered(verdict, known.get(asked.token or ""))
            elif isinstance(asked.request, Refused):
                answers[place] = Answered(asked.request.reply(verdict.headers), verdict.key)
            else:
                waits = _Open(asked, verdict, asked.request)
                opened.setdefault(verdict.key.org, []).append((place, waits))
        for org, waiting in opened.items():
            replies = self._appended(org, [one for _, one in waiting])
            for (place, one), reply in zip(waiting, replies, strict=True):
                answers[place] = Answered(reply, one.passed.key)
        return [answer for answer in answers if answer is not None]

    def _appended(self, org: str, waiting: Sequence[_Open]) -> list[Reply]:
        admitted: list[Admitted] = [event for one in waiting for event in one.request.events]
        try:
            receipts = iter(self._ledger_of(org).take(admitted))
        except LedgerFault as fault:
            _log.error("events could not be committed: %s", fault)
            return [with_headers(UNAVAILABLE, one.passed.headers) for one in waiting]
        except Exception:
            _log.exception("events could not be committed")
            return [problem(500, "internal_error", one.passed.headers) for one in waiting]
        return [self._reply(one, [next(receipts) for _ in one.request.events]) for one in waiting]

    def _reply(self, one: _Open, receipts: Sequence[Receipt]) -> Reply:
        answers = [self._answer(event, receipt) for event, receipt in zip(one.request.events, receipts, strict=True)]
        if not one.request.many:
            [(status, ids)] = answers
            return Reply(status, msgspec.json.encode(ids), one.passed.headers)
        taken = iter(answers)
        results = []
        for refused in one.request.results:
            if refused is None:
                status, ids = next(taken)
                results.append({"status": status, **ids})
            else:
                results.append({"status": refused.status, "error": refused.code, "reason": refused.reason})
        return Reply(200, msgspec.json.encode({"results": results}), one.passed.headers)

    def _answer(self, event: Admitted, receipt: Receipt) -> tuple[int, dict[str, Any]]:
        ids: dict[str, Any] = {
            "source_event_id": receipt.source_event_id,
            "domain_event_id": receipt.domain_event_id,
            "deal_id": receipt.deal_id,
        }
        if not receipt.conflict:
            self._counting.taken(receipt.outcome)
            return (201 if receipt.outcome == "appended" else 200), ids
        self._counting.taken("conflict")
        _log.error("the key %s holds another payload: see %s", event.dedup_key, receipt.domain_event_id)
        status = self._choices.conflict_status
        return status, ({"error": "conflict", **ids} if status == 409 else ids) | {"conflict": True}


def with_headers(reply: Reply, headers: dict[str, str]) -> Reply:
    """The same answer, with these headers as well."""
    return reply._replace(headers={**reply.headers, **headers})


def _tell(told: Sequence[tuple[asyncio.Future[Answered], Answered]]) -> None:
    for answer, said in told:
        if not answer.done():
            answer.set_result(said)
