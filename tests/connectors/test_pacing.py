"""Waits after failures are jittered and bounded."""

from __future__ import annotations

import random

from connectors.pacing import backoff


def test_backoff_is_anywhere_below_a_bound_that_doubles_up_to_a_minute():
    chance = random.Random(1)
    for attempt, bound in ((1, 1), (2, 2), (5, 16), (7, 60), (500, 60)):
        waits = [backoff(attempt, chance) for _ in range(300)]
        assert 0 <= min(waits) < bound * 0.1
        assert bound * 0.9 < max(waits) <= bound
