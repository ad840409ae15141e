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


def test_what_hangs_is_given_up_and_of_those_there_are_only_so_many():
    goes_on = threading.Event()

    async def story() -> None:
        beside = Beside(LedgerUnavailable)
        for _ in range(MOST):
            with pytest.raises(LedgerUnavailable, match="did not answer"):
                await beside.ask(goes_on.wait, 0.001)
        with pytest.raises(LedgerUnavailable, match="not answered yet"):
            await beside.ask(lambda: 42)
        goes_on.set()
        while True:
            try:
                assert await beside.ask(lambda: 42) == 42
            except LedgerUnavailable:
                await asyncio.sleep(0.01)
            else:
                return

    try:
        asyncio.run(story())
    finally:
        goes_on.set()


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
