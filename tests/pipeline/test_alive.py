"""Who has nothing in hand, and lets messages wait look after look, is deaf."""

from __future__ import annotations

import threading

from pipeline.alive import Ear, Pulse


def test_who_takes_nothing_while_messages_wait_is_deaf_after_so_many_looks():
    ear = Ear(patience=3)
    assert not ear.deaf(taken=7, waits=True), "nobody knows yet what it had taken before"
    assert [ear.deaf(taken=7, waits=True) for _ in range(3)] == [False, False, True]


def test_who_takes_messages_hears_however_many_wait():
    ear = Ear(patience=1)
    assert not any(ear.deaf(taken=taken, waits=True) for taken in range(20))


def test_who_has_something_in_hand_or_nothing_to_take_is_not_deaf_and_what_it_missed_before_counts_no_more():
    ear = Ear(patience=2)
    looks = (True, True, False, True, False, True, True)
    assert [ear.deaf(taken=1, waits=waits) for waits in looks] == [*[False] * 6, True]


def test_a_loop_that_stands_still_is_found_and_one_that_comes_round_is_not():
    found = threading.Event()
    pulse = Pulse(0.02, found.set)
    for _ in range(30):
        pulse.beat()
        assert not found.wait(0.01)
    assert found.wait(10)


def test_nobody_watches_a_loop_that_has_ended():
    found = threading.Event()
    Pulse(0.01, found.set).stop()
    assert not found.wait(0.3)
