"""Budget: a key's requests are counted once for all threads and processes, and no wait is cut short."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.utils import formatdate
from random import Random

import httpx
import pytest

from ledger.budget import Budget, KeyPurse, budget_name, retry_after
from ledger.door import Windows
from ledger.keys import ApiKey
from tests.ledger.subjects import engine_at

START = 1_800_000_037.3


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def headers(remaining: int, reset: int, **more: str) -> httpx.Headers:
    return httpx.Headers({"X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": str(reset), **more})


def told(budget: Budget, *answers: httpx.Headers) -> None:
    for answer in answers:
        assert budget.take() == 0
        budget.answered(answer)
    budget.rest()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def purse(database_url: str, clock: Clock) -> Iterator[Callable[[], KeyPurse]]:
    """Purses of one key as separate processes open them."""
    with ExitStack() as stack:
        yield lambda: KeyPurse(stack.enter_context(engine_at(database_url)), "key", epoch=clock)


def alone(clock: Clock, per_minute: int | None = None) -> Budget:
    return Budget(per_minute, monotonic=clock, epoch=clock)


def test_without_limits_nothing_is_held_back(clock: Clock):
    budget = alone(clock)
    assert [budget.take() for _ in range(5000)] == [0.0] * 5000


def test_no_minute_sees_more_than_our_own_limit_and_nearly_all_of_it_is_used(clock: Clock):
    budget, sent = alone(clock, 100), []
    random = Random(3)
    while clock.now < 1600:
        if budget.take() == 0:
            sent.append(clock.now)
        clock.now += random.uniform(0.0, 0.5)
    busiest = max(sum(at <= other < at + 60 for other in sent) for at in sent)
    assert busiest == 100
    assert len(sent) >= 970


def test_a_window_that_is_used_up_is_waited_for_by_the_ledgers_own_clock(clock: Clock):
    budget = alone(clock)
    told(budget, headers(0, 1_800_000_060, Date="Fri, 15 Jan 2027 08:00:30 GMT"))
    assert budget.take() == 30
    clock.now += 30
    assert budget.take() == 0


@pytest.mark.parametrize("date", ["soon", "", "Fri, 15 Jan 99999999999999999999 08:00:30 GMT"])
def test_a_clock_of_the_ledgers_that_tells_no_time_is_passed_over(clock: Clock, date: str):
    ours, theirs = alone(clock), alone(clock)
    told(ours, headers(0, 1_800_000_060))
    told(theirs, headers(0, 1_800_000_060, Date=date))
    assert theirs.take() == ours.take() > 0


def test_the_next_window_has_the_full_limit_before_any_answer_tells_so(clock: Clock):
    budget = alone(clock)
    told(budget, headers(0, 1060, **{"X-RateLimit-Limit": "7"}))
    clock.now += 60
    assert [budget.take() for _ in range(8)] == [0] * 7 + [60]


def test_a_late_answer_of_the_window_before_changes_nothing(clock: Clock):
    budget = alone(clock)
    told(budget, headers(500, 1060), headers(0, 1000))
    assert budget.take() == 0


def test_answers_out_of_order_do_not_give_requests_back(clock: Clock):
    budget = alone(clock)
    for _ in range(3):
        budget.take()
    for left in (2, 0, 1):
        budget.answered(headers(left, 1060))
    assert budget.take() > 0


def test_a_wait_the_ledger_asks_for_holds_and_is_never_shortened(clock: Clock):
    budget = alone(clock)
    budget.hold(37)
    budget.hold(5)
    assert budget.take() == 37


def test_nonsense_in_the_headers_is_no_news(clock: Clock):
    budget = alone(clock)
    for remaining, reset in [("", ""), ("-1", "5"), ("x", "y"), ("9" * 40, "9" * 40)]:
        told(budget, httpx.Headers({"X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset}))
    assert budget.take() == 0
    assert retry_after(httpx.Headers({"Retry-After": "soon"}), 3.0) == 3.0
    assert retry_after(httpx.Headers({"Retry-After": "99999999"})) == 3600.0


def test_one_process_is_told_to_wait_and_all_do(purse: Callable[[], KeyPurse], clock: Clock):
    one, other = (
        Budget(None, purse(), monotonic=clock, epoch=clock),
        Budget(None, purse(), monotonic=clock, epoch=clock),
    )
    assert one.take() == 0
    one.hold(37)
    assert other.take() == 37
    clock.now += 37
    assert other.take() == 0


def test_what_a_process_took_and_did_not_use_is_there_for_the_others(purse: Callable[[], KeyPurse], clock: Clock):
    one, other = (
        Budget(None, purse(), monotonic=clock, epoch=clock),
        Budget(None, purse(), monotonic=clock, epoch=clock),
    )
    told(one, headers(10, 1060))
    assert one.take() == 0
    assert other.take() > 0, "the first one holds all that is left"
    one.rest()
    assert [other.take() for _ in range(10)][:9] == [0] * 9


def test_the_name_of_a_shared_budget_tells_nothing_of_the_key():
    assert "oqp" not in budget_name("https://ledger.example/v1", "oqp_secret")
    assert budget_name("a", "k") != budget_name("b", "k")


class Limited:
    """A ledger with the service's own limiter, on a simulated clock: answers come 20 to 200 ms later."""

    def __init__(self, rpm: int, clock: Clock, skew_s: float) -> None:
        self.clock, self.random, self.skew_s = clock, Random(1), skew_s
        self.windows = Windows(lambda: clock.now + skew_s)
        self.key = ApiKey("ak", "org", "oqp_", (), rpm)
        self.served: list[float] = []
        self.refused = 0

    def ask(self) -> tuple[bool, httpx.Headers]:
        passes, said, wait = self.windows.count(self.key)
        if passes:
            self.served.append(self.clock.now)
        else:
            self.refused += 1
            said = (*said, (b"retry-after", b"%d" % wait))
        dated = formatdate(self.clock.now + self.skew_s, usegmt=True).encode()
        return passes, httpx.Headers([*said, (b"date", dated)])


@pytest.mark.parametrize("skew_s", [0.0, -7.4, 41.9])
def test_three_processes_use_ten_minutes_of_a_limit_to_the_end_and_earn_no_429(
    sqlite_url: str, clock: Clock, skew_s: float
):
    clock.now = START
    ledger = Limited(1000, clock, skew_s)
    with engine_at(sqlite_url) as engine:
        budgets = [Budget(None, KeyPurse(engine, "key", epoch=clock), monotonic=clock, epoch=clock) for _ in "abc"]
        run(ledger, budgets, until=START + 660)
    first = (START + skew_s) // 60 * 60 + 60 - skew_s
    steady = sum(first <= at < first + 600 for at in ledger.served)
    assert ledger.refused == 0
    assert steady >= 9_700


def run(ledger: Limited, budgets: list[Budget], until: float) -> None:
    """Twenty senders in each process ask as often as they may; the first of each process goes ahead alone."""
    clock, order = ledger.clock, iter(range(10**9))
    due = [(clock.now + n * 0.01, next(order), budget, None) for n, budget in enumerate(budgets)]
    heapq.heapify(due)
    grown: set[int] = set()
    while due and due[0][0] < until:
        clock.now, _, budget, answer = heapq.heappop(due)
        if answer is not None:
            budget.answered(answer)
            if id(budget) not in grown:
                grown.add(id(budget))
                for _ in range(19):
                    heapq.heappush(due, (clock.now, next(order), budget, None))
        if wait := budget.take():
            heapq.heappush(due, (clock.now + wait + ledger.random.uniform(0, 0.3), next(order), budget, None))
        else:
            arrives = clock.now
            _, said = ledger.ask()
            heapq.heappush(due, (arrives + ledger.random.uniform(0.02, 0.2), next(order), budget, said))
