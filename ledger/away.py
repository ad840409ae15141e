"""Away: what whoever is sent away hears: 503, counted by its reason, and when it is worth coming back."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Literal, TypeAlias

from ledger.counting import Counting
from ledger.door import Reply, problem

Why: TypeAlias = Literal["full", "late", "hangs", "failed"]
"""`full`: too many wait already. `late`: it has waited for too long. `hangs`: the commit under way takes longer than
anybody waits. `failed`: the database said no, or nothing."""

SHORTEST_S, LONGEST_S = 2.0, 10.0
"""Trouble is taken to last so much longer at least, and at most: who stays away for long hears late that it is over."""

_OVER_AFTER_S = 3 * LONGEST_S
"""Failures that lie further apart have nothing to do with one another."""

_SPREAD = 0.5, 1.5
_SAID = problem(503, "unavailable", reason="send the same request again; an event under the same key")


class Away:
    """Answers for those who must come back.

    Trouble is taken to last about as long again as it has lasted: who is sent away at its beginning comes back soon,
    who is sent away in a long outage comes back seldom, and a client need not count its attempts. Half of that more or
    less is left to chance, so that those who were sent away together do not come back together.
    """

    def __init__(self, counting: Counting, *, random: Random, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._counting = counting
        self._random = random
        self._monotonic = monotonic
        self._failing_s: tuple[float, float] | None = None

    def reply(self, why: Why, lasted_s: float = 0.0) -> Reply:
        """The answer, with `Retry-After` from 1 to 15 seconds. `lasted_s` is for how long the trouble is known to last;
        what has `failed` is known here, from the first failure on that no commit has followed."""
        if why == "failed":
            lasted_s = max(lasted_s, self._failing_for())
        about = min(max(lasted_s, SHORTEST_S), LONGEST_S)
        seconds = round(about * self._random.uniform(*_SPREAD))
        self._counting.sent_away(why)
        return _SAID._replace(headers=((b"retry-after", b"%d" % seconds),))

    def committed(self) -> None:
        """The database has taken something: whatever was wrong with it is over."""
        self._failing_s = None

    def _failing_for(self) -> float:
        now, failing = self._monotonic(), self._failing_s
        first = now if failing is None or now - failing[1] > _OVER_AFTER_S else failing[0]
        self._failing_s = first, now
        return now - first
