"""Waiting for what other threads and processes bring about. Time is given generously: nobody knows the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    holds: Callable[[], T], what: str, seconds: float = 90.0, *, told: Callable[[], str] = str, every_s: float = 0.1
) -> T:
    """What is looked at, once it is true. Fails the test when it never is, with what is `told` then."""
    ends = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < ends, f"it never came true that {what}\n{told()}"
        time.sleep(every_s)
    return found
