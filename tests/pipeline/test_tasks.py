"""Tasks: a fault that is no bug ends one with one line for whoever is on call; a bug shows where it is."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from connectors.faults import Refused, Unavailable
from ledger.port import LedgerUnavailable
from pipeline import observe, tasks
from pipeline.faults import Busy, StaleLease, StoreUnavailable

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Celery's own, of a setting of consumers

WHY = "GET https://crm.example/deals answered 503: try again later"
Ended = Callable[[Exception], list[dict[str, Any]]]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ended]:
    """What a worker logs when a pull ends with an error."""
    root = logging.getLogger()
    handlers, level, stream = root.handlers[:], root.level, io.StringIO()
    observe.configure("json", "debug", stream)

    def ended(error: Exception) -> list[dict[str, Any]]:
        def pull(*_: object) -> None:
            raise error

        monkeypatch.setattr(tasks, "_app", object)
        monkeypatch.setattr(tasks, "pull_connection", pull)
        stream.truncate(stream.seek(0))
        tasks.pull.apply(kwargs={"connection": "planhat-eu"})
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield ended
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_an_expected_fault_is_one_line_that_says_what_where_and_why(ended: Ended):
    for fault in (Unavailable, Refused, StaleLease, StoreUnavailable, LedgerUnavailable):
        said = ended(fault(WHY))
        warnings = [line for line in said if line["level"] not in ("debug", "info")]
        assert [(one["event"], one["verb"], one["connection"], one["reason"]) for one in warnings] == [
            ("failed", "pull", "planhat-eu", WHY)
        ]
        assert "Traceback" not in json.dumps(said)


def test_somebody_else_at_the_same_work_is_nothing_that_anybody_must_read(ended: Ended):
    said = ended(Busy())
    assert {line["level"] for line in said} == {"debug", "info"}
    assert "Traceback" not in json.dumps(said)


def test_a_bug_is_an_error_with_its_traceback(ended: Ended):
    (error,) = [line for line in ended(KeyError("stage")) if line["level"] == "error"]
    assert "in pull" in error["exception"]
    assert "KeyError" in error["exception"]
