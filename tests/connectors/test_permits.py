"""A holder takes a few permits at once, gives back what it does not use, and tells what it learned."""

from __future__ import annotations

import threading

import pytest

from connectors.pacing import MINUTE, Limit, News
from connectors.permits import Batches, HeldPermits, OwnPurse, Step, T
from connectors.spending import Lane, Terms
from tests.connectors.wire import Clock


class Counted(OwnPurse):
    """A purse that counts its visitors, and may be away."""

    visits = 0
    away = False

    def change(self, step: Step[T]) -> T:
        if self.away:
            raise ConnectionError("the database is away")
        self.visits += 1
        return super().change(step)


class Office:
    """An account's purse, a clock, and holders at it."""

    def __init__(self, *limits: Limit) -> None:
        self.clock = Clock()
        self.purse = Counted(lambda: self.clock.now)
        self.limits = limits

    def holder(self, lane: Lane = "hint", *, at_once: int = 16, ahead: bool = False) -> HeldPermits:
        batches = Batches(at_once, good_for=2.0, late=0.1, ahead=ahead)
        return HeldPermits(self.purse, Terms(self.limits, lane), batches, monotonic=self.clock.monotonic)


def test_a_busy_holder_visits_the_purse_ever_less_often():
    office = Office(Limit(10_000, MINUTE))
    holder = office.holder()
    assert [holder.take() for _ in range(1 + 2 + 4 + 8 + 16 + 16)] == [0.0] * 47
    assert office.purse.visits == 6


def test_a_holder_with_a_request_now_and_then_takes_one_permit_at_a_time():
    office = Office(Limit(100, MINUTE))
    slow, other = office.holder(), office.holder(at_once=1)
    for _ in range(5):
        slow.take()
        office.clock.now += 3
    assert [other.take() == 0 for _ in range(96)] == [True] * 95 + [False], "nothing lies unused"


def test_what_is_not_used_is_given_back_at_the_end():
    office = Office(Limit(40, MINUTE))
    one, other = office.holder(), office.holder()
    for _ in range(2):
        one.take()
    one.close()
    assert [other.take() == 0 for _ in range(39)] == [True] * 38 + [False]


def test_nothing_is_given_back_where_nothing_is_left():
    office = Office(Limit(40, MINUTE))
    one = office.holder()
    one.take()
    one.close()
    assert office.purse.visits == 1


def test_a_permit_that_lay_too_long_is_not_used():
    office = Office(Limit(100, MINUTE))
    holder = office.holder()
    for _ in range(2):
        holder.take()
    office.clock.now += 1.95
    visits = office.purse.visits
    holder.take()
    assert office.purse.visits == visits + 1


def test_one_is_told_to_wait_and_all_do():
    office = Office()
    one, other = office.holder(), office.holder()
    for _ in range(2):
        one.take()
    one.learned(News(0, 37))
    assert (other.take(), one.take()) == (37.0, 37.0), "the permit that it still has is not used either"


def test_news_of_much_room_travel_with_the_next_visit_and_have_aged_by_then():
    office = Office(Limit(10_000, MINUTE))
    one, other = office.holder(), office.holder()
    one.take()
    one.learned(News(5, 100))
    assert office.purse.visits == 1
    office.clock.now += 40
    one.close()
    for _ in range(5):
        other.take()
    assert other.take() == 60.0


def test_news_of_a_window_that_is_over_are_forgotten():
    office = Office(Limit(10_000, MINUTE))
    one, other = office.holder(), office.holder()
    one.take()
    one.learned(News(1, 10))
    office.clock.now += 11
    one.close()
    assert [other.take() for _ in range(3)] == [0.0] * 3


def test_a_purse_that_is_away_is_a_fault_to_who_takes_and_none_to_who_gives_back():
    office = Office(Limit(100, MINUTE))
    holder = office.holder()
    for _ in range(2):
        holder.take()
    office.purse.away = True
    holder.close()
    office.clock.now += 5
    with pytest.raises(ConnectionError):
        holder.take()


def test_threads_of_a_holder_take_each_permit_once():
    office = Office(Limit(500, MINUTE))
    holder, got = office.holder(), list[bool]()

    def work() -> None:
        for _ in range(200):
            got.append(holder.take() == 0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 500


def gone_ahead() -> None:
    """Whoever went for more permits has come back."""
    for thread in threading.enumerate():
        if thread.name == "permits":
            thread.join()


def test_the_next_permits_are_gone_for_while_the_last_request_is_under_way():
    office = Office(Limit(10_000, MINUTE))
    holder = office.holder(ahead=True)
    for _ in range(3):
        holder.take()
    gone_ahead()
    assert office.purse.visits == 3
    assert [holder.take() for _ in range(4)] == [0.0] * 4
    gone_ahead()
    holder.close()
    other = office.holder(at_once=1)
    assert sum(other.take() == 0 for _ in range(10_001)) == 10_000 - 7, "what was gone for and not used is given back"


def test_who_goes_ahead_to_a_purse_that_is_away_leaves_the_fault_to_who_takes_next():
    office = Office(Limit(10_000, MINUTE))
    holder = office.holder(ahead=True)
    for _ in range(2):
        holder.take()
    office.purse.away = True
    holder.take()
    gone_ahead()
    with pytest.raises(ConnectionError):
        holder.take()
