"""Requests keep to an account's limits over every window, and waits after failures are jittered and bounded."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.pacing import Pacer, backoff
from tests.connectors.wire import Clock


def test_without_limits_nothing_waits():
    assert Pacer([], Clock().monotonic).wait() == 0


def test_a_limit_lets_a_burst_go_and_then_waits_for_the_first_to_leave_the_window():
    clock = Clock()
    pacer = Pacer([(3, 60.0)], clock.monotonic)
    for _ in range(3):
        assert pacer.wait() == 0
        pacer.spend()
        clock.now += 1
    assert pacer.wait() == 57


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.sampled_from([1.0, 60.0, 3600.0])), max_size=3),
    st.lists(st.floats(0, 30), max_size=80),
)
def test_no_window_ever_holds_more_than_its_limit(limits: list[tuple[int, float]], pauses: list[float]):
    clock, sent = Clock(), list[float]()
    pacer = Pacer(limits, clock.monotonic)
    for pause in pauses:
        clock.now += pause
        while (wait := pacer.wait()) > 0:
            clock.sleep(wait)
        pacer.spend()
        sent.append(clock.now)
    for count, seconds in limits:
        for number in range(len(sent) - count):
            assert sent[number + count] - sent[number] >= seconds - 1e-6


def test_backoff_is_anywhere_below_a_bound_that_doubles_up_to_a_minute():
    chance = random.Random(1)
    for attempt, bound in ((1, 1), (2, 2), (5, 16), (7, 60), (500, 60)):
        waits = [backoff(attempt, chance) for _ in range(300)]
        assert 0 <= min(waits) < bound * 0.1
        assert bound * 0.9 < max(waits) <= bound
