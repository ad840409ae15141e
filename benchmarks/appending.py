"""In process: how fast events in memory are in the embedded ledger, against bare COPY of the very rows that makes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine, MetaData, Table, select

from deals.events import Event, EventType
from deals.identity import canonical
from deals.state import Json
from ledger import bulk
from ledger.clock import utc_now
from ledger.embedded import EmbeddedLedger
from ledger.engine import connect, reading
from ledger.schema import migrate
from ledger.tables import deals, domain_events, source_events
from pipeline.publish import BATCH

ROUNDS = 4
TABLES = (source_events, domain_events, deals)


@dataclass(frozen=True, slots=True)
class Rates:
    """Events a second, each the best of some rounds: appended; their rows copied into bare tables; the same into
    tables with the ledger's keys and indexes."""

    appended: float
    floor: float
    indexed: float


def rates(count: int, store_url: str) -> Rates:
    """Measure all three in turn on a PostgreSQL of nobody else's; every batch of each is a transaction of its own."""
    engine = connect(store_url)
    try:
        migrate(engine)
        appended, floor, indexed = [], [], []
        for number in range(ROUNDS):
            org = f"org_round{number}"
            appended.append(count / _appending(engine, org, count))
            rows = [_rows_of(engine, table, org) for table in TABLES]
            floor.append(count / _copying(engine, rows, "bare", ""))
            indexed.append(count / _copying(engine, rows, "indexed", "INCLUDING INDEXES"))
        return Rates(max(appended), max(floor), max(indexed))
    finally:
        engine.dispose()


def events(count: int) -> list[Event]:
    """First sights of so many deals, their states as wide as a mapped Planhat deal's: about 570 bytes."""
    return [_event(number) for number in range(count)]


def _event(number: int) -> Event:
    state: dict[str, Json] = {
        "amount_cents": 1_000_00 + number,
        "stage": "negotiation",
        "close_date": "2026-02-15",
        "owner_external_id": f"65a0b1c2d3e4f5a6{number % 97:08x}",
        **{f"commercial_field_{place:02}": f"value {number + place}" for place in range(14)},
    }
    name = f"bench:65f0c0ffee00dea1{number:08x}"
    return Event(name, EventType.UPSERT, f"{name}:1:{number * 2654435761 % (1 << 160):040x}", canonical(state))


def _appending(engine: Engine, org: str, count: int) -> float:
    ledger, waiting = EmbeddedLedger(engine, org=org, now=utc_now), events(count)
    begun = time.perf_counter()
    for batch in bulk.in_chunks(waiting, BATCH):
        ledger.append(batch)
    return time.perf_counter() - begun


def _rows_of(engine: Engine, table: Table, org: str) -> list[tuple[object, ...]]:
    with reading(engine) as tx:
        return [tuple(row) for row in tx.execute(select(table).where(table.c.org_id == org))]


def _copying(engine: Engine, rows: Sequence[Sequence[tuple[object, ...]]], name: str, like: str) -> float:
    with _copies(engine, name, like) as copies:
        begun = time.perf_counter()
        for start in range(0, len(rows[0]), BATCH):
            with engine.begin() as tx:
                for table, its_rows in zip(copies, rows, strict=True):
                    bulk.insert(tx, table, its_rows[start : start + BATCH])
        return time.perf_counter() - begun


@contextmanager
def _copies(engine: Engine, name: str, like: str) -> Iterator[list[Table]]:
    """Logged tables with the ledger's columns, and its indexes where `like` includes them; dropped afterwards."""
    copies = [table.to_metadata(MetaData(), name=f"{name}_{table.name}") for table in TABLES]
    with engine.begin() as tx:
        for table, copy in zip(TABLES, copies, strict=True):
            tx.exec_driver_sql(f"CREATE TABLE {copy.name} (LIKE {table.name} {like})")
    try:
        yield copies
    finally:
        with engine.begin() as tx:
            for copy in copies:
                tx.exec_driver_sql(f"DROP TABLE {copy.name}")


def main() -> None:
    """`python -m benchmarks.appending EVENTS STORE_URL`: one JSON line."""
    found = rates(int(sys.argv[1]), sys.argv[2])
    print(json.dumps({"appended": found.appended, "floor": found.floor, "indexed": found.indexed}))


if __name__ == "__main__":
    main()
