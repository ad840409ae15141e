"""Pacing: keeps our requests within the limits of an account, and says how long to wait after a failed one."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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


class Pacer:
    """Never more than `count` requests within any `seconds`, for each of the limits given as (count, seconds).

    It remembers when the last requests were let go, so a limit holds over every window, not over fixed ones. One
    process paces itself only; what others spend from the same account shows as 429.
    """

    def __init__(self, limits: Sequence[tuple[int, float]], monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._windows = [(seconds, deque[float](maxlen=count)) for count, seconds in limits]

    def wait(self) -> float:
        """Seconds until the next request may go; 0 when it may go now."""
        now = self._monotonic()
        waits = [sent[0] + seconds - now for seconds, sent in self._windows if sent and len(sent) == sent.maxlen]
        return max(0.0, *waits) if waits else 0.0

    def spend(self) -> None:
        """A request goes now."""
        now = self._monotonic()
        for _, sent in self._windows:
            sent.append(now)
