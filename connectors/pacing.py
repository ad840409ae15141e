"""Pacing: what limits an account's requests, who is asked before one is sent, and how long a failed one waits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Where waiting takes its time and its chance from; tests hand in a clock that nobody sleeps on.

    `monotonic` and `sleep` are in seconds; `chance` draws the jitter.
    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: random.Random = field(default_factory=random.Random, repr=False)


def backoff(attempt: int, chance: random.Random, *, cap: float = 60.0) -> float:
    """Seconds to wait after the given failed attempt (1 is the first): full jitter below 2^(attempt-1), at most `cap`.

    Full jitter spreads those who failed together (contracts/planhat.md section 13: 2^n s with jitter, cap 60 s).
    """
    return chance.uniform(0, min(cap, 2.0 ** min(attempt - 1, 10)))


class Limit(NamedTuple):
    """At most so many requests within any `seconds`; where `aligned`, within each whole multiple of them instead.

    Multiples are counted from the epoch, so that an aligned day begins at midnight UTC.
    """

    requests: int
    seconds: float
    aligned: bool = False


class News(NamedTuple):
    """What an answer told of the account's budget: so many more requests within the next `seconds`; 0 is a hold."""

    left: int
    seconds: float


class Permits(Protocol):
    """What a transport asks before it sends, so that all who use an account keep to its limits together."""

    def take(self) -> float:
        """Seconds until a request may go; 0 when it may go now, and then it is counted."""
        ...

    def learned(self, news: News) -> None:
        """An answer told something of the budget. It holds back all who use the account."""
        ...

    def close(self) -> None:
        """Nothing more will be asked: what was taken and not used is given back."""
        ...
