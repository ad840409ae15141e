"""The doorbell: what goes wrong in its thread is told, and it rings again."""

from __future__ import annotations

import queue
import time

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from pipeline.doorbell import Doorbell
from pipeline.faults import StoreUnavailable


def said_of(error: Exception, monkeypatch: pytest.MonkeyPatch) -> EventDict:
    """What is logged when answering the first of two rings ends so; the second is answered."""
    monkeypatch.setattr("pipeline.doorbell.TOGETHER_S", 0.0)
    rung: queue.Queue[set[str]] = queue.Queue()
    first = True

    def answer(connections: set[str]) -> None:
        nonlocal first
        if first:
            first = False
            raise error
        rung.put(connections)

    with capture_logs() as said:
        bell = Doorbell(answer)
        bell.ring(["eu"])
        while not said:
            time.sleep(0.01)
        bell.ring(["us"])
        assert rung.get(timeout=10) == {"us"}
        bell.close()
    (line,) = said
    return line


def test_a_bug_is_an_error_with_its_traceback(monkeypatch: pytest.MonkeyPatch):
    line = said_of(KeyError("stage"), monkeypatch)
    assert (line["event"], line["log_level"], line["exc_info"]) == ("doorbell.crashed", "error", True)


def test_a_fault_that_is_no_bug_is_one_line_that_says_why(monkeypatch: pytest.MonkeyPatch):
    line = said_of(StoreUnavailable("the store cannot be used: it is full"), monkeypatch)
    assert (line["event"], line["log_level"]) == ("doorbell.failed", "warning")
    assert line["reason"] == "the store cannot be used: it is full"
    assert "exc_info" not in line
