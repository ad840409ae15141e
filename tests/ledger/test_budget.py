"""Budget: a key's requests are counted once for all threads, and no wait is cut short."""

from __future__ import annotations

import httpx

from ledger.budget import Budget, retry_after


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def headers(remaining: int, reset: int, **more: str) -> httpx.Headers:
    return httpx.Headers({"X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": str(reset), **more})


def test_without_limits_nothing_is_held_back():
    budget = Budget()
    assert [budget.take() for _ in range(5000)] == [0.0] * 5000


def test_our_own_limit_lets_go_again_when_the_minute_is_over():
    clock = Clock()
    budget = Budget(3, monotonic=clock)
    assert [budget.take() for _ in range(4)] == [0, 0, 0, 60]
    clock.now += 59.5
    assert budget.take() == 0.5
    clock.now += 0.5
    assert budget.take() == 0


def test_a_window_that_is_used_up_is_waited_for_by_the_ledgers_own_clock():
    clock = Clock()
    budget = Budget(monotonic=clock, epoch=lambda: 0.0)
    budget.learn(headers(0, 1_800_000_060, Date="Fri, 15 Jan 2027 08:00:30 GMT"))
    assert budget.take() == 30
    clock.now += 30
    assert budget.take() == 0


def test_a_late_answer_of_the_window_before_changes_nothing():
    budget = Budget(monotonic=Clock(), epoch=lambda: 100.0)
    budget.learn(headers(500, 180))
    budget.learn(headers(0, 120))
    assert budget.take() == 0


def test_answers_out_of_order_do_not_give_requests_back():
    budget = Budget(monotonic=Clock(), epoch=lambda: 100.0)
    for left in (5, 3, 4):
        budget.learn(headers(left, 120))
    assert [budget.take() for _ in range(3)] == [0, 0, 0]
    assert budget.take() > 0


def test_a_wait_the_ledger_asks_for_holds_and_is_never_shortened():
    clock = Clock()
    budget = Budget(monotonic=clock)
    budget.hold(37)
    budget.hold(5)
    assert budget.take() == 37


def test_nonsense_in_the_headers_is_no_news():
    budget = Budget(monotonic=Clock())
    for remaining, reset in [("", ""), ("-1", "5"), ("x", "y"), ("9" * 40, "9" * 40)]:
        budget.learn(httpx.Headers({"X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset}))
    assert budget.take() == 0
    assert retry_after(httpx.Headers({"Retry-After": "soon"}), 3.0) == 3.0
    assert retry_after(httpx.Headers({"Retry-After": "99999999"})) == 3600.0
