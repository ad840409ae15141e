"""Tasks: a fault that is no bug ends one with one line for whoever is on call; a bug shows where it is. Messages that
piled up while nobody worked are answered once."""

from __future__ import annotations

import io
import json
import logging
import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import structlog

from connectors.faults import Refused, Unavailable
from connectors.planhat.simulator import PlanhatSimulator
from ledger.port import LedgerUnavailable
from pipeline import observe, tasks
from pipeline.ask import ask_run
from pipeline.audit import Operator
from pipeline.faults import Busy, Interrupted, StaleLease, StoreUnavailable
from pipeline.past import list_runs
from pipeline.pause import pause
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.schedule import Due, due
from pipeline.status import status
from pipeline.wiring import App
from tests.pipeline.world import NAME

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


@pytest.fixture
def app(open_world: Callable[..., App], crm: PlanhatSimulator) -> App:
    return open_world(crm)


@pytest.fixture
def rung(app: App, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    """Messages that lie in the broker because no worker takes them."""
    messages: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(tasks, "_app", lambda: app)
    monkeypatch.setattr(tasks, "ring", lambda verb, **ids: messages.append((verb, ids)))
    return messages


def work_off(rung: list[tuple[str, dict[str, str]]]) -> None:
    """A worker comes, and takes all there are; what it rings for itself is left."""
    waiting = rung[:]
    rung.clear()
    for verb, ids in waiting:
        assert getattr(tasks, verb).apply(kwargs=ids).successful()


def made(app: App, kind: str) -> int:
    return len(list_runs(app, connection=NAME, kind=kind))


@pytest.mark.parametrize("verb", ["pull", "sweep"])
def test_what_was_rung_for_many_times_while_nobody_worked_is_done_once(verb: str, app: App, rung: list[Any]):
    if verb == "sweep":
        pull(app, NAME)
    for _ in range(20):
        tasks.tick.apply()
    assert [one for one, _ in rung].count(verb) == 20
    before = made(app, verb)
    work_off(rung)
    assert made(app, verb) == before + 1


@pytest.mark.parametrize("verb", ["pull", "sweep"])
def test_the_publisher_is_rung_for_when_events_wait_and_left_alone_when_none_do(
    verb: str, app: App, crm: PlanhatSimulator, rung: list[Any]
):
    def rung_by_reading() -> list[Any]:
        rung.clear()
        assert getattr(tasks, verb).apply(kwargs={"connection": NAME}).result == "done"
        return rung

    assert rung_by_reading() == [("publish", {})]
    assert rung_by_reading() == [("publish", {})], "they wait still: the first message may have been lost"
    publish(app)
    assert rung_by_reading() == []
    crm.edit(crm.ids()[0], total=123_456)
    assert rung_by_reading() == [("publish", {})]


def test_a_message_that_comes_after_the_connection_was_paused_reads_nothing(app: App, rung: list[Any]):
    ann = Operator("ann", "the CRM is being mended")
    tasks.tick.apply()
    pause(app, NAME, ann)
    work_off(rung)
    assert made(app, "pull") == 0
    ask_run(app, "pull", NAME, ann)
    tasks.tick.apply()
    work_off(rung)
    assert made(app, "pull") == 1, "what a person asks for is done all the same"


def test_a_message_that_comes_after_the_source_refused_us_does_not_ask_it_again(
    app: App, crm: PlanhatSimulator, rung: list[Any]
):
    pull(app, NAME)
    tasks.tick.apply()
    assert rung[0][0] == "sweep"
    crm.switches.forbidden = True
    with pytest.raises(Refused):
        pull(app, NAME)
    work_off(rung)
    assert made(app, "sweep") == 0


class Late(httpx.BaseTransport):
    """A CRM so slow that the task that reads it has had its time by the request of this number."""

    def __init__(self, inner: httpx.BaseTransport, number: int) -> None:
        self._inner, self._left = inner, number

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._left -= 1
        if not self._left:
            signal.raise_signal(signal.SIGUSR1)
        return self._inner.handle_request(request)


def test_what_has_had_its_time_is_gone_on_with_at_once_and_is_no_failure_of_the_source(
    app: App, crm: PlanhatSimulator, rung: list[Any]
):
    """As often as it takes: a long read is done in parts, and the parts are not put ever farther apart."""
    pull(app, NAME)
    for _ in range(3):
        app.transports = {NAME: Late(crm.transport(), 3)}
        assert tasks.sweep.apply(kwargs={"connection": NAME}).result == "cut off"
        (run, *_) = list_runs(app, connection=NAME, kind="sweep")
        assert (run["state"], run["reason"]) == ("failed", str(Interrupted()))
        assert Due("sweep", NAME) in due(app)
    app.transports = {NAME: crm.transport()}
    assert tasks.sweep.apply(kwargs={"connection": NAME}).result == "done"
    assert Due("sweep", NAME) not in due(app)
    assert status(app)["connections"][0]["state"] == "ok"
