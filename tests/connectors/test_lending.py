"""Two keepers of one account never give out more than its limits together, whatever becomes of either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.lending import LOAN_S, borrowed, lend
from connectors.pacing import DAY, HOUR, MINUTE, Limit, News
from connectors.spending import RESERVES, Grant, Lane, Spending, Terms, granted, learned, returned, spare

START = 1_772_409_600.0
LANES: list[Lane] = list(RESERVES)
LIMIT = Limit(60, MINUTE)


def lent(spending: Spending, now: float, limits: Sequence[Limit] = (LIMIT,)) -> tuple[Spending, Spending]:
    """A first loan: lender and borrower, whose clocks agree."""
    lender, loan = lend(spending, now, limits, None, now)
    assert loan is not None
    return lender, borrowed(None, now, limits, loan, now)


def emptied(spending: Spending, now: float, limits: Sequence[Limit] = (LIMIT,)) -> tuple[Spending, int]:
    """All that a keeper gives out at this moment to the most urgent lane."""
    number = 0
    while True:
        spending, grant = granted(spending, now, Terms(limits), 16, 2.0)
        if not grant.permits:
            return spending, number
        number += grant.permits


def test_for_the_time_of_a_loan_each_keeper_has_a_part_of_its_own():
    lender, borrower = lent(Spending(), START)
    assert (emptied(lender, START)[1], emptied(borrower, START)[1]) == (6, 54)
    assert [spare(one) for one in (1, 2, 10, 11)] == [0, 1, 1, 2]


def test_what_was_sent_before_a_loan_counts_for_both():
    spending, number = emptied(Spending(), START)
    lender, borrower = lent(spending, START + 1)
    assert (number, emptied(lender, START + 1)[1], emptied(borrower, START + 1)[1]) == (60, 0, 0)
    assert emptied(borrower, START + 62)[1] == 0, "the loan is over"
    again, loan = lend(lender, START + 40, [LIMIT], borrower, START + 40)
    assert loan is not None
    borrower = borrowed(borrower, START + 40, [LIMIT], loan, START + 40)
    assert (emptied(again, START + 62.1)[1], emptied(borrower, START + 62.1)[1]) == (6, 54)


def test_a_renewal_counts_what_the_lender_gave_out_meanwhile_once_however_often_it_is_renewed():
    hour = [Limit(1000, HOUR)]
    lender, borrower = lent(Spending(), START, hour)
    lender, _ = granted(lender, START, Terms(hour), 5, 2.0)
    for renewal in range(1, 6):
        now = START + 30 * renewal
        lender, loan = lend(lender, now, hour, borrower, now)
        assert loan is not None
        borrower = borrowed(borrower, now, hour, loan, now)
    assert (emptied(lender, now, hour)[1], emptied(borrower, now, hour)[1]) == (95, 895)


@pytest.mark.parametrize("ahead", [500.0, -500.0])
def test_what_was_sent_leaves_the_borrowers_window_by_the_borrowers_clock(ahead: float):
    limit = [Limit(60, 30.0)]
    spending, _ = emptied(Spending(), START, limit)
    _, loan = lend(spending, START + 1, limit, None, START + 1 + ahead)
    assert loan is not None
    borrower = borrowed(None, START + 2 + ahead, limit, loan, START + 1 + ahead)
    assert emptied(borrower, START + 32.9 + ahead, limit)[1] == 0
    assert emptied(borrower, START + 33.1 + ahead, limit)[1] == 54


def test_the_lender_has_everything_again_once_the_last_permit_has_left_its_window():
    lender, _ = lent(Spending(), START)
    over = START + LOAN_S + 5 + MINUTE
    assert emptied(lender, over - 1)[1] == 6
    assert emptied(lender, over)[1] == 60


def test_a_borrower_that_forgot_is_lent_nothing_while_what_it_gave_out_may_count():
    lender, _ = lent(Spending(), START, [LIMIT, Limit(900, HOUR)])
    for now in (START + 1, START + 130, START + HOUR):
        assert lend(lender, now, [LIMIT, Limit(900, HOUR)], None, now)[1] is None
    assert lend(lender, START + HOUR + LOAN_S + 5, [LIMIT, Limit(900, HOUR)], None, START)[1] is not None


def test_a_borrower_that_was_restored_from_a_copy_is_not_believed():
    lender, copy = lent(Spending(), START)
    now = START + 30
    borrower = copy
    for _ in range(2):
        lender, loan = lend(lender, now, [LIMIT], borrower, now)
        assert loan is not None
        borrower = borrowed(borrower, now, [LIMIT], loan, now)
        now += 30
    assert lend(lender, now, [LIMIT], copy, now)[1] is None
    assert lend(lender, now, [LIMIT], borrower, now)[1] is not None


def test_whoever_dies_while_he_renews_a_loan_does_not_end_it():
    lender, borrower = lent(Spending(), START)
    lender, _ = lend(lender, START + 30, [LIMIT], borrower, START + 30)
    assert lend(lender, START + 31, [LIMIT], borrower, START + 31)[1] is not None
    over = START + 30 + LOAN_S + 5
    assert lend(lender, over, [LIMIT], borrower, over)[1] is None, "the lender may have given out everything since"


def test_permits_of_a_keeper_are_not_given_back_to_the_other_nor_to_one_that_began_anew():
    terms = Terms([LIMIT])
    lender, borrower = lent(Spending(), START)
    borrower, grant = granted(borrower, START, terms, 4, 2.0)
    lender, own = granted(lender, START, terms, 1, 2.0)
    assert (grant.permits, own.permits) == (4, 1)
    assert returned(lender, START + 1, terms, grant) == lender
    assert returned(borrower, START + 1, terms, own) == borrower
    assert returned(borrower, START + 1, terms, grant) != borrower
    _, another = lent(lender, START + 10 * HOUR)
    assert returned(another, START + 10 * HOUR, terms, grant) == another


def test_of_what_an_answer_left_each_keeper_has_its_part_too():
    lender, borrower = lent(learned(Spending(), START, News(20, 600)), START)
    assert (emptied(lender, START)[1], emptied(borrower, START)[1]) == (2, 18)
    borrower = learned(borrower, START, News(5, 600))
    lender, loan = lend(lender, START + 30, [LIMIT], borrower, START + 30)
    assert loan is not None
    borrower = borrowed(borrower, START + 30, [LIMIT], loan, START + 30)
    assert (emptied(lender, START + 30)[1], emptied(borrower, START + 30)[1]) == (1, 4)


def test_a_hold_that_either_was_told_of_holds_both_from_the_next_renewal_on():
    for of_lender in (True, False):
        lender, borrower = lent(Spending(), START)
        if of_lender:
            lender = learned(lender, START, News(0, 600))
        else:
            borrower = learned(borrower, START, News(0, 600))
        lender, loan = lend(lender, START + 30, [LIMIT], borrower, START + 30)
        assert loan is not None
        borrower = borrowed(borrower, START + 30, [LIMIT], loan, START + 30)
        assert [emptied(one, START + 31)[1] for one in (lender, borrower)] == [0, 0]


def test_what_was_sent_today_is_never_put_on_yesterday_by_a_clock_that_is_behind():
    day = Limit(100, DAY, aligned=True)
    spending, number = emptied(Spending(), START + 0.1, [day])
    _, loan = lend(spending, START + 0.2, [day], None, START - 0.5)
    assert loan is not None
    borrower = borrowed(None, START - 0.4, [day], loan, START - 0.5)
    assert (number, emptied(borrower, START + 1, [day])[1]) == (100, 0)


class World:
    """A lender and a borrower whose clocks differ, faults of every kind, and every request that was sent."""

    def __init__(self, limits: Sequence[Limit], seed: int) -> None:
        self.limits, self.chance = limits, Random(seed)
        self.now = START + self.chance.uniform(0, HOUR)
        aligned = any(limit.aligned for limit in limits)
        self.skew = 0.0 if aligned else self.chance.choice([0.0, -3.0, 7.0])
        self.lender, self.borrower = Spending(), None
        self.copy: tuple[float, Spending | None] = (self.now, None)
        self.sent: list[float] = []
        self.grants: list[tuple[Callable[[Grant], None], Grant]] = []

    @property
    def there(self) -> float:
        return self.now + self.skew

    def renew(self) -> None:
        """Somebody renews the loan, slowly, and may die half-way."""
        asked = self.there
        self.now += self.chance.choice([0.0, 0.0, 0.4])
        self.lender, loan = lend(self.lender, self.now, self.limits, self.borrower, asked)
        self.now += self.chance.choice([0.0, 0.0, 0.4])
        if loan is not None and self.chance.random() < 0.9:
            self.borrower = borrowed(self.borrower, self.there, self.limits, loan, asked)

    def take(self, lane: Lane, at_borrower: bool) -> None:
        terms, most = Terms(self.limits, lane), self.chance.randint(1, 16)
        if at_borrower and self.borrower is not None:
            self.borrower, grant = granted(self.borrower, self.there, terms, most, 2.0)
        elif not at_borrower:
            self.lender, grant = granted(self.lender, self.now, terms, most, 2.0)
        else:
            return
        used = self.chance.randint(0, grant.permits)
        lasts = min(grant.seconds, 2.0)
        self.sent += [self.now + self.chance.uniform(0, lasts) for _ in range(used)]
        self.now += lasts if used else 0.0
        unused = grant._replace(permits=grant.permits - used)
        if at_borrower and self.borrower is not None and self.chance.random() < 0.7:
            self.borrower = returned(self.borrower, self.there, terms, unused)
        elif not at_borrower and self.chance.random() < 0.7:
            self.lender = returned(self.lender, self.now, terms, unused)

    def step(self) -> None:
        kind = self.chance.random()
        if kind < 0.03:
            self.borrower = None
        elif kind < 0.05 and self.copy[0] < self.now - 2 * LOAN_S:
            self.borrower = self.copy[1]
        elif kind < 0.08:
            self.copy = (self.now, self.borrower)
        elif kind < 0.25:
            self.renew()
        else:
            away = self.chance.random() < 0.3
            self.take(self.chance.choice(LANES), at_borrower=not away)
        self.now += self.chance.choice([0.0, 0.0, 0.5, self.chance.uniform(0, 90) if kind > 0.95 else 0.0])


@settings(deadline=None, max_examples=150)
@given(
    limits=st.lists(
        st.builds(Limit, st.integers(1, 40), st.sampled_from([MINUTE, HOUR]), st.booleans()),
        min_size=1,
        max_size=2,
        unique_by=lambda limit: (limit.seconds, limit.aligned),
    ),
    seed=st.integers(0, 100_000),
)
def test_no_window_ever_holds_more_than_its_limit_whatever_is_lost_restored_or_out_of_reach(
    limits: list[Limit], seed: int
):
    world = World(limits, seed)
    for _ in range(300):
        world.step()
    sent = sorted(world.sent)
    for limit in limits:
        if limit.aligned:
            windows = [int(at // limit.seconds) for at in sent]
            assert all(windows.count(one) <= limit.requests for one in set(windows))
        else:
            for first, last in zip(sent, sent[limit.requests :], strict=False):
                assert last - first >= limit.seconds - 1e-3


@pytest.mark.parametrize("lane", LANES)
def test_every_lane_leaves_the_reserves_of_those_before_it_in_either_part(lane: Lane):
    left = {"hint": 0, "pull": 10, "reconcile": 20, "backfill": 25}
    limit = Limit(1000, HOUR)
    for keeper, part in zip(lent(Spending(), START, [limit]), (100, 900), strict=True):
        number = 0
        while True:
            keeper, grant = granted(keeper, START, Terms([limit], lane), 16, 2.0)
            if not grant.permits:
                break
            number += grant.permits
        assert number == part * (100 - left[lane]) / 100
