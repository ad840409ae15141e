"""Permits: the right to send one request, taken from what an account's holders share, a few at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import structlog

from connectors.pacing import News
from connectors.spending import NOTHING, Grant, Spending, Terms, granted, learned, returned

T = TypeVar("T")
Step = Callable[[Spending, float], tuple[Spending, T]]
"""From the spending and the time to the spending afterwards, and what is to be known of it."""

log = structlog.get_logger()


class Purse(Protocol):
    """Where an account's spending is kept."""

    def change(self, step: Step[T]) -> T:
        """Take a step, alone."""
        ...


class OwnPurse:
    """A spending kept in this process, on the given clock (epoch seconds)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spending = Spending()
        self._alone = threading.Lock()

    def change(self, step: Step[T]) -> T:
        """Take a step, alone."""
        with self._alone:
            self._spending, found = step(self._spending, self._clock())
            return found


class Batches(NamedTuple):
    """How permits are taken: up to `at_once` in one step, each good for `good_for` seconds.

    `late` is by how much the purse's time may be older than ours when we hear it. With `ahead`, whoever used up several
    goes for the next ones while its last request is under way: a purse in a database may have to be waited for.
    """

    at_once: int = 1
    good_for: float = 0.0
    late: float = 0.0
    ahead: bool = False


ONE_BY_ONE = Batches()


class HeldPermits:
    """One holder's permits; its threads share them. See `connectors.pacing.Permits` for what is promised.

    Several are taken in one step where there is ample room and they are used up; one at a time otherwise.
    """

    def __init__(
        self,
        purse: Purse,
        terms: Terms,
        batches: Batches = ONE_BY_ONE,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._purse = purse
        self._terms = terms
        self._batches = batches
        self._closed = False
        self._monotonic = monotonic
        self._alone = threading.Lock()
        self._grant = NOTHING
        self._heard = 0.0
        self._next = 1
        self._news: tuple[News, float] | None = None

    def take(self) -> float:
        """Seconds until a request may go; 0 when it may go now, and then it is counted."""
        with self._alone:
            if (not self._in_time() or not self._grant.permits) and not self._refill():
                return self._grant.wait
            self._grant = self._grant._replace(permits=self._grant.permits - 1)
            if self._batches.ahead and not self._grant.permits and self._next > 2:
                threading.Thread(target=self._go_ahead, name="permits", daemon=True).start()
            return 0.0

    def learned(self, news: News) -> None:
        """An answer told something of the budget: at once to everybody when nothing more may be sent."""
        with self._alone:
            self._news = news, self._monotonic()
            if news.left <= self._grant.permits:
                self._exchange(0)

    def close(self) -> None:
        """Give back what was not used. Where that fails, it comes back when its window is over."""
        with self._alone:
            self._closed = True
            if self._grant.permits or self._news:
                try:
                    self._exchange(0)
                except Exception as error:
                    log.warning("permits.not_given_back", reason=type(error).__name__)

    def _in_time(self) -> bool:
        return self._monotonic() < self._heard + self._grant.seconds - self._batches.late

    def _refill(self) -> bool:
        most = self._next if self._in_time() else 1
        self._exchange(most)
        if self._grant.permits:
            self._next = min(self._batches.at_once, 2 * most)
        return self._grant.permits > 0

    def _go_ahead(self) -> None:
        with self._alone:
            if not self._grant.permits and not self._closed:
                try:
                    self._refill()
                except Exception:
                    return  # whoever takes next meets it too

    def _exchange(self, most: int) -> None:
        """Give back what is left over, tell what was learned, and take anew, in one step."""
        grant, news, terms = self._grant, self._news, self._terms

        def step(spending: Spending, now: float) -> tuple[Spending, tuple[Grant, float]]:
            heard = self._monotonic()
            spending = returned(spending, now, terms, grant)
            if news is not None and (age := heard - news[1]) < news[0].seconds:
                spending = learned(spending, now, news[0]._replace(seconds=news[0].seconds - age))
            if not most:
                return spending, (NOTHING, heard)
            spending, taken = granted(spending, now, terms, most, self._batches.good_for)
            return spending, (taken, heard)

        self._grant, self._heard = self._purse.change(step)
        self._news = None
