"""Verify: a byte changed anywhere in the three tables is found, and named; rebuild makes the deals anew."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, LargeBinary, Table, select, text, update
from sqlalchemy.types import BigInteger

from ledger.admission import derived
from ledger.chain import event_hash, source_hash
from ledger.embedded import EmbeddedLedger
from ledger.ids import deal_id
from ledger.port import LedgerFault
from ledger.rows import Domain, Source
from ledger.tables import deals, domain_events, source_events
from ledger.verify import rebuild, verify
from tests import servers
from tests.ledger.subjects import engine_at, event, now

ORG = "org_default"
_numbers = itertools.count(1)
COLUMNS = [(table, column) for table in (source_events, domain_events, deals) for column in table.columns]


@dataclass(frozen=True)
class Filled:
    """An org of five events of three deals, one of them deleted, in a database that no longer defends itself."""

    engine: Engine
    org: str


@pytest.fixture(scope="module")
def defenceless(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Engine]]:
    file = tmp_path_factory.mktemp("verify") / "store.db"
    with (
        servers.database(postgres_server) as url,
        engine_at(url) as postgres,
        engine_at(f"sqlite:///{file}") as sqlite,
    ):
        disarm(postgres)
        disarm(sqlite)
        yield {"postgres": postgres, "sqlite": sqlite}


@pytest.fixture(params=["sqlite", "postgres"])
def filled(request: pytest.FixtureRequest, defenceless: dict[str, Engine]) -> Filled:
    return fill(defenceless[request.param])


def fill(engine: Engine) -> Filled:
    org = f"org_{next(_numbers)}_m"
    ledger = EmbeddedLedger(engine, org=org, now=now)
    ledger.append([event("d:1", "k1"), event("d:2", "k2"), event("d:1", "k3", 200)])
    ledger.append([event("d:3", "k4"), event("d:3", "k5", 0, "delete", deleted=True)])
    return Filled(engine, org)


def disarm(engine: Engine) -> None:
    with engine.begin() as tx:
        for table in (source_events, domain_events):
            if tx.dialect.name == "postgresql":
                tx.execute(text(f"ALTER TABLE {table.name} DISABLE TRIGGER ALL"))
            else:
                tx.execute(text(f"DROP TRIGGER {table.name}_no_update"))
                tx.execute(text(f"DROP TRIGGER {table.name}_no_delete"))


def do(filled: Filled, sql: str) -> None:
    with filled.engine.begin() as tx:
        tx.execute(text(sql), {"org": filled.org} if ":org" in sql else {})


def listed(filled: Filled) -> list[tuple[Any, ...]]:
    with filled.engine.connect() as tx:
        return [
            tuple(row) for row in tx.execute(select(deals).where(deals.c.org_id == filled.org).order_by(deals.c.id))
        ]


def changed(column: Column[Any], value: Any) -> Any:
    """The value with one bit of it changed; a sensible other one where there are no bytes."""
    if isinstance(column.type, BigInteger):
        return value + 10
    if isinstance(column.type, LargeBinary):
        return value[:-1] + bytes([value[-1] ^ 1])
    if value is None:
        return "2026-04-22T10:15:30.000Z"
    return value[:-1] + chr(ord(value[-1]) ^ 64)


def test_a_ledger_as_it_was_written_is_sound(filled: Filled):
    verdict = verify(filled.engine, filled.org)
    assert (verdict.ok, verdict.events, verdict.deals, verdict.first_bad) == (True, 5, 3, None)


def test_an_empty_ledger_is_sound(filled: Filled):
    assert verify(filled.engine, "org_empty").ok


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda one: one.name)
def test_a_byte_changed_in_any_column_is_found_in_its_table(filled: Filled, table: Table, column: Column[Any]):
    by = table.columns["sequence" if table is domain_events else "id"]
    for which in (0, -1):
        with filled.engine.begin() as tx:
            row = tx.execute(select(table).where(table.c.org_id == filled.org).order_by(by)).all()[which]._mapping
            here = update(table).where(by == row[by.name], table.c.org_id == filled.org)
            tx.execute(here.values({column.name: changed(column, row[column.name])}))
        verdict = verify(filled.engine, filled.org)
        assert not verdict.ok
        assert verdict.first_bad is not None
        assert verdict.first_bad["table"] == table.name
        assert set(verdict.first_bad) == {"table", "row", "why"}
        filled = fill(filled.engine)


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("DELETE FROM ledger_domain_events WHERE org_id = :org AND sequence = 2", domain_events),
        ("DELETE FROM ledger_domain_events WHERE org_id = :org AND sequence = 1", domain_events),
        ("DELETE FROM ledger_domain_events WHERE org_id = :org AND sequence = 5", source_events),
        ("DELETE FROM ledger_source_events WHERE org_id = :org AND dedup_key = 'k2'", source_events),
        ("DELETE FROM ledger_source_events WHERE org_id = :org AND dedup_key = 'k5'", source_events),
        ("DELETE FROM ledger_deals WHERE org_id = :org AND external_id = 'd:2'", deals),
        ("DELETE FROM ledger_deals WHERE org_id = :org AND external_id = 'd:3'", deals),
        ("UPDATE ledger_deals SET last_sequence = 1 WHERE org_id = :org AND external_id = 'd:1'", deals),
        (
            "INSERT INTO ledger_deals SELECT 'deal_' || :org, org_id, source, 'd:x', state, last_event_at, updated_at, "
            "deleted_at, last_sequence FROM ledger_deals WHERE org_id = :org AND external_id = 'd:3'",
            deals,
        ),
        (
            "INSERT INTO ledger_source_events SELECT 'src_api_Z' || :org, org_id, source, external_id, 'k9', raw_body, "
            "received_at FROM ledger_source_events WHERE org_id = :org AND dedup_key = 'k5'",
            source_events,
        ),
    ],
)
def test_a_row_taken_out_or_slipped_in_is_found(filled: Filled, sql: str, table: Table):
    do(filled, sql)
    verdict = verify(filled.engine, filled.org)
    assert verdict.first_bad is not None
    assert verdict.first_bad["table"] == table.name


def test_a_body_that_says_the_same_in_other_bytes_is_found(filled: Filled):
    column = source_events.c
    with filled.engine.begin() as tx:
        here = (column.org_id == filled.org) & (column.dedup_key == "k3")
        raw = tx.execute(select(column.raw_body).where(here)).scalar_one()
        tx.execute(update(source_events).where(here).values(raw_body=raw + b" "))
    verdict = verify(filled.engine, filled.org)
    assert verdict.first_bad is not None
    assert verdict.first_bad["table"] == "ledger_source_events"


def test_an_event_hung_onto_nothing_is_found_although_its_own_hash_is_right(filled: Filled):
    column = domain_events.c
    with filled.engine.begin() as tx:
        here = (column.org_id == filled.org) & (column.sequence == 5)
        last = Domain._make(tx.execute(select(domain_events).where(here)).one())._replace(prev_hash=bytes(32))
        forged = {"prev_hash": last.prev_hash, "hash": event_hash(last[:-1])}
        tx.execute(update(domain_events).where(here).values(forged))
    verdict = verify(filled.engine, filled.org)
    assert verdict.first_bad is not None
    assert verdict.first_bad["why"] == "prev_hash is not the hash of the event before"


def test_two_events_exchanged_are_found(filled: Filled):
    swap = "UPDATE ledger_domain_events SET sequence = {} WHERE org_id = :org AND sequence {}"
    do(filled, swap.format("sequence + 10", "IN (2, 3)"))
    do(filled, swap.format("25 - sequence - 10", "> 10"))
    assert not verify(filled.engine, filled.org).ok


def test_a_key_that_stands_twice_is_found_although_the_index_is_gone(database_url: str):
    with engine_at(database_url) as engine:
        filled = fill(engine)
        do(filled, "DROP INDEX ledger_source_events_key")
        column = source_events.c
        with engine.begin() as tx:
            first = tx.execute(select(source_events).where(column.dedup_key == "k1")).one()
            head = tx.execute(select(domain_events).order_by(domain_events.c.sequence.desc()).limit(1)).one()
            forge(tx, Source._make(first), Domain._make(head))
        verdict = verify(engine, filled.org)
        assert verdict.first_bad is not None
        assert verdict.first_bad["why"] == "its dedup_key stands twice"


def forge(tx: Connection, first: Source, head: Domain) -> None:
    """Append a key a second time, with everything about it right but that."""
    source = first._replace(id="src_api_" + "Z" * 26)
    body = json.loads(first.raw_body)
    fields = (
        head.org_id, head.sequence + 1, "dom_api_" + "Z" * 26, source.id, deal_id(head.org_id, source.external_id),
        body["event_type"], derived(source.raw_body)[2], head.occurred_at, source_hash(source), head.hash,
    )  # fmt: skip
    tx.execute(source_events.insert().values(source._asdict()))
    tx.execute(domain_events.insert().values(Domain(*fields, event_hash(fields))._asdict()))


def test_text_that_is_no_unicode_is_named_not_stumbled_over(defenceless: dict[str, Engine]):
    for table, column in [
        ("ledger_source_events", "external_id"),
        ("ledger_source_events", "id"),
        ("ledger_domain_events", "state"),
        ("ledger_domain_events", "id"),
        ("ledger_deals", "external_id"),
        ("ledger_deals", "id"),
    ]:
        filled = fill(defenceless["sqlite"])
        spoil = f"UPDATE {table} SET {column} = {column} || CAST(x'ff' AS TEXT) WHERE org_id = :org"
        do(filled, spoil)
        found = verify(filled.engine, filled.org).first_bad
        assert found is not None
        assert found["table"] == table
        assert found["row"].isascii()


def test_rebuilding_makes_the_same_deals_byte_for_byte(filled: Filled):
    before = listed(filled)
    do(filled, "UPDATE ledger_deals SET state = '{}', last_sequence = 1, deleted_at = NULL WHERE org_id = :org")
    do(filled, "DELETE FROM ledger_deals WHERE org_id = :org AND external_id = 'd:2'")
    assert not verify(filled.engine, filled.org).ok
    assert rebuild(filled.engine, filled.org) == 3
    assert listed(filled) == before
    assert verify(filled.engine, filled.org).ok


def test_rebuilding_leaves_other_orgs_alone(filled: Filled):
    other = fill(filled.engine)
    do(other, "DELETE FROM ledger_deals WHERE org_id = :org")
    rebuild(filled.engine, filled.org)
    assert not verify(filled.engine, other.org).ok


def test_rebuilding_says_so_when_a_source_event_is_gone(filled: Filled):
    do(filled, "DELETE FROM ledger_source_events WHERE org_id = :org AND dedup_key = 'k3'")
    before = listed(filled)
    with pytest.raises(LedgerFault, match="ledger verify"):
        rebuild(filled.engine, filled.org)
    assert listed(filled) == before


def test_rebuilding_more_deals_than_one_batch(filled: Filled):
    ledger = EmbeddedLedger(filled.engine, org=filled.org, now=now)
    ledger.append([event(f"e:{n}", f"e{n}") for n in range(1100)])
    before = listed(filled)
    do(filled, "DELETE FROM ledger_deals WHERE org_id = :org")
    assert rebuild(filled.engine, filled.org) == 1103
    assert listed(filled) == before
    assert verify(filled.engine, filled.org).ok


def test_the_loss_of_the_newest_events_shows_against_a_head_kept_elsewhere(database_url: str):
    with engine_at(database_url) as engine:
        lose_the_newest(engine)


def lose_the_newest(engine: Engine) -> None:
    ledger = EmbeddedLedger(engine, now=now)
    ledger.append([event(key="k1"), event(key="k2", amount=2)])
    earlier = verify(engine, ORG).head
    ledger.append([event(key="k3", amount=3)])
    later = verify(engine, ORG, expect=earlier)
    assert later.ok
    assert later.head != earlier
    EmbeddedLedger(engine, org="org_anew", now=now).append([event(key="k1"), event(key="k2", amount=2)])
    lost = verify(engine, "org_anew", expect=later.head)
    assert not lost.ok
    assert lost.first_bad is not None
    assert "are gone" in lost.first_bad["why"]
    assert not verify(engine, ORG, expect="nonsense").ok
