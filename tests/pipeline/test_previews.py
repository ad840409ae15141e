"""Previews: dry runs go on beside whoever asked for them, a few at once, and say why they did not come to their end."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
import redis

from connectors.planhat.simulator import PlanhatSimulator
from pipeline import tasks
from pipeline.audit import Operator
from pipeline.backfill import cancel
from pipeline.backfill_report import Standing, standing
from pipeline.browse import list_deals
from pipeline.faults import Busy, Unknown
from pipeline.previews import AT_ONCE, Previews
from pipeline.wiring import App
from tests import servers
from tests.pipeline.world import NAME
from tests.waiting import eventually

ANN = Operator("ann", "a test")
WHOLE = (None, None)


@pytest.fixture
def previews(app: App) -> Iterator[Previews]:
    made = Previews(app, here=True)
    yield made
    made.close()


def once(app: App, number: int, holds: Callable[[Standing], bool]) -> Standing:
    """A backfill as it stands when something is true of it."""
    stands = lambda: standing(app, number)  # noqa: E731
    eventually(lambda: holds(stands()), "it has come so far", told=lambda: repr(stands()))
    return stands()


def looked_at(stands: Standing) -> bool:
    return bool(stands.plan) and all(chunk.expectation is not None for chunk in stands.plan)


def test_a_dry_run_goes_on_by_itself_and_lands_nothing(app: App, previews: Previews):
    planned = previews.begin(NAME, WHOLE, ANN)
    assert (planned.state, planned.expected) == ("planned", None)
    looked = once(app, planned.id, looked_at)
    assert looked.expected is not None
    assert (looked.expected["creates"], looked.state) == (40, "planned")
    assert list(list_deals(app)) == []


def test_one_that_cannot_be_finished_says_why_with_its_plan(app: App, crm: PlanhatSimulator, previews: Previews):
    crm.switches.forbidden = True
    planned = previews.begin(NAME, WHOLE, ANN)
    failed = once(app, planned.id, lambda one: one.reason is not None)
    assert failed.state == "planned"
    assert "the dry run did not come to its end: " in (failed.reason or "")
    assert "403" in (failed.reason or "")


class Gate(httpx.BaseTransport):
    """A CRM that answers nobody before it is opened."""

    def __init__(self, crm: PlanhatSimulator) -> None:
        self.open = threading.Event()
        self._behind = crm.transport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert self.open.wait(30)
        return self._behind.handle_request(request)


def test_only_so_many_go_on_at_once(app: App, crm: PlanhatSimulator, previews: Previews):
    gate = Gate(crm)
    app.transports = {NAME: gate}
    planned = [previews.begin(NAME, WHOLE, ANN).id for _ in range(AT_ONCE)]
    with pytest.raises(Busy, match=f"{AT_ONCE} dry runs are under way"):
        previews.begin(NAME, WHOLE, ANN)
    gate.open.set()
    for number in planned:
        once(app, number, looked_at)


def test_what_cannot_be_begun_takes_up_no_room(app: App, previews: Previews):
    for _ in range(AT_ONCE + 1):
        with pytest.raises(Unknown):
            previews.begin(NAME, ("2999-01-01T00:00:00.000Z", None), ANN)
    assert previews.begin(NAME, WHOLE, ANN).state == "planned"


def test_one_that_is_cancelled_meanwhile_stays_cancelled(app: App, previews: Previews):
    planned = previews.begin(NAME, WHOLE, ANN)
    cancel(app, planned.id, operator=ANN)
    previews.close()
    assert standing(app, planned.id).state == "cancelled"


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with servers.redis() as url:
        yield url


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Celery's own, of a setting of consumers
def test_where_there_are_workers_they_are_rung_for(
    open_world: Callable[..., App], crm: PlanhatSimulator, broker: str, monkeypatch: pytest.MonkeyPatch
):
    """The message reaches the queue, and names a plan; whoever takes it looks ahead."""
    app = open_world(crm, extra=f'[broker]\nurl = "{broker}"\n')
    planned = Previews(app, here=False).begin(NAME, WHOLE, ANN)
    assert planned.expected is None
    with redis.Redis.from_url(broker) as queue:
        body = json.loads(queue.lpop("backfill") or b"{}")
    assert body["headers"]["task"] == "preview"
    monkeypatch.setattr(tasks, "_app", lambda: app)
    tasks.preview(**json.loads(base64.b64decode(body["body"]))[1])
    assert looked_at(standing(app, planned.id))
