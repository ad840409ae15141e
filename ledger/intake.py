"""Intake: requests that bring events and arrive while one commit is under way are judged and committed together."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from ledger import statements
from ledger.answering import Answering
from ledger.away import Away
from ledger.choices import MAX_WAITING
from ledger.door import Door, Passed, Reply, problem
from ledger.embedded import EmbeddedLedger
from ledger.engine import drop, kept
from ledger.faults import translated
from ledger.keys import ApiKey
from ledger.port import LedgerFault, LedgerUnavailable, Receipt
from ledger.reading import Refused, Request
from ledger.roundtrips import pipelined
from ledger.waiting import Waiting

TOGETHER = 500
"""About so many requests, or events, share a commit at most."""

ANSWER_WITHIN_S = 10.0
"""Seconds after which a sender hears 503 whatever the database does: a third of what ours waits for an answer."""

MOST_BYTES = 64 * 1024 * 1024
"""Events of so many bytes wait for the database at most: about what it commits while they may wait."""

AGAIN_WITHIN_S = 1.0
"""What failed sooner is tried once more: the database may have been restarted since the last commit."""

_HELD_FOR_S = 5.0
"""An intake that had nothing to do for so long closes its database connection."""

_BROKEN = problem(500, "internal_error")
_log = logging.getLogger(__name__)


class Answered(NamedTuple):
    """An answer, and whose request it was (None: of no known key)."""

    reply: Reply
    key: ApiKey | None


class _Asked(NamedTuple):
    token: str | None
    request: Request | Refused
    answer: asyncio.Future[Answered]


class _Open(NamedTuple):
    """A request that passed every check and waits for its events to be committed."""

    place: int
    passed: Passed
    request: Request


class _Judged:
    """A batch and its answers; `open` are the requests that wait for the commit, once judging them is `over`."""

    def __init__(self, batch: Sequence[_Asked]) -> None:
        self.over = False
        self.open: list[_Open] = []
        self._batch = batch
        self._answers: list[Answered | None] = [None] * len(batch)

    def judge(self, door: Door, known: Mapping[str, ApiKey]) -> None:
        """Let requests pass or refuse them, each counted once."""
        for place, (token, request, _) in enumerate(self._batch):
            verdict = door.judge(token, known, "deals:write")
            if isinstance(verdict, Reply):
                self._answers[place] = Answered(verdict, known.get(token or ""))
            elif isinstance(request, Refused):
                self._answers[place] = Answered(request.reply(verdict.headers), verdict.key)
            else:
                self.open.append(_Open(place, verdict, request))
        self.over = True

    def settle(self, one: _Open, reply: Reply) -> None:
        """Answer a request that was open."""
        self._answers[one.place] = Answered(reply, one.passed.key)

    def answers(self, otherwise: Callable[[], Reply]) -> list[Answered]:
        """An answer for each request: `otherwise` for whoever was not even judged."""
        return [answer or Answered(otherwise(), None) for answer in self._answers]


class Intake:
    """A thread that judges requests and appends their events, in the order of their arrival.

    One look at the keys, in the transaction that appends, serves a whole batch: a revoked key is refused at once, and
    the look costs next to nothing. Tokens that were never seen in force take no transaction that writes.
    """

    def __init__(
        self,
        engine: Engine,
        door: Door,
        ledger_of: Callable[[str], EmbeddedLedger],
        answering: Answering,
        away: Away,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._engine = engine
        self._door = door
        self._ledger_of = ledger_of
        self._answering = answering
        self._arrived: list[_Asked] = []
        self._queue: SimpleQueue[list[_Asked]] = SimpleQueue()
        self._away = away
        self._waiting = Waiting(
            full=lambda: Answered(away.reply("full", self._trouble_s()), None),
            late=lambda: Answered(away.reply("late", max(ANSWER_WITHIN_S, self._busy_s())), None),
            most=max_waiting,
            most_bytes=MOST_BYTES,
            within_s=ANSWER_WITHIN_S,
        )
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._busy_since: float | None = None

    async def ask(self, token: str | None, request: Request | Refused) -> Answered:
        """The answer to a request; what it says was taken is committed. All requests come from one event loop."""

        def offer(answer: asyncio.Future[Answered]) -> None:
            if not self._arrived:
                answer.get_loop().call_soon(self._hand_over)  # with all others that this turn of the loop reads
            self._arrived.append(_Asked(token, request, answer))

        return await self._waiting.answer(_size(request), offer)

    @property
    def waiting(self) -> int:
        """How many requests wait to be judged and committed."""
        return self._waiting.number

    @property
    def longest_s(self) -> float:
        """For how many seconds the one of them has waited that has waited longest."""
        return self._waiting.longest_s

    def refusal(self) -> Reply | None:
        """What whoever comes now hears at once, since it could only be told to come back; None where it may wait."""
        if self.hangs():
            return self._away.reply("hangs", self._trouble_s())
        return self._away.reply("full", self._trouble_s()) if self._waiting.full else None

    def hangs(self) -> bool:
        """Whether the commit under way takes longer than anybody waits for."""
        return self._busy_s() > ANSWER_WITHIN_S

    def _busy_s(self) -> float:
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _trouble_s(self) -> float:
        """Who waits longest says how far behind we are: a commit may be quick, and still one of many."""
        return max(self._busy_s(), self.longest_s)

    def _hand_over(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ledger intake", daemon=True)
            self._thread.start()
        arrived, self._arrived = self._arrived, []
        self._queue.put(arrived)

    def _run(self) -> None:
        while True:
            batch = self._gathered()
            self._busy_since = time.monotonic()
            told = [(asked.answer, answer) for asked, answer in zip(batch, self._answers(batch), strict=True)]
            self._busy_since = None
            with suppress(RuntimeError):  # the server has ended: nobody waits any more
                batch[0].answer.get_loop().call_soon_threadsafe(_tell, told)

    def _gathered(self) -> list[_Asked]:
        """Wait for requests, then take those that came meanwhile."""
        batch: list[_Asked] = []
        while not batch:
            try:
                batch = _untold(self._queue.get(timeout=None if self._connection is None else _HELD_FOR_S))
            except Empty:
                self._disconnect()
        weight = _weight(batch)
        with suppress(Empty):
            while weight < TOGETHER:
                more = _untold(self._queue.get_nowait())
                weight += _weight(more)
                batch += more
        return batch

    def _answers(self, batch: Sequence[_Asked]) -> list[Answered]:
        judged = _Judged(batch)
        try:
            self._carry_out(batch, judged)
        except LedgerFault as fault:
            _log.error("events could not be committed: %s", fault)
            for one in judged.open:
                judged.settle(one, _with_headers(self._away.reply("failed"), one.passed))
        except Exception:
            _log.exception("events could not be committed together")
            for one in judged.open:
                judged.settle(one, self._alone(one))
        return judged.answers(lambda: self._away.reply("failed"))

    def _carry_out(self, batch: Sequence[_Asked], judged: _Judged) -> None:
        """Judge and commit, once more where that failed at once: a new connection may do what a dead one could not.

        Every event has its key, so that nothing is doubled, whatever became of the first attempt.
        """
        begun = time.monotonic()
        try:
            self._judge(batch, judged)
        except LedgerUnavailable as fault:
            if time.monotonic() - begun > AGAIN_WITHIN_S:
                raise
            _log.warning("events are committed again, on a new connection: %s", fault)
            self._judge(batch, judged)

    def _judge(self, batch: Sequence[_Asked], judged: _Judged) -> None:
        tokens = {asked.token for asked in batch if asked.token is not None}
        bringing = {asked.token for asked in batch if asked.token is not None and isinstance(asked.request, Request)}
        if not judged.over and not self._door.familiar(bringing):
            known = self._door.known(tokens)
            if not self._door.familiar(bringing):
                judged.judge(self._door, known)
                return
        with self._transaction(_weight(batch)) as tx:
            if not judged.over:
                judged.judge(self._door, self._door.known(tokens, tx))
            appended = self._appended(tx, judged.open)
        for one, receipts in appended:
            judged.settle(one, self._answering.reply(one.request, receipts, one.passed.headers))

    def _appended(self, tx: Connection, waiting: Sequence[_Open]) -> list[tuple[_Open, list[Receipt]]]:
        found: list[tuple[_Open, list[Receipt]]] = []
        for org in sorted({one.passed.key.org for one in waiting}):  # in one order, so that two services never deadlock
            mine = [one for one in waiting if one.passed.key.org == org]
            events = [event for one in mine for event in one.request.events]
            receipts = iter(self._ledger_of(org).take_within(tx, events))
            found += [(one, list(islice(receipts, len(one.request.events)))) for one in mine]
        return found

    def _alone(self, one: _Open) -> Reply:
        """What fails together may be one request's doing, which must not keep the others from the ledger."""
        try:
            with self._transaction(len(one.request.events)) as tx:
                [(_, receipts)] = self._appended(tx, [one])
            return self._answering.reply(one.request, receipts, one.passed.headers)
        except LedgerFault as fault:
            _log.error("events could not be committed: %s", fault)
            return _with_headers(self._away.reply("failed"), one.passed)
        except Exception:
            _log.exception("events could not be committed")
            return _with_headers(_BROKEN, one.passed)

    @contextmanager
    def _transaction(self, events: int) -> Iterator[Connection]:
        """A transaction that writes so many events, on a connection that is kept while there is work.

        After a failure it is closed: nobody knows what it is still good for.
        """
        try:
            with translated():
                if self._connection is None:
                    self._connection = kept(self._engine)
                many = events > statements.AT_ONCE
                with self._connection.begin() if many else pipelined(self._connection):
                    yield self._connection
        except BaseException:
            self._disconnect()
            raise
        self._away.committed()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            drop(connection)


def _untold(asked: Sequence[_Asked]) -> list[_Asked]:
    """Those who have not been told to come back meanwhile: the others will, and what they brought can wait for that."""
    return [one for one in asked if not one.answer.done()]


def _size(request: Request | Refused) -> int:
    return sum(len(event.raw) for event in request.events) if isinstance(request, Request) else 0


def _weight(batch: Sequence[_Asked]) -> int:
    return sum(max(1, len(one.request.events)) if isinstance(one.request, Request) else 1 for one in batch)


def _with_headers(reply: Reply, passed: Passed) -> Reply:
    return reply._replace(headers=(*reply.headers, *passed.headers))


def _tell(told: Sequence[tuple[asyncio.Future[Answered], Answered]]) -> None:
    for answer, said in told:
        if not answer.done():
            answer.set_result(said)
