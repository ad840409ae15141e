"""Deliveries are tried again, doubled, lost, held back and given up as the vendor would."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from connectors.simulated_sender import Outgoing, Sender
from connectors.simulation import SimClock


class Receiver:
    """Takes attempts and answers what is next on its list, the last entry for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses) or [202]
        self.got: list[bytes] = []

    def __call__(self, delivery: Outgoing) -> int:
        self.got.append(delivery.body)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == 0:
            raise OSError("no route")
        return status


def sender(receiver: Receiver, **settings: Any) -> Sender:
    return Sender(post=receiver, clock=SimClock(), random=Random(1), **settings)


def send(one: Sender, *names: str) -> None:
    for name in names:
        one.send(lambda attempt, name=name: Outgoing({}, f"{name}{attempt}".encode()))
    one.run()


def wait(one: Sender, **time: float) -> None:
    one.clock.advance(timedelta(**time))
    one.run()


def test_a_failed_attempt_is_tried_again_after_each_wait_and_built_anew():
    receiver = Receiver(500, 0, 202)
    one = sender(receiver, retries=(timedelta(minutes=1), timedelta(hours=1)))
    send(one, "a")
    wait(one, seconds=59)
    assert receiver.got == [b"a1"]
    wait(one, seconds=1)
    wait(one, hours=1)
    wait(one, days=1)
    assert receiver.got == [b"a1", b"a2", b"a3"]
    assert (one.statuses, one.gave_up) == ([500, 0, 202], 0)


def test_after_the_last_attempt_it_gives_up():
    receiver = Receiver(500)
    one = sender(receiver, retries=(timedelta(minutes=1),))
    send(one, "a")
    wait(one, days=1)
    wait(one, days=1)
    assert (receiver.got, one.gave_up) == ([b"a1", b"a2"], 1)


def test_failures_in_a_row_switch_it_off_and_what_happens_meanwhile_is_never_sent():
    receiver = Receiver(500, 202, 500, 500, 202)
    one = sender(receiver, disable_after=2)
    send(one, "a", "b", "c")
    assert one.enabled
    send(one, "d", "e")
    assert not one.enabled
    one.enable()
    send(one, "f")
    assert receiver.got == [b"a1", b"b1", b"c1", b"d1", b"f1"]


@pytest.mark.parametrize(("hours", "enabled"), [(23, False), (25, True)])
def test_with_a_window_successes_between_do_not_help_but_time_does(hours, enabled):
    one = sender(Receiver(500, 202, 500), disable_after=2, disable_within=timedelta(hours=24))
    send(one, "a", "b")
    wait(one, hours=hours)
    send(one, "c")
    assert one.enabled is enabled


def test_held_back_deliveries_leave_when_they_are_due():
    receiver = Receiver()
    one = sender(receiver, delay=timedelta(minutes=5))
    send(one, "a")
    assert receiver.got == []
    wait(one, minutes=5)
    assert receiver.got == [b"a1"]


def test_chance_loses_doubles_and_shuffles():
    receiver = Receiver()
    one = sender(receiver, loss=0.3, duplicate=0.3, shuffle=True)
    names = [f"{number:02}-" for number in range(60)]
    send(one, *names)
    told = {body.decode()[:3] for body in receiver.got}
    assert one.lost == 60 - len(told) > 5
    assert len(receiver.got) > len(told) + 5
    assert receiver.got != sorted(receiver.got)
