"""The ledger's tables are made by migrations that agree with what the code believes, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from ledger.engine import connect
from ledger.schema import migrate, ready
from ledger.tables import VERSION_TABLE, metadata
from tests.ledger.subjects import embedded, engine_at, event

EVENTS = ["ledger_source_events", "ledger_domain_events"]


def test_migrations_and_tables_agree(database_url: str):
    with engine_at(database_url) as engine, engine.connect() as tx:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        assert compare_metadata(MigrationContext.configure(tx, opts=options), metadata) == []


def test_migrating_tells_what_it_did_once(database_url: str):
    engine = connect(database_url)
    assert not ready(engine)
    assert migrate(engine) != []
    assert ready(engine)
    assert migrate(engine) == []
    engine.dispose()


def test_the_ledger_counts_its_migrations_apart(database_url: str):
    with engine_at(database_url) as engine:
        assert {VERSION_TABLE, *metadata.tables} == set(inspect(engine).get_table_names())


def test_any_number_may_migrate_at_once(database_url: str):
    engines = [connect(database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(migrate, engines))
    assert sorted(map(bool, done)) == [False, False, False, True]
    for engine in engines:
        engine.dispose()


@pytest.mark.parametrize("table", EVENTS)
@pytest.mark.parametrize("change", ["UPDATE {} SET org_id = 'x'", "DELETE FROM {}"])
def test_the_database_refuses_to_change_an_event(database_url: str, table: str, change: str):
    with engine_at(database_url) as engine:
        embedded(engine).ledger.append([event()])
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as tx:
            tx.execute(text(change.format(table)))


@pytest.mark.parametrize("table", EVENTS)
@pytest.mark.parametrize("change", ["TRUNCATE {}", "TRUNCATE {} CASCADE"])
def test_postgresql_refuses_to_truncate_events(postgres_url: str, table: str, change: str):
    with (
        engine_at(postgres_url) as engine,
        pytest.raises(DBAPIError, match="append-only"),
        engine.begin() as tx,
    ):
        tx.execute(text(change.format(table)))


def test_postgresql_refuses_also_a_session_that_skips_triggers(postgres_url: str):
    with engine_at(postgres_url) as engine:
        embedded(engine).ledger.append([event()])
        with engine.begin() as tx:
            tx.execute(text("SET LOCAL session_replication_role = replica"))
            with pytest.raises(DBAPIError, match="append-only"):
                tx.execute(text("DELETE FROM ledger_domain_events"))


@pytest.mark.parametrize("table", EVENTS)
def test_sqlite_refuses_to_replace_an_event(sqlite_url: str, table: str):
    with engine_at(sqlite_url) as engine:
        embedded(engine).ledger.append([event()])
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as tx:
            tx.execute(text(f"REPLACE INTO {table} SELECT * FROM {table}"))
