"""The sandbox: every source's simulated CRM behind one address, with a small API to work in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.registry import sources
from connectors.simulation import serve
from pipeline import settings
from pipeline.browse import list_deals
from pipeline.pull import pull
from pipeline.sandbox import Sandbox, WallClock
from pipeline.wiring import open_app

SOURCES = list(sources())
Ask = Callable[..., Any]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(deals=12)
    made.begin()
    yield made
    made.close()


@pytest.fixture
def ask(sandbox: Sandbox) -> Iterator[Ask]:
    """Asks the control API; answers the JSON, and checks the status."""
    with serve(sandbox.app()) as base_url, httpx.Client(base_url=base_url, trust_env=False) as client:

        def asked(method: str, path: str, body: Any = None, status: int = 200) -> Any:
            answer = client.request(method, f"/control/{path}", json=body)
            assert answer.status_code == status, answer.text
            return json.loads(answer.content, parse_float=Decimal)

        yield asked


@pytest.mark.parametrize("name", SOURCES)
def test_the_configuration_it_prints_reads_its_deals_over_http(sandbox: Sandbox, tmp_path: Path, name: str):
    with serve(sandbox.app()) as base_url:
        file = tmp_path / "dealsync.toml"
        file.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/x.db"\n' + sandbox.configuration(base_url))
        with open_app(settings.load(file, sandbox.environment())) as app:
            pull(app, name)
            seen = {deal["source_id"] for deal in list_deals(app, connection=name)}
    assert seen == set(sandbox.tenants[name].ids())


@pytest.mark.parametrize("name", SOURCES)
def test_whatever_people_do_can_be_done(sandbox: Sandbox, ask: Ask, name: str):
    crm = sandbox.tenants[name]
    overview = ask("GET", "")["sources"][name]
    assert (overview["deals"], tuple(overview["stages"])) == (12, crm.stages)
    deal = ask("POST", f"{name}/deals", {"amount": "10.50", "stage": crm.stages[0]}, 201)["id"]
    assert deal in crm.ids()
    before = ask("GET", f"{name}/deals?limit=100")["deals"]
    assert len(before) == 13
    ask("PATCH", f"{name}/deals/{deal}", {"amount": 99.5, "stage": crm.stages[-2]})
    ask("POST", f"{name}/deals/{deal}/touch")
    ask("POST", f"{name}/deals/{deal}/spoil")
    assert ask("GET", f"{name}/deals?limit=100")["deals"] != before
    ask("DELETE", f"{name}/deals/{deal}")
    assert deal not in crm.ids()
    try:
        crm.restore(deal)
    except NotImplementedError:
        ask("POST", f"{name}/deals/{deal}/restore", status=409)
    else:
        crm.delete(deal)
        ask("POST", f"{name}/deals/{deal}/restore")
        assert deal in crm.ids()


def test_deals_are_listed_a_page_at_a_time(sandbox: Sandbox, ask: Ask):
    first = ask("GET", "planhat/deals?limit=5")["deals"]
    rest = ask("GET", f"planhat/deals?after={first[-1]['_id']}")["deals"]
    assert [row["_id"] for row in (*first, *rest)] == sandbox.tenants["planhat"].ids()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "nobody/deals", None, 404, "no source 'nobody'; there are"),
        ("PATCH", "planhat/deals/x", {"amount": 1}, 404, "no deal 'x'"),
        ("DELETE", "planhat/deals/x", None, 404, "no deal 'x'"),
        ("PATCH", "planhat/deals/x", {}, 400, "nothing to change"),
        ("POST", "planhat/deals", {"amount": "lots"}, 400, '"amount" must be a number'),
        ("POST", "planhat/deals", {"amount": True}, 400, '"amount" must be a number'),
        ("POST", "planhat/deals", {"sum": 1}, 400, "unknown key 'sum'; known are amount, stage"),
        ("POST", "planhat/deals", {"stage": 1}, 400, "Closed Won"),
        ("POST", "planhat/deals", [1], 400, "JSON object"),
        ("POST", "planhat/clock", {"advance": "soon"}, 400, "not a duration"),
        ("POST", "planhat/webhooks", {"url": "ftp://x"}, 400, "the receiver's"),
        ("GET", "planhat/deals?limit=0", None, 400, "from 1 to 1000"),
        ("GET", "planhat/deals?after=x", None, 404, "to go on after"),
    ],
)
def test_what_cannot_be_done_is_said(ask: Ask, method: str, path: str, body: Any, status: int, words: str):
    assert words in ask(method, path, body, status)["error"]


def test_the_clock_follows_the_machines_and_can_be_moved_ahead(ask: Ask):
    moved = datetime.fromisoformat(ask("POST", "planhat/clock", {"advance": "2h"})["now"])
    assert moved - datetime.now(UTC) > timedelta(minutes=119)
    other = WallClock()
    first = other.now
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)
    other.tick()
    assert other.now >= first


def test_a_registered_webhook_gets_what_is_written_from_then_on(sandbox: Sandbox, ask: Ask):
    got: list[tuple[bytes, dict[str, str]]] = []

    async def receiver(scope: Any, receive: Any, send: Any) -> None:
        got.append(((await receive())["body"], {key.decode(): value.decode() for key, value in scope["headers"]}))
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    with serve(receiver) as url:
        secret = ask("POST", "planhat/webhooks", {"url": url}, 201)["secret"]
        deal = sandbox.tenants["planhat"].ids()[0]
        ask("POST", f"planhat/deals/{deal}/touch")
    ((body, headers),) = got
    assert json.loads(body)["id"] == deal
    assert headers["x-planhat-secret"] == secret


def test_an_answer_that_never_comes_is_a_failed_delivery_and_nothing_worse(ask: Ask, sandbox: Sandbox):
    with serve(sandbox.app()) as url:
        pass
    ask("POST", "planhat/webhooks", {"url": url}, 201)  # nobody listens there any more
    ask("POST", f"planhat/deals/{sandbox.tenants['planhat'].ids()[0]}/touch")
