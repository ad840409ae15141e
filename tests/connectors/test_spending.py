"""An account's requests: no window above its limit, whoever holds permits, and a reserve for what is more urgent."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.pacing import DAY, HOUR, MINUTE, Limit, News
from connectors.spending import NOTHING, PARTS, RESERVES, Grant, Lane, Spending, Terms, granted, kept, learned, returned

START = 1_772_409_600.0
"""A midnight UTC."""

LANES: list[Lane] = list(RESERVES)


def taken(
    spending: Spending, now: float, *limits: Limit, lane: Lane = "hint", most: int = 1
) -> tuple[Spending, int, float]:
    spending, grant = granted(spending, now, Terms(limits, lane), most, 0.0)
    return spending, grant.permits, grant.wait


def spent(limit: Limit, number: int, now: float = START, lane: Lane = "hint") -> Spending:
    spending = Spending()
    for _ in range(number):
        spending, permits, _ = taken(spending, now, limit, lane=lane)
        assert permits == 1
    return spending


def test_without_limits_nothing_waits():
    assert taken(Spending(), START)[1:] == (1, 0.0)


def test_a_limit_lets_a_burst_go_and_then_waits_for_the_first_to_leave_the_window():
    spending, limit = Spending(), Limit(3, MINUTE)
    for second in range(3):
        spending, permits, _ = taken(spending, START + second, limit)
        assert permits == 1
    assert taken(spending, START + 3, limit)[1:] == (0, 57.0)
    assert taken(spending, START + 60, limit)[1] == 1


def test_an_aligned_day_begins_at_midnight_utc_whenever_it_was_spent():
    limit = Limit(5, DAY, aligned=True)
    spending = spent(limit, 5, START + DAY - 30)
    assert taken(spending, START + DAY - 10, limit)[1:] == (0, 10.0)
    assert taken(spending, START + DAY, limit)[1] == 1


def test_a_permit_of_an_aligned_window_is_not_good_beyond_its_end():
    _, grant = granted(Spending(), START + DAY - 0.5, Terms([Limit(500, DAY, aligned=True)]), 8, 2.0)
    assert (grant.permits, grant.seconds) == (8, 0.5)


@settings(deadline=None, max_examples=100)
@given(
    limits=st.lists(
        st.builds(Limit, st.integers(1, 40), st.sampled_from([1.0, MINUTE, HOUR]), st.booleans()),
        min_size=1,
        max_size=3,
        unique_by=lambda limit: (limit.seconds, limit.aligned),
    ),
    seed=st.integers(0, 10_000),
    good_for=st.sampled_from([0.0, 0.5, 2.0]),
)
def test_no_window_ever_holds_more_than_its_limit_however_many_take_give_back_and_die(
    limits: list[Limit], seed: int, good_for: float
):
    chance, spending, now, sent = Random(seed), Spending(), START + Random(seed).uniform(0, HOUR), list[float]()
    for _ in range(120):
        terms = Terms(limits, chance.choice(LANES))
        spending, grant = granted(spending, now, terms, chance.randint(1, 16), good_for)
        if not grant.permits:
            now += grant.wait if chance.random() < 0.5 else chance.uniform(0, grant.wait)
            continue
        used = chance.randint(0, grant.permits)
        lasts = min(grant.seconds, chance.uniform(0, 3))
        sent += sorted(now + chance.uniform(0, lasts) for _ in range(used))
        now += lasts
        if chance.random() < 0.7:  # otherwise its holder died
            spending = returned(spending, now, terms, grant._replace(permits=grant.permits - used))
        now += chance.choice([0.0, 0.0, chance.uniform(0, 5)])
    sent.sort()
    for limit in limits:
        if limit.aligned:
            windows = [int((at + 2e-5) // limit.seconds) for at in sent]  # what floats make of its end
            assert all(windows.count(one) <= limit.requests for one in set(windows))
        else:
            for first, last in zip(sent, sent[limit.requests :], strict=False):
                assert last - first >= limit.seconds - 1e-3


@pytest.mark.parametrize("lane", LANES)
def test_every_lane_leaves_the_reserves_of_those_before_it(lane: Lane):
    limit, left = Limit(100, HOUR), {"hint": 0, "pull": 10, "reconcile": 20, "backfill": 25}
    spending = spent(limit, 100 - left[lane], lane=lane)
    assert taken(spending, START, limit, lane=lane)[1:] == (0, HOUR)
    for other in LANES[: LANES.index(lane)]:
        assert taken(spending, START, limit, lane=other)[1] == 1


def _greedy(spending: Spending, limit: Limit, lane: Lane, seconds: float) -> tuple[Spending, list[float]]:
    """Somebody who sends as fast as the lane may, for so long: when each request went."""
    sent, now = list[float](), START
    while now < START + seconds:
        spending, permits, wait = taken(spending, now, limit, lane=lane)
        sent += [now] * permits
        now += wait
    return spending, sent


def test_a_backfill_spreads_its_share_over_a_minute_and_still_has_all_of_it():
    limit, part = Limit(200, MINUTE), MINUTE / PARTS
    _, sent = _greedy(Spending(), limit, "backfill", 10 * MINUTE)
    ours = 200 - kept("backfill", 200)
    assert all(later - one >= part for one, later in zip(sent, sent[math.ceil(ours / PARTS) :], strict=False))
    assert ours * 9.5 <= len(sent) <= ours * 10 + 1


def test_a_backfill_alone_may_burst_through_an_hour_but_spreads_it_once_there_was_a_hint():
    limit = Limit(1000, HOUR)
    _, sent = _greedy(Spending(), limit, "backfill", HOUR)
    assert (len(sent), sent[-1]) == (750, START)
    spending, _, _ = taken(Spending(), START, limit, lane="hint")
    _, sent = _greedy(spending, limit, "backfill", HOUR)
    assert len([at for at in sent if at < START + HOUR / PARTS]) == math.ceil(750 / PARTS) - 1
    assert len(sent) == 749


def test_a_pull_waits_for_nobody_unless_hints_come():
    limit = Limit(60, MINUTE)
    assert spent(limit, 54, lane="pull").sent, "at once"
    spending, _, _ = taken(Spending(), START, limit, lane="hint")
    for _ in range(math.ceil(54 / PARTS) - 1):
        spending, permits, _ = taken(spending, START, limit, lane="pull")
        assert permits == 1
    assert taken(spending, START, limit, lane="pull")[1:] == (0, MINUTE / PARTS)
    assert taken(spending, START + MINUTE + 1, limit, lane="pull", most=9)[1] > 1, "it was the last one"


def test_a_day_is_not_spread():
    limit = Limit(100, DAY, aligned=True)
    spending, _, _ = taken(Spending(), START, limit, lane="hint")
    _, sent = _greedy(spending, limit, "backfill", 1.0)
    assert len(sent) == 74


@pytest.mark.parametrize("number", [1, 2, 3, 10, 1000])
def test_the_smallest_limit_still_leaves_one_request_to_every_lane(number: int):
    assert [kept(lane, number) < number for lane in LANES] == [True] * 4
    assert kept("hint", number) == 0


def test_what_is_kept_comes_free_for_a_lane_only_when_enough_has_left_the_window():
    limit = Limit(10, MINUTE)
    spending = Spending()
    for second in range(10):
        spending, _, _ = taken(spending, START + second, limit)
    assert taken(spending, START + 10, limit)[2] == 50.0
    assert taken(spending, START + 10, limit, lane="backfill")[2] == 53.0


def test_the_less_there_is_the_fewer_are_given_at_once():
    limit, spending, given_out = Limit(64, MINUTE), Spending(), []
    while True:
        spending, permits, _ = taken(spending, START, limit, most=16)
        if not permits:
            break
        given_out.append(permits)
    assert (given_out[0], given_out[-1], sum(given_out)) == (8, 1, 64)


def test_what_was_not_used_is_there_again_and_what_a_dead_holder_took_when_its_window_is_over():
    terms, now = Terms([Limit(8, MINUTE)]), START
    spending, first = granted(Spending(), now, terms, 1, 2.0)
    spending, _ = granted(spending, now, terms, 1, 2.0)
    spending = returned(spending, now, terms, first)
    spending = spent_all(spending, now, terms, 7)
    assert granted(spending, now, terms, 1, 2.0)[1] == Grant(0, 62.0)
    assert granted(spending, now + 62, terms, 1, 2.0)[1].permits == 1


def spent_all(spending: Spending, now: float, terms: Terms, number: int) -> Spending:
    for _ in range(number):
        spending, grant = granted(spending, now, terms, 1, 2.0)
        assert grant.permits == 1
    return spending


def test_a_long_history_stays_short_and_forgets_nothing_of_its_window():
    limit, spending, chance, now = Limit(100_000, HOUR), Spending(), Random(1), START
    for _ in range(5000):
        now += chance.uniform(0, 0.5)
        spending, _, _ = taken(spending, now, limit)
    (window,) = spending.sent.values()
    assert len(window) < 130
    assert sum(count for _, count in window) == 5000


def test_a_hold_is_never_shortened_and_holds_every_lane():
    spending = learned(learned(Spending(), START, News(0, 40)), START, News(0, 5))
    assert [taken(spending, START + 10, lane=lane)[2] for lane in LANES] == [30.0] * 4
    assert taken(spending, START + 40)[1] == 1


def test_what_an_answer_leaves_is_a_limit_until_its_window_is_over():
    spending = learned(Spending(), START, News(3, 100))
    for _ in range(3):
        spending, permits, _ = taken(spending, START, Limit(1000, HOUR))
        assert permits == 1
    assert taken(spending, START + 1, Limit(1000, HOUR))[1:] == (0, 99.0)
    assert taken(spending, START + 100, Limit(1000, HOUR))[1] == 1


def test_an_answer_never_allows_more_than_is_stated_nor_than_another_one_did():
    limit = Limit(2, MINUTE)
    spending = learned(spent(limit, 2), START, News(500, 100))
    assert taken(spending, START, limit)[1] == 0
    spending = learned(learned(Spending(), START, News(1, 100)), START, News(500, 100))
    spending, _, _ = taken(spending, START)
    assert taken(spending, START)[1] == 0


def test_the_window_of_what_is_left_ends_when_the_first_word_of_it_said():
    spending = learned(learned(Spending(), START, News(1, 100)), START, News(1, 500))
    spending, _, _ = taken(spending, START)
    assert taken(spending, START)[1:] == (0, 100.0)


def test_an_answer_does_not_know_of_the_permits_on_their_way():
    terms = Terms([Limit(100, MINUTE)])
    spending, grant = granted(Spending(), START, terms, 8, 2.0)
    spending = learned(spending, START + 1, News(10, 100))
    assert spending.left == 2
    assert learned(Spending(), START, News(10, 100)).left == 10
    assert returned(spending, START + 1, terms, grant).left == 2, "what was taken before is not of that count"


def test_permits_of_a_learned_limit_come_back_to_it():
    terms = Terms([Limit(1000, HOUR)])
    spending, grant = granted(learned(Spending(), START, News(80, 100)), START + 1, terms, 8, 2.0)
    assert spending.left == 72
    assert returned(spending, START + 2, terms, grant).left == 80
    assert returned(spending, START + 2, terms, NOTHING) == spending


def test_a_backfill_leaves_of_what_was_told_what_it_leaves_of_what_is_stated():
    spending = learned(Spending(), START, News(8, 100))
    number = 0
    while (step := taken(spending, START, lane="backfill"))[1]:
        spending, number = step[0], number + 1
    assert number == 6
    assert taken(spending, START)[1] == 1
