"""Away: the longer the trouble lasts, the longer whoever is sent away stays away, and not all come back together."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from ledger.away import Away, Why
from ledger.counting import Counting

MANY = 400


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def away(clock: Clock) -> Away:
    return Away(Counting(), random=Random(7), monotonic=clock)


def waits(away: Away, why: Why, lasted_s: float = 0.0) -> Counter[int]:
    """What many who are sent away at once are told."""
    replies = [away.reply(why, lasted_s) for _ in range(MANY)]
    assert {(reply.status, [name for name, _ in reply.headers] == [b"retry-after"]) for reply in replies} == {
        (503, True)
    }
    return Counter(int(reply.headers[0][1]) for reply in replies)


@pytest.mark.parametrize(
    ("lasted_s", "least", "most"), [(0.0, 1, 3), (2.0, 1, 3), (6.0, 3, 9), (10.0, 5, 15), (7200.0, 5, 15)]
)
def test_about_as_long_as_it_has_lasted_within_bounds(away: Away, lasted_s: float, least: int, most: int):
    told = waits(away, "full", lasted_s)
    assert (min(told), max(told)) == (least, most)


def test_those_who_are_sent_away_together_do_not_come_back_together(away: Away):
    assert max(waits(away, "hangs", 10.0).values()) < MANY / 5


def test_failures_are_one_trouble_until_something_is_committed(away: Away, clock: Clock):
    assert max(waits(away, "failed")) == 3
    clock.now += 6.0
    assert (min(waits(away, "failed")), max(waits(away, "failed"))) == (3, 9)
    away.committed()
    assert max(waits(away, "failed")) == 3


def test_a_failure_of_an_hour_ago_says_nothing_of_this_one(away: Away, clock: Clock):
    assert max(waits(away, "failed")) == 3
    clock.now += 3600.0
    assert max(waits(away, "failed")) == 3
    for _ in range(10):
        clock.now += 20.0
        waits(away, "failed")
    assert min(waits(away, "failed")) == 5, "one that goes on does"


def test_each_is_counted_by_its_reason():
    counting = Counting()
    away = Away(counting, random=Random(7))
    for why, times in {"full": 2, "late": 1, "hangs": 1, "failed": 3}.items():
        for _ in range(times):
            away.reply(why)  # type: ignore[arg-type]  # a literal that came out of a dictionary
    told = counting.text().decode()
    assert 'dealsync_ledger_sent_away_total{reason="full"} 2.0' in told
    assert 'dealsync_ledger_sent_away_total{reason="failed"} 3.0' in told
