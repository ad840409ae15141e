"""Beside: answers and faults come through, and whoever hangs holds up neither others nor the end of the process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from ledger.beside import MOST, Beside
from ledger.port import LedgerUnavailable


def test_what_is_asked_is_answered_and_a_fault_is_raised():
    def broken() -> None:
        raise KeyError("x")

    async def story() -> None:
        beside = Beside(LedgerUnavailable)
        assert await beside.ask(lambda: 42) == 42
        with pytest.raises(KeyError):
            await beside.ask(broken)

    asyncio.run(story())


def test_more_than_can_be_asked_at_once_wait_for_the_others():
    most = under_way = 0
    alone = threading.Lock()

    def count() -> None:
        nonlocal most, under_way
        with alone:
            under_way += 1
            most = max(most, under_way)
        together.wait(0.02)
        with alone:
            under_way -= 1

    async def story() -> None:
        beside = Beside(LedgerUnavailable)
        asked = asyncio.gather(*(beside.ask(count) for _ in range(3 * MOST)))
        await asyncio.sleep(0)
        assert beside.waiting == 3 * MOST
        await asked
        assert beside.waiting == 0

    together = threading.Event()
    asyncio.run(story())
    assert 1 < most <= MOST


def test_what_hangs_is_given_up_and_nothing_more_is_asked_until_it_goes_on():
    goes_on, asked = threading.Event(), []

    async def story() -> None:
        beside = Beside(LedgerUnavailable)
        hanging = [beside.ask(goes_on.wait, 0.01) for _ in range(MOST)]
        assert {type(one) for one in await asyncio.gather(*hanging, return_exceptions=True)} == {LedgerUnavailable}
        assert beside.waiting == 0, "who was told that there is no answer waits no more"
        with pytest.raises(LedgerUnavailable, match="did not answer within"):
            await beside.ask(lambda: asked.append("too early"), 0.01)
        goes_on.set()
        assert await beside.ask(lambda: 42) == 42

    try:
        asyncio.run(story())
    finally:
        goes_on.set()
    assert asked == []


HANGING = """
import asyncio, threading
from ledger.beside import Beside
from ledger.port import LedgerUnavailable
async def story():
    try:
        await Beside(LedgerUnavailable).ask(threading.Event().wait, 0.001)
    except LedgerUnavailable:
        print("given up")
asyncio.run(story())
"""


def test_a_question_that_is_never_answered_does_not_keep_the_process_from_ending():
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "given up\n"
