"""Who has nothing in hand, and lets messages wait look after look, is deaf."""

from __future__ import annotations

from pipeline.alive import Ear


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
