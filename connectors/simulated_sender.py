"""The simulated sender: a vendor's webhook deliveries on their way, which double, overtake one another and get lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from threading import Lock
from typing import TypeAlias

import httpx

from connectors.simulation import SimClock


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One attempt at a delivery, as the vendor sends it. `headers` have their names as the contract writes them."""

    headers: Mapping[str, str]
    body: bytes


Post: TypeAlias = Callable[[Outgoing], int]
"""Takes an attempt to a receiver and answers its HTTP status; raises `httpx.HTTPError` or `OSError` when it cannot."""

Build: TypeAlias = Callable[[int], Outgoing]
"""Makes attempt number 1, 2, ... of a delivery: a vendor may sign each anew, or give each another id."""


@dataclass(slots=True)
class _Waiting:
    due: datetime
    build: Build
    attempt: int = 1


@dataclass(slots=True, kw_only=True)
class Sender:
    """Sends what it is handed when `run` is called, as badly as it is told to.

    `duplicate` and `loss` are probabilities; `shuffle` lets deliveries that are due together overtake one another;
    `delay` holds each back. A status other than 2xx is tried again after each of `retries` in turn, then given up;
    after `disable_after` failures in a row (with `disable_within`: within that time) the sender switches itself off
    until `enable` is called, and what happens meanwhile is never sent. `statuses` lists every answer so far, 0 for
    none; `lost` counts the deliveries that chance took, `gave_up` those that no attempt brought home.
    """

    post: Post
    clock: SimClock
    random: Random
    duplicate: float = 0.0
    loss: float = 0.0
    shuffle: bool = False
    delay: timedelta = timedelta(0)
    retries: tuple[timedelta, ...] = ()
    disable_after: int | None = None
    disable_within: timedelta | None = None
    enabled: bool = True
    statuses: list[int] = field(default_factory=list)
    gave_up: int = 0
    lost: int = 0
    _failures: deque[datetime] = field(default_factory=deque)
    _waiting: list[_Waiting] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def send(self, build: Build) -> None:
        """A delivery is due after `delay`; it leaves with the next `run` after that."""
        if not self.enabled:
            return
        if self.random.random() < self.loss:
            self.lost += 1
            return
        times = 2 if self.random.random() < self.duplicate else 1
        with self._lock:
            self._waiting.extend(_Waiting(self.clock.now + self.delay, build) for _ in range(times))

    def run(self) -> None:
        """Carry out the attempts that are due by the simulated clock."""
        with self._lock:
            due = [one for one in self._waiting if one.due <= self.clock.now]
            self._waiting = [one for one in self._waiting if one.due > self.clock.now]
        if self.shuffle:
            self.random.shuffle(due)
        for one in due:
            if self.enabled:
                self._attempt(one)

    def enable(self) -> None:
        """What an admin does after noticing."""
        self.enabled = True
        self._failures.clear()

    def _attempt(self, one: _Waiting) -> None:
        try:
            status = self.post(one.build(one.attempt))
        except (OSError, httpx.HTTPError):
            status = 0
        self.statuses.append(status)
        if 200 <= status < 300:
            if self.disable_within is None:
                self._failures.clear()
            return
        self._failed()
        if one.attempt > len(self.retries):
            self.gave_up += 1
            return
        again = self.clock.now + self.retries[one.attempt - 1]
        with self._lock:
            self._waiting.append(_Waiting(again, one.build, one.attempt + 1))

    def _failed(self) -> None:
        self._failures.append(self.clock.now)
        if self.disable_within is not None:
            while self._failures[0] <= self.clock.now - self.disable_within:
                self._failures.popleft()
        if self.disable_after is not None and len(self._failures) >= self.disable_after:
            self.enabled = False
