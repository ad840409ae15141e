"""A database that hangs or was restarted: nobody waits for ever, and nothing is lost, doubled or said in vain."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from ledger import keys
from ledger.port import Receipt
from ledger.remote import RemoteLedger
from ledger.service import create_app
from ledger.verify import verify
from tests.faults.backing import Postgres
from tests.ledger.pausing import paused
from tests.ledger.serving import served
from tests.ledger.subjects import engine_at, event, history, now
from tests.waiting import eventually

AT_ONCE = 16


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


@dataclass
class Service:
    """The service over a database of its own on a server of our own."""

    postgres: Postgres
    name: str
    engine: Engine
    address: str
    key: str
    http: httpx.Client

    def post(self, number: int) -> httpx.Response:
        body = {"external_id": f"d:{number % 3}", "dedup_key": f"k{number}", "state": {"n": number}}
        return self.http.post("/v1/deals/events", json=body)

    def posts(self, numbers: range) -> list[httpx.Response]:
        with ThreadPoolExecutor(len(numbers)) as together:
            return list(together.map(self.post, numbers))

    def ready(self) -> bool:
        return self.http.get("/readyz").status_code == 200

    def ids(self) -> dict[str, Any]:
        """The ids of each key's event, as the database holds them."""
        held = "SELECT s.dedup_key, s.id, d.id, d.deal_id FROM ledger_source_events s JOIN ledger_domain_events d "
        with self.engine.connect() as tx:
            found = tx.execute(text(held + "ON d.source_event_id = s.id")).all()
        return {key: dict(zip(IDS, ids, strict=True)) for key, *ids in found}


IDS = ("source_event_id", "domain_event_id", "deal_id")


@pytest.fixture
def service(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[Service]:
    name = f"t{abs(hash(request.node.name))}"
    with ExitStack() as stack:
        with postgres.admin() as admin:
            admin.execute(f"CREATE DATABASE {name}")
        engine = stack.enter_context(engine_at(postgres.url(name)))
        address = stack.enter_context(served(create_app(engine, now=now)))
        scopes = ["deals:write", "deals:read"]
        key = str(keys.create(engine, name="test", scopes=scopes, rpm=1_000_000)["key"])
        headers = {"Authorization": f"Bearer {key}"}
        http = stack.enter_context(httpx.Client(base_url=address, headers=headers, timeout=25.0))
        yield Service(postgres, name, engine, address, key, http)


@contextmanager
def stopped(service: Service) -> Iterator[None]:
    """Every process of PostgreSQL stands still."""
    service.engine.dispose()  # a test's own sessions are none of the service's
    with paused(service.postgres):
        yield


@contextmanager
def locked(service: Service) -> Iterator[None]:
    """Somebody holds the ledger's tables, as a migration does."""
    with service.postgres.admin(service.name) as admin, admin.transaction():
        admin.execute("LOCK TABLE ledger_source_events, ledger_domain_events, ledger_deals")
        yield


@pytest.mark.parametrize("hanging", [stopped, locked])
def test_while_the_database_hangs_everybody_is_told_to_come_back_and_finds_what_was_committed(
    service: Service, hanging: Any
):
    assert service.post(0).status_code == 201
    with hanging(service), ThreadPoolExecutor(1) as beside:
        reading = [beside.submit(service.http.get, "/v1/deals")] if hanging is stopped else []
        answers = [*service.posts(range(1, AT_ONCE)), *(one.result() for one in reading)]
        assert not service.ready()
        answers.append(service.post(AT_ONCE))
        assert service.http.get("/livez").status_code == 200
        told = service.http.get("/metrics").text
    assert {answer.status_code for answer in answers} == {503}
    waits = [int(answer.headers["retry-after"]) for answer in answers]
    assert (min(waits) >= 1, max(waits) <= 15, len(set(waits)) > 1) == (True, True, True), waits
    assert waits[-1] >= 5, "who comes when it has hung for long is sent away for long"
    assert 'dealsync_ledger_sent_away_total{reason="late"}' in told
    assert 'dealsync_ledger_sent_away_total{reason="hangs"} 1.0' in told
    assert {answer.json()["error"] for answer in answers} == {"unavailable"}

    eventually(service.ready, "the service is ready again")
    known = service.ids()
    again = service.posts(range(AT_ONCE + 1))
    assert {answer.status_code for answer in again} <= {200, 201}
    for number, answer in enumerate(again):
        assert answer.json() == service.ids()[f"k{number}"]
        assert answer.json() == known.get(f"k{number}", answer.json())
    assert sorted(key for _, key in history(service.engine, "org_default")) == sorted(
        f"k{n}" for n in range(AT_ONCE + 1)
    )
    assert verify(service.engine, "org_default").ok


def test_after_a_restart_the_first_requests_are_taken_as_if_nothing_had_been(service: Service):
    ledger = RemoteLedger(f"{service.address}/v1", service.key, in_flight=4, batches=False)
    for turn in range(3):
        sent = [event(f"d:{number}", f"{turn}:{number}") for number in range(20)]
        assert {type(answer) for answer in ledger.append(sent)} == {Receipt}
        service.postgres.restart_fast()
        assert {answer.status_code for answer in service.posts(range(turn * 100, turn * 100 + 8))} == {201}
        assert service.http.get("/v1/deals").status_code == 200
    ledger.close()
    assert len(history(service.engine, "org_default")) == 3 * 28
    assert verify(service.engine, "org_default").ok
