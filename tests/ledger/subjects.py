"""The ledgers under test, each with a look at what it really holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine, select

from deals.events import Event
from deals.identity import canonical
from ledger import keys
from ledger.embedded import EmbeddedLedger
from ledger.engine import connect
from ledger.memory import MemoryLedger
from ledger.port import Ledger
from ledger.remote import RemoteLedger
from ledger.schema import migrate
from ledger.service import create_app
from ledger.tables import domain_events, source_events
from tests import servers
from tests.ledger.serving import served

NOW = "2026-04-22T10:15:30.000Z"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Subject:
    """A ledger, and its history: (external id, dedup key) of every event that counts, in the order of acceptance.

    `fresh` gives an empty ledger of the same kind, for tests that need many.
    """

    ledger: Ledger
    history: Callable[[], list[tuple[str, str]]]
    fresh: Callable[[], Subject]


def event(
    deal: str = "planhat:1", key: str = "k1", amount: int | None = 100, kind: str = "upsert", **more: object
) -> Event:
    """An event with a state as the pipeline sends it."""
    state = {"amount_cents": amount, "stage": "open", "close_date": None, "owner_external_id": None, **more}
    return Event(deal, kind, key, canonical(state))


def now() -> str:
    return NOW


def memory() -> Subject:
    ledger = MemoryLedger(now=now)
    return Subject(ledger, lambda: [(one.external_id, one.dedup_key) for one in ledger.events], memory)


@contextmanager
def engine_at(url: str) -> Iterator[Engine]:
    """A migrated database."""
    engine = connect(url)
    migrate(engine)
    servers.unsynced(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def embedded(engine: Engine) -> Subject:
    org = f"org_{next(_numbers)}"
    return Subject(EmbeddedLedger(engine, org=org, now=now), lambda: history(engine, org), lambda: embedded(engine))


@contextmanager
def remote(engine: Engine, *, batches: bool) -> Iterator[Subject]:
    """A remote ledger against the service really served; every fresh one is another org of it."""
    opened: list[RemoteLedger] = []
    with served(create_app(engine, now=now)) as address:

        def fresh() -> Subject:
            org = f"org_{next(_numbers)}"
            scopes = ["deals:write", "deals:read"]
            key = keys.create(engine, name="test", scopes=scopes, org=org, rpm=1_000_000)["key"]
            ledger = RemoteLedger(f"{address}/v1", key, in_flight=4, batches=batches)
            opened.append(ledger)
            return Subject(ledger, lambda: history(engine, org), fresh)

        try:
            yield fresh()
        finally:
            for ledger in opened:
                ledger.close()


def history(engine: Engine, org: str) -> list[tuple[str, str]]:
    query = (
        select(source_events.c.external_id, source_events.c.dedup_key)
        .join(domain_events, domain_events.c.source_event_id == source_events.c.id)
        .where(domain_events.c.org_id == org)
        .order_by(domain_events.c.sequence)
    )
    with engine.connect() as tx:
        return [(row.external_id, row.dedup_key) for row in tx.execute(query)]
