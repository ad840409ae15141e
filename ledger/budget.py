"""Budget: how many requests an API key may still make, shared by the threads of a process and, kept apart, by all."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from ledger.faults import translated
from ledger.tables import budgets
from ledger.window import LONGEST_WAIT_S, Grant, News, Window, granted, held, learned, returned

_AT_ONCE = 32
"""So many requests a process takes at once out of what all share."""

_FRESH_S = 1.0
"""Requests taken and not used within this time are looked at again: another process may have been told to wait."""

T = TypeVar("T")
Step = Callable[[Window, float], tuple[Window, T]]
"""From a window and the time to the window afterwards, and what is to be known of it."""


class Purse(Protocol):
    """Where a key's window is kept."""

    def change(self, step: Step[T]) -> T:
        """Take a step, alone. Raises a `LedgerFault` when that cannot be done."""
        ...


class OwnPurse:
    """A window kept in this process."""

    def __init__(self, epoch: Callable[[], float] = time.time) -> None:
        self._epoch = epoch
        self._window = Window()

    def change(self, step: Step[T]) -> T:
        """Take a step; `Budget` lets one thread in at a time."""
        self._window, found = step(self._window, self._epoch())
        return found


class KeyPurse:
    """The window of an API key, kept in a database for all processes that use the key; `name` must tell nothing of it.

    The clock is the database's, so that processes whose clocks differ agree; `epoch` replaces it in tests.
    """

    def __init__(self, engine: Engine, name: str, epoch: Callable[[], float] | None = None) -> None:
        self._engine = engine
        self._name = name
        self._epoch = epoch

    def change(self, step: Step[T]) -> T:
        """Take a step in a transaction of its own. It need not outlive a crash of the database."""
        with translated(), self._engine.begin() as tx:
            if tx.dialect.name == "postgresql":
                tx.execute(text("SET LOCAL synchronous_commit = off"))
            window = self._kept(tx)
            changed, found = step(window, self._now(tx))
            if changed != window:
                state = msgspec.json.encode(changed).decode()
                tx.execute(update(budgets).where(budgets.c.name == self._name).values(state=state))
        return found

    def _kept(self, tx: Connection) -> Window:
        query = select(budgets.c.state).where(budgets.c.name == self._name).with_for_update()
        state = tx.execute(query).scalar_one_or_none()
        if state is None:
            insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
            tx.execute(insert(budgets).values(name=self._name, state="{}").on_conflict_do_nothing())
            state = tx.execute(query).scalar_one()
        return msgspec.json.decode(state, type=Window)

    def _now(self, tx: Connection) -> float:
        if self._epoch is not None:
            return self._epoch()
        if tx.dialect.name == "postgresql":
            return float(tx.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
        return time.time()  # all who share a file share this machine's clock


class Budget:
    """The requests of a key, for all threads of this process.

    The ledger's limit is a fixed window: it is used to its end, and the next one waited for, so that no request earns a
    429; when one comes all the same, since others use the key too, `Retry-After` counts for everybody. `per_minute` is
    a limit of our own (None: none).
    """

    def __init__(
        self,
        per_minute: int | None = None,
        purse: Purse | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        self.known = False
        """Whether an answer has told what the limits are: before that, nobody may ask many things at once."""
        self._per_minute = per_minute
        self._purse = purse or OwnPurse(epoch)
        self._monotonic = monotonic
        self._epoch = epoch
        self._alone = threading.Lock()
        self._permits = Grant(0, 0.0, 0.0, 0)
        self._good_until = 0.0
        self._news: tuple[News | None, float] | None = None
        self._in_flight = 0
        self._reset = 0

    def take(self) -> float:
        """Seconds until a request may go; 0 when it may go now, and then it is counted. Raises a `LedgerFault`."""
        with self._alone:
            if not self._permits.permits or self._monotonic() >= self._good_until:
                self._permits = self._exchange(_AT_ONCE)
                self._good_until = self._monotonic() + min(_FRESH_S, self._permits.seconds)
                if not self._permits.permits:
                    return self._permits.wait
            self._permits = self._permits._replace(permits=self._permits.permits - 1)
            self._in_flight += 1
            return 0.0

    def answered(self, headers: Mapping[str, str] | None) -> None:
        """A request has come to its end; take in what its answer, if there is one, says of the window."""
        with self._alone:
            self._in_flight -= 1
            if headers is None:
                return
            self.known = True
            news = _news(headers, self._in_flight, self._epoch)
            if news is None:
                self._news = self._news or (None, self._monotonic())
                return
            known = self._news[0] if self._news else None
            if known is not None and known.reset == news.reset:
                news = news._replace(remaining=min(known.remaining, news.remaining))
            elif known is not None and known.reset > news.reset:
                return
            self._news = news, self._monotonic()
            if news.reset != self._reset:
                self._reset, self._good_until = news.reset, 0.0  # what was taken before counts in no window now
            if not news.remaining:
                self._permits = self._permits._replace(permits=0)

    def hold(self, seconds: float) -> None:
        """Let nobody who uses this key ask before `seconds` have passed. Raises a `LedgerFault`."""
        with self._alone:
            self._permits = self._permits._replace(permits=0)
            self._purse.change(lambda window, now: (held(window, now, seconds), None))

    def rest(self) -> None:
        """Give back what was taken and not used: nothing is to be asked for a while."""
        with self._alone:
            if self._permits.permits or self._news is not None:
                self._permits = self._exchange(0)

    def _exchange(self, most: int) -> Grant:
        """Tell what was learned, give back what is left over, and take anew, in one step."""
        news, permits = self._news, self._permits

        def step(window: Window, now: float) -> tuple[Window, tuple[Grant, bool]]:
            window = returned(window, now, permits.permits, permits.turn)
            if news is not None:
                window = learned(window, now, self._aged(*news))
            if not most:
                return window, (Grant(0, 0.0, 0.0, window.turn), window.met)
            window, grant = granted(window, now, most, self._per_minute)
            return window, (grant, window.met)

        grant, met = self._purse.change(step)
        self._news = None
        self.known = self.known or met
        return grant

    def _aged(self, news: News | None, heard: float) -> News | None:
        return news and news._replace(ends_in=news.ends_in - (self._monotonic() - heard))


def budget_name(url: str, key: str) -> str:
    """The name under which the budget of a key is shared; it tells nothing of the key."""
    return hashlib.sha256(f"budget of {url} {key}".encode()).hexdigest()[:32]


def retry_after(headers: Mapping[str, str], otherwise: float = 0.0) -> float:
    """The seconds an answer asks us to wait."""
    seconds = _whole(headers.get("retry-after"))
    return otherwise if seconds is None else min(float(seconds), LONGEST_WAIT_S)


def _news(headers: Mapping[str, str], in_flight: int, epoch: Callable[[], float]) -> News | None:
    remaining, reset = _whole(headers.get("x-ratelimit-remaining")), _whole(headers.get("x-ratelimit-reset"))
    if remaining is None or reset is None:
        return None
    limit = _whole(headers.get("x-ratelimit-limit"))
    return News(limit, remaining, reset, reset - _now_there(headers, epoch), in_flight)


def _now_there(headers: Mapping[str, Any], epoch: Callable[[], float]) -> float:
    """The ledger's own clock, where it tells it: ours may be wrong."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):  # no date, or one beyond every calendar
        return epoch()


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 12 else None
